package graph

import (
	"fmt"
	"hash"
	"hash/fnv"
	"unsafe"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// array is a buffer with a shape: the value that flows through Gorgonia, which
// never looks into it.
type array struct {
	Buffer
	shape tensor.Shape
}

const float32Size = 4

func (a *array) Shape() tensor.Shape     { return a.shape }
func (a *array) Size() int               { return a.Len }
func (a *array) Data() any               { return a.Host }
func (a *array) Dtype() tensor.Dtype     { return tensor.Float32 }
func (a *array) Type() hm.Type           { return typeOf(a.shape.Dims()) }
func (a *array) MemSize() uintptr        { return float32Size * uintptr(a.Len) }
func (a *array) Pointer() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(a.Host)) }

func (a *array) Uintptr() uintptr {
	if a.Host == nil {
		return a.Device
	}
	return uintptr(a.Pointer())
}

// Format implements fmt.Formatter, which Gorgonia asks for.
func (a *array) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "array%v", a.shape) }

// buffer is a value's memory.
func buffer(v gorgonia.Value) Buffer { return v.(*array).Buffer }

// frame is what all operations here share: a name that is unique in the graph,
// the numbers of dimensions of the inputs, and the array that the result stands
// in, step after step.
type frame struct {
	backend Backend
	name    string
	dims    []int
	out     *array
	// kept, where it is set and true, says that the result of the last run
	// still holds, and is to be handed on as it is.
	kept *bool
}

// newFrame lends the result's array from ws under the operation's name.
func newFrame(ws *Workspace, name string, shape []int, dims ...int) frame {
	return frame{backend: ws.backend, name: name, dims: dims, out: ws.array(name, shape...)}
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
		dims = f.out.shape.Dims()
	}
	return hm.NewFnType(append(types, typeOf(dims))...)
}

func (f *frame) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	if f.out == nil {
		return tensor.ScalarShape(), nil
	}
	return f.out.shape.Clone(), nil
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

func (f *frame) result() *array { return f.out }

func (f *frame) held() bool { return f.kept != nil && *f.kept }

// all is n times true.
func all(n int) []bool {
	out := make([]bool, n)
	for i := range out {
		out[i] = true
	}
	return out
}
