package graph

import (
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Workspace lends arrays by name. Graphs for different batch sizes and passes
// run one after another, so equal names share memory: nothing of a pass is
// needed by the next, apart from what has a name of its own.
type Workspace struct{ arrays map[string][]float32 }

// NewWorkspace is an empty workspace.
func NewWorkspace() *Workspace { return &Workspace{arrays: map[string][]float32{}} }

func (w *Workspace) array(name string, n int) []float32 {
	a := w.arrays[name]
	if cap(a) < n {
		a = make([]float32, n)
		w.arrays[name] = a
	}
	return a[:n]
}

// dense is a lent array as a Gorgonia value.
func (w *Workspace) dense(name string, shape ...int) *tensor.Dense {
	return dense(w.array(name, tensor.Shape(shape).TotalSize()), shape...)
}

func dense(data []float32, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
}

// frame is what all operations here share: a name that is unique in the graph,
// the numbers of dimensions of the inputs, and the array that the result stands
// in, step after step.
type frame struct {
	name string
	dims []int
	out  *tensor.Dense
	// kept, where it is set and true, says that the result of the last run
	// still holds, and is to be handed on as it is.
	kept *bool
}

func typeOf(dims int) hm.Type {
	if dims == 0 {
		return tensor.Float32
	}
	return gorgonia.TensorType{Dims: dims, Of: tensor.Float32}
}

func (f *frame) Arity() int { return len(f.dims) }

func (f *frame) Type() hm.Type {
	types := make([]hm.Type, 0, len(f.dims)+1)
	for _, d := range f.dims {
		types = append(types, typeOf(d))
	}
	dims := 0
	if f.out != nil {
		dims = f.out.Dims()
	}
	return hm.NewFnType(append(types, typeOf(dims))...)
}

func (f *frame) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	if f.out == nil {
		return tensor.ScalarShape(), nil
	}
	return f.out.Shape().Clone(), nil
}

func (f *frame) ReturnsPtr() bool      { return true }
func (f *frame) CallsExtern() bool     { return false }
func (f *frame) OverwritesInput() int  { return -1 }
func (f *frame) String() string        { return f.name }
func (f *frame) WriteHash(h hash.Hash) { fmt.Fprint(h, f.name) }

func (f *frame) Hashcode() uint32 {
	h := fnv.New32a()
	f.WriteHash(h)
	return h.Sum32()
}

func (f *frame) held() bool { return f.kept != nil && *f.kept }

// data is a value's array.
func data(v gorgonia.Value) []float32 { return v.(*tensor.Dense).Float32s() }

// all is n times true.
func all(n int) []bool {
	out := make([]bool, n)
	for i := range out {
		out[i] = true
	}
	return out
}
