package graph

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// device is a backend that keeps no memory the host could look into and computes
// nothing: it writes down what it is asked for, and checks that each buffer is its
// own and has room for the shape.
type device struct {
	t     *testing.T
	next  uintptr
	sizes map[uintptr]int
	calls []string
	work  float64 // of convolutions, by the direct algorithm

	logits int // of an image
}

func newDevice(t *testing.T) *device { return &device{t: t, sizes: map[uintptr]int{}, logits: 1} }

func (d *device) Alloc(n int) Buffer {
	d.next += 1 << 32
	d.sizes[d.next] = n
	return Buffer{Device: d.next, Len: n}
}

func (d *device) Adopt(host []float32) Buffer { return d.Alloc(len(host)) }

func (d *device) Upload(dst *Buffer, src []float32) {
	if dst.Len < len(src) {
		*dst = d.Alloc(len(src))
	}
	d.call("upload", len(src), *dst)
}

func (d *device) Read(src Buffer) ([]float32, error) {
	d.call("read", src.Len, src)
	return make([]float32, src.Len), nil
}

// call notes an operation on buffers of n values; n below zero is any.
func (d *device) call(name string, n int, buffers ...Buffer) {
	d.calls = append(d.calls, name)
	for i, b := range buffers {
		require.Nil(d.t, b.Host, name)
		require.LessOrEqual(d.t, b.Len, d.sizes[b.Device], "%s: buffer %d is not the backend's", name, i)
		require.True(d.t, n < 0 || b.Len == n, "%s: buffer %d of %d values, want %d", name, i, b.Len, n)
	}
}

func (d *device) convolution(name string, c *Conv, x, w, y Buffer) {
	s := c.Shape
	d.work += 2 * float64(s.N*s.C*s.O*s.K*s.K*s.OutH()*s.OutW())
	if c.Transposed {
		x, y = y, x
	}
	require.Equal(d.t, s.N*s.C*s.H*s.W, x.Len, name)
	require.Equal(d.t, s.N*s.O*s.OutH()*s.OutW(), y.Len, name)
	if c.Spectral != nil {
		require.Equal(d.t, "spectral norm", c.Spectral)
	}
	d.call(name, s.O*s.C*s.K*s.K, w)
	d.call("", -1, x, y)
	d.calls = d.calls[:len(d.calls)-1]
}

func (d *device) Spectral(rows, cols int, u, v Buffer) Handle {
	require.Equal(d.t, []int{rows, cols}, []int{u.Len, v.Len})
	return "spectral norm"
}
func (d *device) Iterate(_ Handle, w Buffer)            { d.call("iterate", -1, w) }
func (d *device) Conv(c *Conv, y, x, w Buffer)          { d.convolution("conv", c, x, w, y) }
func (d *device) ConvByInput(c *Conv, dx, dy, w Buffer) { d.convolution("conv by input", c, dx, w, dy) }
func (d *device) ConvByWeight(c *Conv, dw, x, dy, w Buffer) {
	require.Equal(d.t, w.Len, dw.Len)
	d.convolution("conv by weight", c, x, dw, dy)
}

func (d *device) Norm(n *Norm, y, mean, variance, x, scale, shift Buffer, _ float32) {
	d.call("norm", n.N*n.Channels*n.Area, y, x)
	d.vectors(n, mean, variance, scale, shift, n.RunningMean, n.RunningVar)
}

func (d *device) NormByInput(n *Norm, dx, dscale, dshift, dy, x, mean, variance, scale, shift Buffer) {
	d.call("norm by input", n.N*n.Channels*n.Area, dx, dy, x)
	d.vectors(n, dscale, dshift, mean, variance, scale, shift)
}

func (d *device) vectors(n *Norm, buffers ...Buffer) {
	d.call("", n.Channels, buffers...)
	d.calls = d.calls[:len(d.calls)-1]
}

