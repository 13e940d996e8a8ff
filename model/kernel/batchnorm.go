package kernel

import "math"

const badBatchNorm = "kernel: batch norm with slices that do not match its shape"

// batchnorm is one pass over the channels of an (n, c, hw) tensor.
type batchnorm struct {
	op             func(b *batchnorm, channel int, s *scratch)
	y, x, dy       []float32
	mean, variance []float32
	gamma, beta    []float32
	dgamma, dbeta  []float32
	n, c, hw       int
	eps, slope     float32
}

var batchnorms freelist[batchnorm]

func (b *batchnorm) do(item int, s *scratch) { b.op(b, item, s) }

func runBatchNorm(v batchnorm) {
	size := v.n * v.c * v.hw
	if v.n < 1 || v.c < 1 || v.hw < 1 || len(v.y) != size || len(v.x) != size || len(v.mean) != v.c ||
		len(v.variance) != v.c || len(v.gamma) != v.c || len(v.beta) != v.c {
		panic(badBatchNorm)
	}
	b := batchnorms.get()
	*b = v
	parallel(b, v.c)
	*b = batchnorm{}
	batchnorms.put(b)
}

// plane is image i's part of a channel.
func (b *batchnorm) plane(t []float32, i, channel int) []float32 {
	at := (i*b.c + channel) * b.hw
	return t[at : at+b.hw : at+b.hw]
}

// BatchNormForward normalises each channel by the mean and the biased variance
// of the batch, which it writes to mean and variance (c), and applies a leaky
// ReLU of the given slope (1 is none, 0 a ReLU):
//
//	z = (x - mean) / sqrt(variance + eps) * gamma + beta
//	y = z where z > 0, else slope * z
//
// Statistics are accumulated in float64. y may be x.
func BatchNormForward(y, mean, variance, x, gamma, beta []float32, n, c, hw int, eps, slope float32) {
	runBatchNorm(batchnorm{op: forwardChannel, y: y, mean: mean, variance: variance, x: x,
		gamma: gamma, beta: beta, n: n, c: c, hw: hw, eps: eps, slope: slope})
}

// BatchNormInfer is BatchNormForward with given statistics.
func BatchNormInfer(y, x, gamma, beta, mean, variance []float32, n, c, hw int, eps, slope float32) {
	runBatchNorm(batchnorm{op: inferChannel, y: y, mean: mean, variance: variance, x: x,
		gamma: gamma, beta: beta, n: n, c: c, hw: hw, eps: eps, slope: slope})
}

// BatchNormBackward differentiates BatchNormForward: dy is the gradient of the
// activated output, mean and variance are what the forward pass wrote. With M =
// n*hw, xh the normalised x and dz = dy where z > 0, else slope*dy:
//
//	dgamma = sum of dz*xh,  dbeta = sum of dz
//	dx = gamma / sqrt(variance + eps) * (dz - dbeta/M - xh*dgamma/M)
//
// dx may be dy.
func BatchNormBackward(dx, dgamma, dbeta, dy, x, mean, variance, gamma, beta []float32, n, c, hw int, eps, slope float32) {
	if len(dy) != len(dx) || len(dgamma) != c || len(dbeta) != c {
		panic(badBatchNorm)
	}
	runBatchNorm(batchnorm{op: backwardChannel, y: dx, dgamma: dgamma, dbeta: dbeta, dy: dy, x: x, mean: mean,
		variance: variance, gamma: gamma, beta: beta, n: n, c: c, hw: hw, eps: eps, slope: slope})
}

func forwardChannel(b *batchnorm, ch int, s *scratch) {
	count := float64(b.n * b.hw)
	sum := 0.0
	for i := range b.n {
		sum += active.sum64(b.plane(b.x, i, ch))
	}
	mean := sum / count
	squares := 0.0
	for i := range b.n {
		squares += active.deviation64(b.plane(b.x, i, ch), mean)
	}
	b.mean[ch], b.variance[ch] = float32(mean), float32(squares/count)
	inferChannel(b, ch, s)
}

// inverse is 1/sqrt(variance+eps) of a channel.
func (b *batchnorm) inverse(ch int) float64 {
	return 1 / math.Sqrt(float64(b.variance[ch])+float64(b.eps))
}

// line gives a and d with z = a*x + d.
func (b *batchnorm) line(ch int) (a, d float32) {
	a64 := b.inverse(ch) * float64(b.gamma[ch])
	return float32(a64), float32(float64(b.beta[ch]) - a64*float64(b.mean[ch]))
}

func inferChannel(b *batchnorm, ch int, _ *scratch) {
	a, d := b.line(ch)
	for i := range b.n {
		active.lineLeaky(b.plane(b.y, i, ch), b.plane(b.x, i, ch), a, d, b.slope)
	}
}

func backwardChannel(b *batchnorm, ch int, s *scratch) {
	a, d := b.line(ch)
	mean, inv := float64(b.mean[ch]), b.inverse(ch)
	var plain, weighted float64
	for i := range b.n {
		p, w := active.gatedSums(b.plane(b.dy, i, ch), b.plane(b.x, i, ch), a, d, b.slope)
		plain += p
		weighted += w
	}
	dgamma := (weighted - mean*plain) * inv
	b.dgamma[ch], b.dbeta[ch] = float32(dgamma), float32(plain)
	// dx = k*dz + q*x + r
	count := float64(b.n * b.hw)
	k := inv * float64(b.gamma[ch])
	q := -k * dgamma / count * inv
	r := -k*plain/count - q*mean
	f := &s.factors
	*f = [6]float32{a, d, b.slope, float32(k), float32(q), float32(r)}
	for i := range b.n {
		active.gatedLine(b.plane(b.y, i, ch), b.plane(b.dy, i, ch), b.plane(b.x, i, ch),
			f)
	}
}
