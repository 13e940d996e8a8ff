package graph

import (
	"github.com/defectforge/defectforge/model/kernel"
)

const tinyNorm = 1e-12

// CPU is the backend over package kernel. Buffers are the host's memory, state is
// used in place, and calls are done when they return. With BF16, convolutions but
// not the layers of evaluation mode multiply in bfloat16, see kernel.Conv.
type CPU struct{ BF16 bool }

// Alloc implements Backend, as do all methods here.
func (CPU) Alloc(n int) Buffer { return Buffer{Host: make([]float32, n), Len: n} }

// Adopt gives the memory itself.
func (CPU) Adopt(host []float32) Buffer { return Buffer{Host: host, Len: len(host)} }

// Upload makes dst stand for src.
func (CPU) Upload(dst *Buffer, src []float32) { *dst = Buffer{Host: src, Len: len(src)} }

// Read gives the memory itself.
func (CPU) Read(src Buffer) ([]float32, error) { return src.Host, nil }

// spectralNorm follows torch.nn.utils.spectral_norm.
type spectralNorm struct {
	u, v       []float32
	rows, cols int
	sigma      float64 // of the last Iterate
	product    []float32
}

// Spectral keeps sigma in float64.
func (CPU) Spectral(rows, cols int, u, v Buffer) Handle {
	return &spectralNorm{u: u.Host, v: v.Host, rows: rows, cols: cols, product: make([]float32, rows)}
}

// Iterate is PyTorch's power iteration.
func (CPU) Iterate(spectral Handle, w Buffer) {
	s := spectral.(*spectralNorm)
	kernel.MatTVec(s.v, w.Host, s.u, s.rows, s.cols)
	normalize(s.v, s.v)
	kernel.MatVec(s.product, w.Host, s.v, s.rows, s.cols)
	normalize(s.u, s.product)
	s.sigma = kernel.Dot(s.u, s.product)
}

// normalize sets dst = x / max(|x|, 1e-12). dst may be x.
func normalize(dst, x []float32) {
	f := 1 / max(kernel.Norm(x), tinyNorm)
	for i, v := range x {
		dst[i] = float32(float64(v) * f)
	}
}

// scale is the factor that makes the weight's spectral norm one; 1 without
// spectral norm.
func (c *Conv) scale() float32 {
	if c.Spectral == nil {
		return 1
	}
	return float32(1 / c.Spectral.(*spectralNorm).sigma)
}

func (b CPU) shape(c *Conv) kernel.Conv {
	s := c.Shape
	s.BF16 = b.BF16
	return s
}

// Conv applies the spectral norm to the result: no scaled weight is made.
func (b CPU) Conv(c *Conv, y, x, w Buffer) {
	if c.Transposed {
		b.shape(c).BackwardInput(y.Host, x.Host, w.Host, c.scale())
	} else {
		b.shape(c).Forward(y.Host, x.Host, w.Host, c.scale())
	}
}

// ConvByInput is the convolution's adjoint.
func (b CPU) ConvByInput(c *Conv, dx, dy, w Buffer) {
	if c.Transposed {
		b.shape(c).Forward(dx.Host, dy.Host, w.Host, c.scale())
	} else {
		b.shape(c).BackwardInput(dx.Host, dy.Host, w.Host, c.scale())
	}
}

// ConvByWeight corrects the gradient for the spectral norm in place.
func (b CPU) ConvByWeight(c *Conv, dw, x, dy, w Buffer) {
	if c.Transposed {
		x, dy = dy, x
	}
	b.shape(c).BackwardWeights(dw.Host, x.Host, dy.Host, 1)
	if c.Spectral != nil {
		c.Spectral.(*spectralNorm).correct(dw.Host, w.Host)
		kernel.Scale(dw.Host, dw.Host, c.scale())
	}
}

// correct turns G = dL/d(w/sigma) into G - <G, w/sigma> u v', in place.
func (s *spectralNorm) correct(g, w []float32) {
	inner := kernel.Dot(g, w) / s.sigma
	for i := range s.rows {
		kernel.Axpy(g[i*s.cols:(i+1)*s.cols], s.v, float32(-inner*float64(s.u[i])))
	}
}

// Upsample is kernel.Upsample.
func (CPU) Upsample(y, x Buffer, planes, side int) {
	kernel.Upsample(y.Host, x.Host, planes, side, side)
}

// UpsampleByInput is kernel.UpsampleBackward.
func (CPU) UpsampleByInput(dx, dy Buffer, planes, side int) {
	kernel.UpsampleBackward(dx.Host, dy.Host, planes, side, side)
}

// AddNoise is kernel.AddNoise.
func (CPU) AddNoise(y, maps, strength Buffer, n, channels, area int) {
	kernel.AddNoise(y.Host, maps.Host, strength.Host, n, channels, area)
}

// NoiseByStrength is kernel.NoiseBackward.
func (CPU) NoiseByStrength(dstrength, dy, maps Buffer, n, channels, area int) {
	kernel.NoiseBackward(dstrength.Host, dy.Host, maps.Host, n, channels, area)
}

// Spread is kernel.Spread.
func (CPU) Spread(y, x Buffer, n, channels, area int) {
	kernel.Spread(y.Host, x.Host, n, channels, area)
}

// SpreadByInput is kernel.SpreadBackward.
func (CPU) SpreadByInput(dx, dy, x Buffer, n, channels, area int) {
	kernel.SpreadBackward(dx.Host, dy.Host, x.Host, n, channels, area)
}

