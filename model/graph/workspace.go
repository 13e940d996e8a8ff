package graph

import (
	"fmt"

	"gorgonia.org/tensor"
)

// Workspace is a backend and its memory. It lends arrays by name: graphs for
// different batch sizes and passes run one after another, so equal names share
// memory. Nothing of a pass is needed by the next, apart from what has a name of
// its own.
type Workspace struct {
	backend Backend
	arrays  map[string]Buffer
	adopted map[*Tensor]Buffer
}

// NewWorkspace is an empty workspace of a backend.
func NewWorkspace(b Backend) *Workspace {
	return &Workspace{backend: b, arrays: map[string]Buffer{}, adopted: map[*Tensor]Buffer{}}
}

func (w *Workspace) array(name string, shape ...int) *array {
	s := tensor.Shape(shape).Clone()
	n := s.TotalSize()
	if w.arrays[name].Len < n {
		w.arrays[name] = w.backend.Alloc(n)
	}
	return &array{w.arrays[name].first(n), s}
}

// adopt is the memory of a tensor of a network's state.
func (w *Workspace) adopt(t *Tensor) Buffer {
	b, ok := w.adopted[t]
	if !ok {
		b = w.backend.Adopt(t.Data)
		w.adopted[t] = b
	}
	return b
}

// Fetch brings tensors' Data up to date with what the workspace's graphs and
// optimisers have made of them.
func (w *Workspace) Fetch(tensors []*Tensor) error {
	for _, t := range tensors {
		b, ok := w.adopted[t]
		if !ok {
			continue
		}
		values, err := w.backend.Read(b)
		if err != nil {
			return fmt.Errorf("fetch %s: %w", t.Name, err)
		}
		if len(values) > 0 && &values[0] != &t.Data[0] {
			copy(t.Data, values)
		}
	}
	return nil
}

// Follow moves the weights of a network by share of the way to those of another
// of the same shape, and gives it the other's state beside the weights.
func (w *Workspace) Follow(net, other *Net, share float32) {
	from := other.Params()
	for i, t := range net.Params() {
		w.backend.Follow(w.adopt(t), w.adopt(from[i]), share)
	}
	from = other.Buffers()
	for i, t := range net.Buffers() {
		w.backend.Follow(w.adopt(t), w.adopt(from[i]), 1)
	}
	copyCounters(net, other)
}
