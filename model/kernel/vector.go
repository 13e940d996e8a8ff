package kernel

import "math"

// vectorJob is an element by element operation, run chunk by chunk.
type vectorJob struct {
	op      func(v *vectorJob, lo, hi int, s *scratch)
	d, x, y []float32
	w       []float32
	f       [4]float32
	sums    []float64
	n       int
}

var vectorJobs freelist[vectorJob]

func (v *vectorJob) do(item int, s *scratch) {
	lo, hi := chunk(item, v.n)
	v.op(v, lo, hi, s)
}

// each runs op over chunks of vectors of n values. A single chunk is run
// right here.
func each(v vectorJob) {
	j := vectorJobs.get()
	sums := j.sums
	*j = v
	j.sums = sums
	parallel(j, chunks(v.n))
	*j = vectorJob{sums: sums}
	vectorJobs.put(j)
}

// reduce runs op over chunks; op leaves a chunk's value in v.sums[lo/chunkSize].
// It returns the sum of these in order.
func reduce(v vectorJob) float64 {
	j := vectorJobs.get()
	sums := j.sums
	n := chunks(v.n)
	if cap(sums) < n {
		sums = make([]float64, n)
	}
	*j = v
	j.sums = sums[:n]
	parallel(j, n)
	total := 0.0
	for _, s := range j.sums {
		total += s
	}
	*j = vectorJob{sums: sums}
	vectorJobs.put(j)
	return total
}

func same(n int, lengths ...int) {
	for _, l := range lengths {
		if l != n {
			panic(badVector)
		}
	}
}

// Dot is the sum of a[i]*b[i], accumulated in float64.
func Dot(a, b []float32) float64 {
	same(len(a), len(b))
	return reduce(vectorJob{op: dotChunk, x: a, y: b, n: len(a)})
}

// Norm is the Euclidean norm of a, accumulated in float64.
func Norm(a []float32) float64 { return math.Sqrt(Dot(a, a)) }

func dotChunk(v *vectorJob, lo, hi int, _ *scratch) {
	v.sums[lo/chunkSize] = dot64(v.x[lo:hi], v.y[lo:hi])
}