// Join copies.
func (CPU) Join(y, a, b Buffer, n int) {
	row, first := y.Len/n, a.Len/n
	for i := range n {
		copy(y.Host[i*row:], a.Host[i*first:(i+1)*first])
		copy(y.Host[i*row+first:], b.Host[i*(row-first):(i+1)*(row-first)])
	}
}

// Part copies.
func (CPU) Part(a, b, y Buffer, n int) {
	row, first := y.Len/n, a.Len/n
	for i := range n {
		copy(a.Host[i*first:(i+1)*first], y.Host[i*row:])
		copy(b.Host[i*(row-first):(i+1)*(row-first)], y.Host[i*row+first:])
	}
}

// Norm updates the running statistics in float32, as PyTorch does.
func (CPU) Norm(n *Norm, y, mean, variance, x, scale, shift Buffer, share float32) {
	kernel.BatchNormForward(y.Host, mean.Host, variance.Host, x.Host, scale.Host, shift.Host,
		n.N, n.Channels, n.Area, n.Epsilon, n.Slope)
	n.observe(mean.Host, variance.Host, share)
}

func (n *Norm) observe(mean, variance []float32, share float32) {
	count := float64(n.N * n.Area)
	unbias := float32(count / (count - 1))
	runningMean, runningVar := n.RunningMean.Host, n.RunningVar.Host
	for i := range mean {
		runningMean[i] = (1-share)*runningMean[i] + share*mean[i]
		runningVar[i] = (1-share)*runningVar[i] + share*(variance[i]*unbias)
	}
}

// NormByInput takes all three gradients in one pass.
func (CPU) NormByInput(n *Norm, dx, dscale, dshift, dy, x, mean, variance, scale, shift Buffer) {
	kernel.BatchNormBackward(dx.Host, dscale.Host, dshift.Host, dy.Host, x.Host, mean.Host, variance.Host,
		scale.Host, shift.Host, n.N, n.Channels, n.Area, n.Epsilon, n.Slope)
}

// NormInfer is kernel.BatchNormInfer.
func (CPU) NormInfer(n *Norm, y, x, scale, shift Buffer) {
	kernel.BatchNormInfer(y.Host, x.Host, scale.Host, shift.Host, n.RunningMean.Host, n.RunningVar.Host,
		n.N, n.Channels, n.Area, n.Epsilon, n.Slope)
}

// Activate takes tanh from float64's.
func (CPU) Activate(a Activation, y, x Buffer) {
	if a.Tanh {
		kernel.Tanh(y.Host, x.Host)
	} else {
		kernel.LeakyReLU(y.Host, x.Host, a.Slope)
	}
}

// ActivateByInput reads the sign of x, or y.
func (CPU) ActivateByInput(a Activation, dx, dy, v Buffer) {
	if a.Tanh {
		kernel.TanhBackward(dx.Host, dy.Host, v.Host)
	} else {
		kernel.LeakyReLUBackward(dx.Host, dy.Host, v.Host, a.Slope)
	}
}

// restingLayer is a layer with packed weights and what follows it.
type restingLayer struct {
	*kernel.Transposed
	finish kernel.Finish
}

// Layer packs the weight at the first Infer.
func (CPU) Layer(shape kernel.Conv, w Buffer) Handle {
	return &restingLayer{Transposed: shape.NewTransposed(w.Host)}
}

// Infer does all in the convolution's store.
func (CPU) Infer(layer Handle, n *Norm, a Activation, y, x, scale, shift Buffer) {
	l := layer.(*restingLayer)
	l.finish.Slope, l.finish.Tanh = a.Slope, a.Tanh
	if n != nil {
		if l.finish.Scale == nil {
			l.finish.Scale, l.finish.Shift = make([]float32, n.Channels), make([]float32, n.Channels)
		}
		kernel.FoldBatchNorm(l.finish.Scale, l.finish.Shift, scale.Host, shift.Host,
			n.RunningMean.Host, n.RunningVar.Host, n.Epsilon)
	}
	l.Run(y.Host, x.Host, &l.finish)
}

// Augment is kernel.Augment.
func (CPU) Augment(y, x Buffer, by []kernel.Augmentation, c, h, w int) {
	kernel.Augment(y.Host, x.Host, by, c, h, w)
}

// AugmentByInput is kernel.AugmentBackward.
func (CPU) AugmentByInput(dx, dy Buffer, by []kernel.Augmentation, c, h, w int) {
	kernel.AugmentBackward(dx.Host, dy.Host, by, c, h, w)
}

// Squares sums in float64.
func (CPU) Squares(x Buffer, n int) ([]float64, error) {
	squares, size := make([]float64, n), x.Len/n
	for i := range n {
		part := x.Host[i*size:][:size]
		squares[i] = kernel.Dot(part, part)
	}
	return squares, nil
}

// Loss sums in float64.
func (CPU) Loss(t *Terms, logits Buffer) (Outcome, error) { return t.judge(logits.Host), nil }

// LossByInput is rounded from float64.
func (CPU) LossByInput(t *Terms, dx, logits Buffer) { t.slopes(dx.Host, logits.Host) }

// Add is kernel.Add.
func (CPU) Add(dst, x Buffer) { kernel.Add(dst.Host, dst.Host, x.Host) }

// Adam is kernel.Adam.
func (CPU) Adam(a *AdamStep, p, mean, meanOfSquares, gradient Buffer) {
	kernel.Adam(p.Host, mean.Host, meanOfSquares.Host, gradient.Host, a.Rate, a.Beta1, a.Beta2, a.Step, a.Epsilon)
}

// Follow is kernel.Follow.
func (CPU) Follow(dst, x Buffer, share float32) {
	if share == 1 {
		copy(dst.Host, x.Host)
		return
	}
	kernel.Follow(dst.Host, x.Host, share)
}
