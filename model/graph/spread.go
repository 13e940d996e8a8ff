package graph

import (
	"gorgonia.org/gorgonia"
)

// spread gives x (n,c,h,w) one more channel, see kernel.Spread: of each of the
// batches that the pass judges in one. Input: x.
type spread struct {
	frame
	n, batches     int
	channels, area int // of x
	ws             *Workspace
}

// newSpread makes l's input, of which x is all channels but the last.
func newSpread(p pass, l *layer) *spread {
	side := l.inSide
	return &spread{
		frame: newFrame(p.ws, p.net.name+"."+l.name+".spread", []int{p.n, l.in, side, side}, 4),
		n:     p.n, batches: max(p.batches, 1), channels: l.in - 1, area: side * side, ws: p.ws,
	}
}

// of is the i-th batch's part of b.
func (o *spread) of(b Buffer, i int) Buffer {
	n := b.Len / o.batches
	return b.from(i * n).first(n)
}

func (o *spread) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	x := buffer(in[0])
	for i := range o.batches {
		o.backend.Spread(o.of(o.out.Buffer, i), o.of(x, i), o.n/o.batches, o.channels, o.area)
	}
	return o.out, nil
}

func (o *spread) DiffWRT(int) []bool { return all(1) }

func (o *spread) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	op := &spreadByInput{newFrame(o.ws, o.name+".dx", in[0].Shape(), 4, 4), o}
	dx, err := gorgonia.ApplyOp(op, dy, in[0])
	return gorgonia.Nodes{dx}, err
}

// spreadByInput is dx of a spread. Inputs: dy, x.
type spreadByInput struct {
	frame
	spread *spread
}

func (o *spreadByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	s, dy, x := o.spread, buffer(in[0]), buffer(in[1])
	for i := range s.batches {
		o.backend.SpreadByInput(s.of(o.out.Buffer, i), s.of(dy, i), s.of(x, i), s.n/s.batches, s.channels, s.area)
	}
	return o.out, nil
}
