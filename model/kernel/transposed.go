package kernel

import (
	"fmt"
)

// Finish is what happens to a layer's result while it is stored: with v the
// value and ch its channel,
//
//	z = Scale[ch]*v + Shift[ch]
//	y = tanh(z) with Tanh, else z where z > 0 and Slope*z elsewhere
//
// No Scale and Shift are 1 and 0; a Slope of 1 is no activation.
type Finish struct {
	Scale, Shift []float32
	Slope        float32
	Tanh         bool
}

// FoldBatchNorm sets scale and shift (c) so that scale*x + shift is what
// BatchNormInfer makes of x before its activation.
func FoldBatchNorm(scale, shift, gamma, beta, mean, variance []float32, eps float32) {
	same(len(scale), len(shift), len(gamma), len(beta), len(mean), len(variance))
	b := batchnorm{gamma: gamma, beta: beta, mean: mean, variance: variance, eps: eps}
	for ch := range scale {
		scale[ch], shift[ch] = b.line(ch)
	}
}

// linear is the slope that makes no activation.
const linear = 1

// line is a channel's scale and shift.
func (f *Finish) line(ch int) (a, d float32) {
	if f.Scale == nil {
		return 1, 0
	}
	return f.Scale[ch], f.Shift[ch]
}

// apply finishes some values of one channel. dst may be src, but a result that
// is not in the cache had better not be read again at once.
func (f *Finish) apply(p *path, dst, src []float32, ch int) {
	a, d := f.line(ch)
	if !f.Tanh {
		p.lineLeaky(dst, src, a, d, f.Slope)
		return
	}
	if f.Scale != nil {
		p.lineLeaky(src, src, a, d, 1)
	}
	p.tanh(dst, src)
}

func (f *Finish) check(channels int) {
	if f == nil || f.Scale == nil && f.Shift == nil {
		return
	}
	if len(f.Scale) != channels || len(f.Shift) != channels {
		panic(fmt.Sprintf("kernel: %d factors and %d shifts for %d channels", len(f.Scale), len(f.Shift), channels))
	}
}

// Transposed is a transposed convolution whose weights rest: they are packed
// once, and what follows the convolution is done while its result is stored.
// It may be used by one goroutine at a time.
type Transposed struct {
	conv    Conv
	weights []float32
	packed  []float32 // in the order of path's tiles; nil before the first Run
	path    *path
	finish  *Finish // of the call being run
}

// NewTransposed makes BackwardInput of c a layer with weights w (O,C,K,K), which
// must not change from the first Run on. It computes in float32, whatever c.BF16.
func (c Conv) NewTransposed(w []float32) *Transposed {
	if len(w) != c.O*c.C*c.K*c.K {
		panic(fmt.Sprintf("kernel: transposed convolution %+v with %d weights", c, len(w)))
	}
	c.BF16 = false
	return &Transposed{conv: c, weights: w}
}

// Run computes y (N,C,H,W) = finish(BackwardInput of x (N,O,OutH,OutW)). The
// values before finish are those of BackwardInput with a scale of 1, up to the
// order of summation. A nil finish does nothing.
func (t *Transposed) Run(y, x []float32, finish *Finish) {
	finish.check(t.conv.C)
	if t.path != active {
		t.packed, t.path = nil, active
	}
	t.finish = finish
	t.conv.backwardInput(y, x, t.weights, 1, t)
	t.finish = nil
	if finish != nil && !t.conv.finishes() {
		finishPlanes(y, t.conv.C, t.conv.H*t.conv.W, finish)
	}
}

// finishes reports whether the sinks of BackwardInput write each value in one
// go, so that they can finish it.
func (c Conv) finishes() bool {
	return !c.full() && c.K == 4 && c.Stride == 2 && c.Pad == 1 && c.H%2 == 0 && c.W%2 == 0
}

// inStore is what the sinks apply.
func (t *Transposed) inStore() *Finish {
	if t == nil || !t.conv.finishes() {
		return nil
	}
	return t.finish
}

// prepack gives e its packed weights: t's own where there is a t, else for this
// call only, where that pays.
func (t *Transposed) prepack(e *engine) {
	if t == nil {
		e.prepack()
		return
	}
	if t.packed == nil {
		t.packed = aligned(e.packedLen())
		e.packed = t.packed
		e.packAll()
	}
	e.packed = t.packed
}

// unpack takes the packed weights away again.
func (t *Transposed) unpack(e *engine) {
	if t == nil {
		e.unpack()
	}
	e.packed = nil
}

// finishing is finish as a pass of its own, over planes.
type finishing struct {
	y        []float32
	channels int
	plane    int
	finish   *Finish
}

var finishings freelist[finishing]

func (f *finishing) do(item int, _ *scratch) {
	y := f.y[item*f.plane : (item+1)*f.plane]
	f.finish.apply(active, y, y, item%f.channels)
}

func finishPlanes(y []float32, channels, plane int, finish *Finish) {
	f := finishings.get()
	*f = finishing{y: y, channels: channels, plane: plane, finish: finish}
	parallel(f, len(y)/plane)
	*f = finishing{}
	finishings.put(f)
}
