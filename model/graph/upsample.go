package graph

import (
	"gorgonia.org/gorgonia"
)

// upsample doubles the sides of x (n,c,h,w), see kernel.Upsample. Input: x.
type upsample struct {
	frame
	planes, side int // of x
	wantX        bool
	ws           *Workspace
}

func newUpsample(p pass, l *layer, wantX bool) *upsample {
	name := p.net.name + "." + l.name + ".doubled"
	f := newFrame(p.ws, name, []int{p.n, l.in, 2 * l.inSide, 2 * l.inSide}, 4)
	f.kept = p.kept
	return &upsample{frame: f, planes: p.n * l.in, side: l.inSide, wantX: wantX, ws: p.ws}
}

func (o *upsample) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if !o.held() {
		o.backend.Upsample(o.out.Buffer, buffer(in[0]), o.planes, o.side)
	}
	return o.out, nil
}

func (o *upsample) DiffWRT(int) []bool { return []bool{o.wantX} }

func (o *upsample) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	op := &upsampleByInput{newFrame(o.ws, o.name+".dx", in[0].Shape(), 4), o}
	dx, err := gorgonia.ApplyOp(op, dy)
	return gorgonia.Nodes{dx}, err
}

// upsampleByInput is dx of an upsample. Input: dy.
type upsampleByInput struct {
	frame
	upsample *upsample
}

func (o *upsampleByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.UpsampleByInput(o.out.Buffer, buffer(in[0]), o.upsample.planes, o.upsample.side)
	return o.out, nil
}
