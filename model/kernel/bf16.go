package kernel

import "math"

// Products in bfloat16 (Conv.BF16) run through the same engine as those in
// float32: a pair of values that are neighbours in the summed index is rounded
// into one 32-bit word, the first value in the low half. Words are moved about as
// float32 values, and only path.tilePairs looks inside. For Forward the pairs are
// input channels 2c and 2c+1, for BackwardInput output channels, for
// BackwardWeights output pixels. A channel without partner is paired with zero.

// bfloat16Bits rounds x to bfloat16, to nearest and ties to even; subnormal numbers
// become zero, as the processor's instruction has it.
func bfloat16Bits(x float32) uint32 {
	bits := math.Float32bits(x)
	switch bits >> 23 & 0xff {
	case 0:
		return bits >> 31 << 15
	case 0xff:
		if bits<<9 != 0 {
			return bits>>16 | 0x40 // a quiet NaN
		}
		return bits >> 16
	}
	return (bits + 0x7fff + bits>>16&1) >> 16
}

func word(low, high float32) float32 {
	return math.Float32frombits(bfloat16Bits(low) | bfloat16Bits(high)<<16)
}

func wordParts(w float32) (low, high float32) {
	bits := math.Float32bits(w)
	return math.Float32frombits(bits << 16), math.Float32frombits(bits &^ 0xffff)
}

// roundPairsGo: dst[i] is the word of a[i] and b[i].
func roundPairsGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = word(a[i], b[i])
	}
}

// roundNeighboursGo: dst[i] is the word of src[2*i] and src[2*i+1].
func roundNeighboursGo(dst, src []float32) {
	src = src[:2*len(dst)]
	for i := range dst {
		dst[i] = word(src[2*i], src[2*i+1])
	}
}

// tilePairsGo is path.tilePairs for any number of lanes.
func tilePairsGo(lanes int) func(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32) {
	return func(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32) {
		for i := range m {
			for j := range 2 * lanes {
				base := b0 + j
				if j >= lanes {
					base = b1 + j - lanes
				}
				var sum float32
				for t, o := range off {
					x0, x1 := wordParts(a[t*m+i])
					y0, y1 := wordParts(b[base+int(o)])
					sum += x1 * y1
					sum += x0 * y0
				}
				c[i*ldc+j] += sum
			}
		}
	}
}

// wordsOf is a job that rounds src into words: of planes 2c and 2c+1 of each
// image, or of values that lie distance apart in each plane.
type wordsOf struct {
	dst, src        []float32
	channels, plane int
	distance        int // 0: pair planes
}

var wordJobs freelist[wordsOf]

func (w *wordsOf) do(item int, s *scratch) {
	if w.distance > 0 {
		dst, src := w.dst[item*w.plane:][:w.plane], w.src[item*w.plane:][:w.plane]
		n := w.plane - w.distance
		active.roundPairs(dst[:n], src, src[w.distance:])
		clear(dst[n:]) // read by no product
		return
	}
	pairs := (w.channels + 1) / 2
	image, c := item/pairs, item%pairs*2
	a := w.src[(image*w.channels+c)*w.plane:][:w.plane]
	dst := w.dst[item*w.plane:][:w.plane]
	if c+1 < w.channels {
		active.roundPairs(dst, a, w.src[(image*w.channels+c+1)*w.plane:][:w.plane])
		return
	}
	s.b = grow(s.b, w.plane)
	clear(s.b)
	active.roundPairs(dst, a, s.b)
}

// pairPlanes gives the words of pairs of planes of an (n, channels, plane) tensor.
func pairPlanes(src []float32, n, channels, plane int) []float32 {
	pairs := (channels + 1) / 2
	dst := tensors.get(n * pairs * plane)
	j := wordJobs.get()
	*j = wordsOf{dst: dst, src: src, channels: channels, plane: plane}
	parallel(j, n*pairs)
	*j = wordsOf{}
	wordJobs.put(j)
	return dst
}

// pairDistant gives for each value of each plane the word of it and the one that
// lies distance behind it.
func pairDistant(src []float32, plane, distance int) []float32 {
	dst := tensors.get(len(src))
	j := wordJobs.get()
	*j = wordsOf{dst: dst, src: src, plane: plane, distance: distance}
	parallel(j, len(src)/plane)
	*j = wordsOf{}
	wordJobs.put(j)
	return dst
}

// neighbourWords rounds chunks of a tensor.
func neighbourWords(src []float32) []float32 {
	dst := tensors.get(len(src) / 2)
	each(vectorJob{op: neighbourChunk, d: dst, x: src, n: len(dst)})
	return dst
}

func neighbourChunk(v *vectorJob, lo, hi int, _ *scratch) {
	active.roundNeighbours(v.d[lo:hi], v.x[2*lo:2*hi])
}

func (c Conv) forwardBF16(y, x, w []float32, scale float32) {
	xw, ww := pairPlanes(x, c.N, c.C, c.H*c.W), pairPlanes(w, c.O, c.C, c.K*c.K)
	c.C = (c.C + 1) / 2
	c.forwardDirect(y, xw, ww, scale)
	tensors.put(xw)
	tensors.put(ww)
}

func (c Conv) backwardInputBF16(dx, dy, w []float32, scale float32) {
	yw, ww := pairPlanes(dy, c.N, c.O, c.OutH()*c.OutW()), pairPlanes(w, 1, c.O, c.C*c.K*c.K)
	c.O = (c.O + 1) / 2
	c.backwardInputDirect(dx, yw, ww, scale, nil)
	tensors.put(yw)
	tensors.put(ww)
}