func (d *device) NormInfer(n *Norm, y, x, scale, shift Buffer) {
	d.call("norm infer", n.N*n.Channels*n.Area, y, x)
	d.vectors(n, scale, shift, n.RunningMean, n.RunningVar)
}

func (d *device) Upsample(y, x Buffer, planes, side int) {
	d.call("upsample", planes*side*side, x)
	d.call("", 4*planes*side*side, y)
	d.calls = d.calls[:len(d.calls)-1]
}

func (d *device) UpsampleByInput(dx, dy Buffer, planes, side int) {
	d.Upsample(dy, dx, planes, side)
	d.calls[len(d.calls)-1] = "upsample by input"
}

func (d *device) AddNoise(y, maps, strength Buffer, n, channels, area int) {
	d.call("noise", n*channels*area, y)
	d.call("", n*area, maps)
	d.call("", channels, strength)
	d.calls = d.calls[:len(d.calls)-2]
}

func (d *device) NoiseByStrength(dstrength, dy, maps Buffer, n, channels, area int) {
	d.AddNoise(dy, maps, dstrength, n, channels, area)
	d.calls[len(d.calls)-1] = "noise by strength"
}

func (d *device) Spread(y, x Buffer, n, channels, area int) {
	d.call("spread", n*channels*area, x)
	d.call("", n*(channels+1)*area, y)
	d.calls = d.calls[:len(d.calls)-1]
}

func (d *device) SpreadByInput(dx, dy, x Buffer, n, channels, area int) {
	d.Spread(dy, x, n, channels, area)
	d.Spread(dy, dx, n, channels, area)
	d.calls = append(d.calls[:len(d.calls)-2], "spread by input")
}

func (d *device) Join(y, a, b Buffer, n int) {
	require.Equal(d.t, y.Len, a.Len+b.Len)
	require.Zero(d.t, a.Len%n+b.Len%n)
	d.call("join", -1, y, a, b)
}

func (d *device) Part(a, b, y Buffer, n int) {
	d.Join(y, a, b, n)
	d.calls[len(d.calls)-1] = "part"
}

func (d *device) Activate(_ Activation, y, x Buffer) { d.call("activate", y.Len, y, x) }
func (d *device) ActivateByInput(_ Activation, dx, dy, v Buffer) {
	d.call("activate by input", dx.Len, dx, dy, v)
}
func (d *device) Layer(kernel.Conv, Buffer) Handle { return "layer" }
func (d *device) Infer(layer Handle, _ *Norm, _ Activation, y, x, _, _ Buffer) {
	require.Equal(d.t, "layer", layer)
	d.call("infer", -1, y, x)
}
func (d *device) Augment(y, x Buffer, by []kernel.Augmentation, c, h, w int) {
	d.call("augment", len(by)*c*h*w, y, x)
}
func (d *device) AugmentByInput(dx, dy Buffer, by []kernel.Augmentation, c, h, w int) {
	d.call("augment by input", len(by)*c*h*w, dx, dy)
}
func (d *device) Loss(_ *Terms, logits Buffer) (Outcome, error) {
	d.call("loss", 3*d.logits, logits)
	return Outcome{Loss: 7}, nil
}
func (d *device) LossByInput(_ *Terms, dx, logits Buffer) {
	d.call("loss by input", 3*d.logits, dx, logits)
}
func (d *device) Squares(x Buffer, n int) ([]float64, error) {
	d.call("squares", x.Len, x)
	return make([]float64, n), nil
}
func (d *device) Add(dst, x Buffer) { d.call("add", dst.Len, dst, x) }
func (d *device) Adam(_ *AdamStep, p, mean, meanOfSquares, gradient Buffer) {
	d.call("adam", p.Len, p, mean, meanOfSquares, gradient)
}
func (d *device) Follow(dst, x Buffer, _ float32) { d.call("follow", dst.Len, dst, x) }

// counts turns a list of calls into numbers, and forgets them.
func (d *device) counts() map[string]int {
	out := map[string]int{}
	for _, c := range d.calls {
		out[c]++
	}
	d.calls = nil
	return out
}

