package kernel

// Follow: dst[i] += share * (x[i] - dst[i]), the exponential average's step.
func Follow(dst, x []float32, share float32) {
	same(len(dst), len(x))
	each(vectorJob{op: followChunk, d: dst, x: x, f: [6]float32{share}, n: len(dst)})
}

func followChunk(v *vectorJob, lo, hi int, _ *scratch) {
	d, x, share := v.d[lo:hi], v.x[lo:hi], v.f[0]
	x = x[:len(d)]
	for i := range d {
		d[i] += share * (x[i] - d[i])
	}
}