func dot64(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += float64(x[0]) * float64(y[0])
		s1 += float64(x[1]) * float64(y[1])
		s2 += float64(x[2]) * float64(y[2])
		s3 += float64(x[3]) * float64(y[3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// Add: dst[i] = a[i] + b[i]. dst may be a or b.
func Add(dst, a, b []float32) {
	same(len(dst), len(a), len(b))
	each(vectorJob{op: addChunk, d: dst, x: a, y: b, n: len(dst)})
}

func addChunk(v *vectorJob, lo, hi int, _ *scratch) {
	d, x, y := v.d[lo:hi], v.x[lo:hi], v.y[lo:hi]
	x, y = x[:len(d)], y[:len(d)]
	for i := range d {
		d[i] = x[i] + y[i]
	}
}

// Scale: dst[i] = a * x[i]. dst may be x.
func Scale(dst, x []float32, a float32) {
	same(len(dst), len(x))
	each(vectorJob{op: scaleChunk, d: dst, x: x, f: [4]float32{a}, n: len(dst)})
}

func scaleChunk(v *vectorJob, lo, hi int, _ *scratch) { scaleInto(v.d[lo:hi], v.x[lo:hi], v.f[0]) }

// Axpy: dst[i] += a * x[i].
func Axpy(dst, x []float32, a float32) {
	same(len(dst), len(x))
	each(vectorJob{op: axpyChunk, d: dst, x: x, f: [4]float32{a}, n: len(dst)})
}

func axpyChunk(v *vectorJob, lo, hi int, _ *scratch) { axpy(v.d[lo:hi], v.x[lo:hi], v.f[0]) }

func axpy(d, x []float32, a float32) {
	x = x[:len(d)]
	for i := range d {
		d[i] += a * x[i]
	}
}

// AllFinite reports whether x holds neither NaN nor an infinity.
func AllFinite(x []float32) bool {
	return reduce(vectorJob{op: finiteChunk, x: x, n: len(x)}) == 0
}

func finiteChunk(v *vectorJob, lo, hi int, _ *scratch) {
	const exponent = 0xff << 23
	bad := 0.0
	for _, f := range v.x[lo:hi] {
		if math.Float32bits(f)&exponent == exponent {
			bad = 1
		}
	}
	v.sums[lo/chunkSize] = bad
}

// LeakyReLU: y[i] = x[i] where x[i] > 0, else slope*x[i]. y may be x.
func LeakyReLU(y, x []float32, slope float32) {
	same(len(y), len(x))
	each(vectorJob{op: leakyChunk, d: y, x: x, f: [4]float32{slope}, n: len(y)})
}

func leakyChunk(v *vectorJob, lo, hi int, _ *scratch) {
	d, x, slope := v.d[lo:hi], v.x[lo:hi], v.f[0]
	x = x[:len(d)]
	for i, a := range x {
		d[i] = a * gate(a, slope)
	}
}

// gate is the derivative of the leaky ReLU at a.
func gate(a, slope float32) float32 {
	if a > 0 {
		return 1
	}
	return slope
}

// LeakyReLUBackward: dx[i] = dy[i] where x[i] > 0, else slope*dy[i]. dx may be
// dy.
func LeakyReLUBackward(dx, dy, x []float32, slope float32) {
	same(len(dx), len(dy), len(x))
	each(vectorJob{op: leakyBackChunk, d: dx, x: x, y: dy, f: [4]float32{slope}, n: len(dx)})
}

func leakyBackChunk(v *vectorJob, lo, hi int, _ *scratch) {
	d, x, dy, slope := v.d[lo:hi], v.x[lo:hi], v.y[lo:hi], v.f[0]
	x, dy = x[:len(d)], dy[:len(d)]
	for i, a := range x {
		d[i] = dy[i] * gate(a, slope)
	}
}

// Tanh: y[i] = tanh(x[i]), from float64's. y may be x.
func Tanh(y, x []float32) {
	same(len(y), len(x))
	each(vectorJob{op: tanhChunk, d: y, x: x, n: len(y)})
}

func tanhChunk(v *vectorJob, lo, hi int, _ *scratch) {
	d, x := v.d[lo:hi], v.x[lo:hi]
	for i, a := range x {
		d[i] = float32(math.Tanh(float64(a)))
	}
}

// TanhBackward: dx[i] = dy[i] * (1 - y[i]*y[i]), y being Tanh's output. dx may
// be dy.
func TanhBackward(dx, dy, y []float32) {
	same(len(dx), len(dy), len(y))
	each(vectorJob{op: tanhBackChunk, d: dx, x: y, y: dy, n: len(dx)})
}

func tanhBackChunk(v *vectorJob, lo, hi int, _ *scratch) {
	d, y, dy := v.d[lo:hi], v.x[lo:hi], v.y[lo:hi]
	y, dy = y[:len(d)], dy[:len(d)]
	for i, a := range y {
		d[i] = dy[i] * (1 - a*a)
	}
}

// Adam takes step t (counted from 1) of the optimiser, with g the gradient of
// p, and m and v the running means of g and its square:
//
//	m = b1*m + (1-b1)*g
//	v = b2*v + (1-b2)*g*g
//	p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)
//
// The scalars are formed in float64, as PyTorch does.
func Adam(p, m, v, g []float32, lr, b1, b2 float64, t int64, eps float64) {
	same(len(p), len(m), len(v), len(g))
	j := adams.get()
	*j = adam{p: p, m: m, v: v, g: g,
		keep1: float32(b1), new1: float32(1 - b1), keep2: float32(b2), new2: float32(1 - b2),
		step: float32(lr / (1 - math.Pow(b1, float64(t)))),
		root: float32(math.Sqrt(1 - math.Pow(b2, float64(t)))), eps: float32(eps)}
	parallel(j, chunks(len(p)))
	*j = adam{}
	adams.put(j)
}

type adam struct {
	p, m, v, g               []float32
	keep1, new1, keep2, new2 float32
	step, root, eps          float32
}

var adams freelist[adam]

func (a *adam) do(item int, _ *scratch) {
	lo, hi := chunk(item, len(a.p))
	a.update(a.p[lo:hi], a.m[lo:hi], a.v[lo:hi], a.g[lo:hi])
}

func (a *adam) update(p, m, v, g []float32) {
	m, v, g = m[:len(p)], v[:len(p)], g[:len(p)]
	keep1, new1, keep2, new2 := a.keep1, a.new1, a.keep2, a.new2
	for i, d := range g {
		mi := keep1*m[i] + new1*d
		vi := keep2*v[i] + new2*d*d
		m[i], v[i] = mi, vi
		p[i] -= a.step * mi / (float32(math.Sqrt(float64(vi)))/a.root + a.eps)
	}
}