// A whole step on memory that the host cannot see: none of it is done beside the
// backend.
func TestATrainingStepGoesThroughTheBackendAlone(t *testing.T) {
	dev := newDevice(t)
	d, g := NewDiscriminator(smallest()), NewGenerator(smallest())
	average := NewGenerator(smallest())
	ws := NewWorkspace(dev)
	trainer, err := NewTrainer(ws, d, g, 3, Ways{Augment: true})
	require.NoError(t, err)
	defer trainer.Close()
	require.Empty(t, dev.counts(), "building graphs computes nothing")

	terms := Terms{Augment: slices.Repeat([]kernel.Augmentation{kernel.NoAugmentation}, 3)}
	require.NoError(t, trainer.Generate(Draws{Latents: values(rand.New(rand.NewSource(1)), 9)}))
	require.Equal(t, map[string]int{"upload": 1, "conv": 6, "norm": 5, "activate": 1}, dev.counts())
	onReal, onFake, err := trainer.Judge(make([]float32, 3*spec.ImageLen), terms, terms)
	require.NoError(t, err)
	require.EqualValues(t, 7, onReal.Loss)
	require.EqualValues(t, 7, onFake.Loss)
	require.Equal(t, map[string]int{
		"upload": 1, "augment": 2, "iterate": 10, "conv": 12, "norm": 8, "activate": 2, "loss": 2, "loss by input": 2,
		"conv by input": 10, "conv by weight": 12, "norm by input": 8, "activate by input": 2, "add": len(d.Params()),
	}, dev.counts(), "real images are uploaded, generated ones stay where they are")

	trainer.UpdateDiscriminator(NewAdam(d), AdamStep{Step: 1})
	require.Equal(t, map[string]int{"adam": len(d.Params())}, dev.counts())
	_, err = trainer.Fool(nil, Terms{}, terms)
	require.NoError(t, err)
	require.Equal(t, map[string]int{
		"augment": 1, "iterate": 5, "conv": 6, "norm": 4, "activate": 1, "loss": 1, "loss by input": 1,
		"conv by input": 6 + 5, "norm by input": 4 + 5, "activate by input": 1 + 1, "augment by input": 1,
		"conv by weight": 6,
	}, dev.counts())
	require.Equal(t, DirectWork(d, g, 3), dev.work)
	trainer.UpdateGenerator(NewAdam(g), AdamStep{Step: 1})
	ws.Follow(average, g, 0.5)
	require.Equal(t, map[string]int{"adam": len(g.Params()), "follow": len(g.Params()) + len(g.Buffers())}, dev.counts())

	d.Params()[0].Data[0] = 5
	require.NoError(t, ws.Fetch(d.Params()))
	require.Zero(t, d.Params()[0].Data[0], "the device's values come back")
}

func TestSamplingGoesThroughTheBackendAlone(t *testing.T) {
	dev := newDevice(t)
	gen, err := NewGeneration(NewWorkspace(dev), NewGenerator(smallest()), 2, true)
	require.NoError(t, err)
	defer gen.Close()
	images, err := gen.Run(Draws{Latents: make([]float32, 6)})
	require.NoError(t, err)
	require.Len(t, images, 2*spec.ImageLen)
	require.Equal(t, map[string]int{"upload": 1, "infer": 6, "read": 1}, dev.counts())
}

// An error of the backend ends the run that asked for the loss.
func TestErrorsOfTheBackendAreReported(t *testing.T) {
	d, g := networks()
	trainer, err := NewTrainer(NewWorkspace(failing{}), d, g, 3, Ways{})
	require.NoError(t, err)
	defer trainer.Close()
	_, _, err = trainer.Judge(make([]float32, 3*spec.ImageLen), Terms{}, Terms{})
	require.ErrorContains(t, err, "out of memory")
}

type failing struct{ CPU }

func (failing) Loss(*Terms, Buffer) (Outcome, error) { return Outcome{}, fmt.Errorf("out of memory") }
