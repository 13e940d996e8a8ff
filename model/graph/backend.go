package graph

import "github.com/defectforge/defectforge/model/kernel"

// Backend does all arithmetic and holds all memory of the graphs: the operations
// here only say what is to be done to which buffers. CPU is the one over package
// kernel. Another one, for a device, stands beside it if it keeps to this:
//
//   - Memory is its own. A Buffer names it; only Adopt, Upload and Read cross to
//     the host's. Nothing outside of a backend looks into a buffer.
//   - Calls take effect in their order, as seen by one user. They need not be done
//     when they return: only Loss, Squares and Read wait. So these alone report errors,
//     also those of calls before them.
//   - Outputs are overwritten, inputs are left alone, and they do not overlap,
//     unless a comment says otherwise. Shapes fit: the graph sees to that.
//   - Calls of a graph come from a goroutine of Gorgonia's machine, another one in
//     each run, but never two at a time. A device whose context belongs to a thread
//     must take care of that itself.
//   - The same calls give the same bits, however many threads or blocks share the
//     work: sums have a fixed order.
//
// Random numbers are drawn on the host, so every backend sees the same.
type Backend interface {
	// Alloc gives n values, zero at first.
	Alloc(n int) Buffer
	// Adopt gives a buffer that begins with the values of a network's state. The
	// backend may use that memory itself. Where it does not, Read brings the
	// values back.
	Adopt(host []float32) Buffer
	// Upload gives dst the values of src. It may make dst stand for src's memory,
	// which therefore rests until dst is not needed any more.
	Upload(dst *Buffer, src []float32)
	// Read waits, and gives a buffer's values in the host's memory. They are valid
	// until the next call.
	Read(src Buffer) ([]float32, error)

	// Spectral prepares the spectral norm of a weight, seen as a matrix
	// (rows, cols), with the singular vectors u and v.
	Spectral(rows, cols int, u, v Buffer) Handle
	// Iterate moves u and v on by one step, v = norm(W'u) and u = norm(Wv), and
	// keeps sigma = u'Wv for the convolutions that follow.
	Iterate(spectral Handle, w Buffer)

	// Conv is y = conv(x, w/sigma), or its adjoint.
	Conv(c *Conv, y, x, w Buffer)
	// ConvByInput is the gradient by x.
	ConvByInput(c *Conv, dx, dy, w Buffer)
	// ConvByWeight is the gradient by w: with G = dL/d(w/sigma), and u and v as
	// constants, dw = (G - <G, w/sigma> u v')/sigma.
	ConvByWeight(c *Conv, dw, x, dy, w Buffer)

	// Upsample doubles planes of side by side, see kernel.Upsample.
	Upsample(y, x Buffer, planes, side int)
	// UpsampleByInput is the gradient by x.
	UpsampleByInput(dx, dy Buffer, planes, side int)

	// AddNoise adds maps (n,area) to y (n,channels,area), see kernel.AddNoise.
	AddNoise(y, maps, strength Buffer, n, channels, area int)
	// NoiseByStrength is the gradient by the channels' strengths.
	NoiseByStrength(dstrength, dy, maps Buffer, n, channels, area int)

	// Norm is batch norm by the batch's mean and biased variance, which it keeps,
	// and the activation after it. The running statistics move by share towards
	// the mean and the unbiased variance.
	Norm(n *Norm, y, mean, variance, x, scale, shift Buffer, share float32)
	// NormByInput gives the gradients by x, scale and shift.
	NormByInput(n *Norm, dx, dscale, dshift, dy, x, mean, variance, scale, shift Buffer)

	// NormInfer is batch norm by the running statistics.
	NormInfer(n *Norm, y, x, scale, shift Buffer)

	// Activate is y = tanh(x), or x above zero and Slope*x below.
	Activate(a Activation, y, x Buffer)
	// ActivateByInput is the gradient by x. It reads y for tanh, else x.
	ActivateByInput(a Activation, dx, dy, v Buffer)

	// Layer prepares a transposed convolution in evaluation mode. The weight rests
	// from the first Infer on.
	Layer(shape kernel.Conv, w Buffer) Handle
	// Infer is the layer's convolution, batch norm by the running statistics where
	// n is not nil, and activation.
	Infer(layer Handle, n *Norm, a Activation, y, x, scale, shift Buffer)

	// Spread adds the channel of kernel.Spread to x (n,channels,area).
	Spread(y, x Buffer, n, channels, area int)
	// SpreadByInput is the gradient by x.
	SpreadByInput(dx, dy, x Buffer, n, channels, area int)

	// Join makes n rows of y, each of a row of a and one of b.
	Join(y, a, b Buffer, n int)
	// Part is the reverse: it makes the rows of a and b from those of y.
	Part(a, b, y Buffer, n int)

	// Augment changes images (len(by),c,h,w), one after the other, see
	// kernel.Augmentation.
	Augment(y, x Buffer, by []kernel.Augmentation, c, h, w int)
	// AugmentByInput is the gradient by x.
	AugmentByInput(dx, dy Buffer, by []kernel.Augmentation, c, h, w int)

	// Squares are the sums of the squares of n parts of x.
	Squares(x Buffer, n int) ([]float64, error)

	// Loss judges logits by the terms, see Terms.
	Loss(t *Terms, logits Buffer) (Outcome, error)
	// LossByInput is the gradient by the logits.
	LossByInput(t *Terms, dx, logits Buffer)

	// Add is dst += x.
	Add(dst, x Buffer)
	// Adam takes a step of the optimiser, see kernel.Adam.
	Adam(a *AdamStep, p, mean, meanOfSquares, gradient Buffer)
	// Follow moves dst by share of the way to x. A share of 1 is a copy.
	Follow(dst, x Buffer, share float32)
}

// Buffer is memory of a backend: Len float32 values, on the CPU those of Host, on
// a device those at the address Device.
type Buffer struct {
	Host   []float32
	Device uintptr
	Len    int
}

// first is the buffer's first n values.
func (b Buffer) first(n int) Buffer {
	if b.Host != nil {
		b.Host = b.Host[:n]
	}
	b.Len = n
	return b
}

// from is what follows the buffer's first n values.
func (b Buffer) from(n int) Buffer {
	if b.Host != nil {
		b.Host = b.Host[n:]
	}
	if b.Device != 0 {
		b.Device += float32Size * uintptr(n)
	}
	b.Len -= n
	return b
}

// Handle is what a backend has prepared for an operation, of a type of its own.
type Handle any

// Conv is a convolution, or its adjoint, with the weight as it is or, where
// Spectral is not nil, divided by its spectral norm.
type Conv struct {
	Shape      kernel.Conv
	Transposed bool
	Spectral   Handle
}

// Norm is batch norm over (N,Channels,Area) with the activation of a slope; 1 is
// none.
type Norm struct {
	N, Channels, Area       int
	Epsilon, Slope          float32
	RunningMean, RunningVar Buffer
}

// Activation is tanh, or a leaky ReLU of a slope; 1 is none.
type Activation struct {
	Slope float32
	Tanh  bool
}

// AdamStep is step Step, from 1, of the optimiser Adam.
type AdamStep struct {
	Rate, Beta1, Beta2, Epsilon float64
	Step                        int64
}
