// Package graph holds the networks as Gorgonia expression graphs made of this
// package's own operations, differentiated by gorgonia.Grad and run by
// Gorgonia's tape machine. It is the only importer of Gorgonia. What the
// operations compute goes through a Backend, CPU or a device's. Arrays are
// float32: images and features NCHW, convolution weights (out, in, k, k),
// transposed ones (in, out, k, k).
package graph

import (
	"github.com/defectforge/defectforge/model/kernel"
)

const (
	kernelSize  = 4
	smallKernel = 3 // behind a doubling, and of patches' logits
	normEpsilon = 1e-5
	normShare   = 0.1 // of a batch in the running statistics
	leakySlope  = 0.2
	linear      = 1 // the slope that makes no activation
	firstSide   = 4 // the side of the smallest feature maps
)

// Tensor is a named array of a network's state. A workspace whose graphs have run
// may hold newer values than Data: see Workspace.Fetch.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

func newTensor(name string, shape ...int) *Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return &Tensor{Name: name, Shape: shape, Data: make([]float32, n)}
}

// Counter is a named integer of a network's state: Value has one element.
type Counter struct {
	Name  string
	Value []int64
}

// Net is one network's weights and state, under PyTorch's state names. It is
// the same memory for every graph that is built on it.
type Net struct {
	name   string
	layers []*layer
}

// layer is a convolution with what follows it.
type layer struct {
	name        string
	weight      *Tensor
	transposed  bool
	doubled     bool // the input is doubled before, see kernel.Upsample
	spread      bool // the input's last channel is the batch's spread, see kernel.Spread
	in, out     int  // channels
	inSide      int
	outSide     int
	kernel      int // side
	stride, pad int
	spectral    *spectral // nil: the weight is used as it is
	noise       *Tensor   // the channels' strengths; nil: no noise
	norm        *norm     // nil: no batch norm
	patches     *layer    // nil: no head of its own, see tap
	Activation
}

// Name is "generator" or "discriminator".
func (n *Net) Name() string { return n.name }

// Params are the trained tensors, in a fixed order.
func (n *Net) Params() []*Tensor {
	var out []*Tensor
	for _, l := range n.layers {
		out = append(out, l.weight)
		if l.noise != nil {
			out = append(out, l.noise)
		}
		if l.norm != nil {
			out = append(out, l.norm.scale, l.norm.shift)
		}
		if l.patches != nil {
			out = append(out, l.patches.weight)
		}
	}
	return out
}

// Buffers are the other arrays of the state: spectral norm's vectors and batch
// norm's running statistics.
func (n *Net) Buffers() []*Tensor {
	var out []*Tensor
	for _, l := range n.layers {
		if l.spectral != nil {
			out = append(out, l.spectral.u, l.spectral.v)
		}
		if l.norm != nil {
			out = append(out, l.norm.runningMean, l.norm.runningVar)
		}
	}
	return out
}

// Counters are the batches that each batch norm has seen in training.
func (n *Net) Counters() []Counter {
	var out []Counter
	for _, l := range n.layers {
		if l.norm != nil {
			out = append(out, Counter{l.norm.prefix + ".num_batches_tracked", l.norm.batches})
		}
	}
	return out
}

// ForgetStatistics starts the running statistics anew and makes them plain
// averages over the batches that follow, instead of exponential ones. No graph
// has been built on the network before.
func (n *Net) ForgetStatistics() {
	for _, l := range n.layers {
		if l.norm != nil {
			clear(l.norm.runningMean.Data)
			clear(l.norm.runningVar.Data)
			l.norm.batches[0], l.norm.average = 0, true
		}
	}
}

// geometry is the convolution of a batch of n. A transposed layer is the
// adjoint of the convolution from its output to its input.
func (l *layer) geometry(n int) kernel.Conv {
	c := kernel.Conv{N: n, C: l.in, H: l.inSide, W: l.inSide, O: l.out, K: l.kernel, Stride: l.stride, Pad: l.pad}
	switch {
	case l.transposed:
		c.C, c.O, c.H, c.W = l.out, l.in, l.outSide, l.outSide
	case l.doubled:
		c.H, c.W = 2*l.inSide, 2*l.inSide
	}
	return c
}

// norm is batch norm's state.
type norm struct {
	prefix                  string
	scale, shift            *Tensor
	runningMean, runningVar *Tensor
	batches                 []int64 // one element, so that a checkpoint can fill it
	average                 bool    // plain average over all batches
}

func newNorm(prefix string, channels int) *norm {
	n := &norm{
		prefix:      prefix,
		batches:     make([]int64, 1),
		scale:       newTensor(prefix+".weight", channels),
		shift:       newTensor(prefix+".bias", channels),
		runningMean: newTensor(prefix+".running_mean", channels),
		runningVar:  newTensor(prefix+".running_var", channels),
	}
	for i := range n.runningVar.Data {
		n.runningVar.Data[i] = 1
	}
	return n
}

// count counts a batch, and gives its share in the running statistics.
func (n *norm) count() float32 {
	n.batches[0]++
	if n.average {
		return float32(1 / float64(n.batches[0]))
	}
	return normShare
}

func (n *norm) prepare(p pass, l *layer) *Norm {
	return &Norm{
		N: p.n, Channels: l.out, Area: l.outSide * l.outSide, Epsilon: normEpsilon, Slope: l.Slope,
		RunningMean: p.ws.adopt(n.runningMean), RunningVar: p.ws.adopt(n.runningVar),
	}
}

// CopyFrom takes over the weights and state of a network of the same shape.
func (n *Net) CopyFrom(other *Net) {
	from := append(other.Params(), other.Buffers()...)
	for i, t := range append(n.Params(), n.Buffers()...) {
		if len(t.Data) != len(from[i].Data) {
			panic("graph: networks of different shapes")
		}
		copy(t.Data, from[i].Data)
	}
	copyCounters(n, other)
}

func copyCounters(to, from *Net) {
	counters := from.Counters()
	for i, c := range to.Counters() {
		copy(c.Value, counters[i].Value)
	}
}
