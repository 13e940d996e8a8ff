package kernel

import "math"

// vectorJob is an element by element operation, run chunk by chunk.
type vectorJob struct {
	op      func(v *vectorJob, lo, hi int, s *scratch)
	d, x, y []float32
	f       [6]float32
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
	v.sums[lo/chunkSize] = active.dot64(v.x[lo:hi], v.y[lo:hi])
}

// Add: dst[i] = a[i] + b[i]. dst may be a or b.
func Add(dst, a, b []float32) {
	same(len(dst), len(a), len(b))
	each(vectorJob{op: addChunk, d: dst, x: a, y: b, n: len(dst)})
}

func addChunk(v *vectorJob, lo, hi int, _ *scratch) {
	active.add(v.d[lo:hi], v.x[lo:hi], v.y[lo:hi])
}

// Scale: dst[i] = a * x[i]. dst may be x.
func Scale(dst, x []float32, a float32) {
	same(len(dst), len(x))
	each(vectorJob{op: scaleChunk, d: dst, x: x, f: [6]float32{a}, n: len(dst)})
}

func scaleChunk(v *vectorJob, lo, hi int, _ *scratch) {
	active.scale(v.d[lo:hi], v.x[lo:hi], v.f[0])
}

// Axpy: dst[i] += a * x[i].
func Axpy(dst, x []float32, a float32) {
	same(len(dst), len(x))
	each(vectorJob{op: axpyChunk, d: dst, x: x, f: [6]float32{a}, n: len(dst)})
}

func axpyChunk(v *vectorJob, lo, hi int, _ *scratch) {
	active.axpy(v.d[lo:hi], v.x[lo:hi], v.f[0])
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
	each(vectorJob{op: leakyChunk, d: y, x: x, f: [6]float32{slope}, n: len(y)})
}

func leakyChunk(v *vectorJob, lo, hi int, _ *scratch) {
	active.lineLeaky(v.d[lo:hi], v.x[lo:hi], 1, 0, v.f[0])
}

// LeakyReLUBackward: dx[i] = dy[i] where x[i] > 0, else slope*dy[i]. dx may be
// dy.
func LeakyReLUBackward(dx, dy, x []float32, slope float32) {
	same(len(dx), len(dy), len(x))
	each(vectorJob{op: leakyBackChunk, d: dx, x: x, y: dy, f: [6]float32{1, 0, slope, 1, 0, 0}, n: len(dx)})
}

func leakyBackChunk(v *vectorJob, lo, hi int, _ *scratch) {
	active.gatedLine(v.d[lo:hi], v.y[lo:hi], v.x[lo:hi], &v.f)
}

// Tanh: y[i] = tanh(x[i]), from float64's. y may be x.
func Tanh(y, x []float32) {
	same(len(y), len(x))
	each(vectorJob{op: tanhChunk, d: y, x: x, n: len(y)})
}

func tanhChunk(v *vectorJob, lo, hi int, _ *scratch) {
	active.tanh(v.d[lo:hi], v.x[lo:hi])
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
	active.adam(a, a.p[lo:hi], a.m[lo:hi], a.v[lo:hi], a.g[lo:hi])
}
