package graph

import (
	"gorgonia.org/gorgonia"
)

// conv is y = conv(x, w) or its adjoint, the transposed convolution, with w
// divided by its spectral norm where there is one, which each forward pass
// iterates. Inputs: x (n,c,h,w) and the weight.
type conv struct {
	frame
	Conv
	// wantX and wantW say which gradients are taken: the image's is not needed
	// at a network's first layer, a discriminator's weights' not where the
	// generator learns.
	wantX, wantW bool
	side         string // see pass
	rests        bool   // the spectral norm is another pass's, which has iterated it
	ws           *Workspace
}

func newConv(p pass, l *layer, wantX bool) *conv {
	o := &conv{
		frame: p.frame(l, "conv", 4, 4),
		Conv:  Conv{Shape: l.geometry(p.n), Transposed: l.transposed},
		wantX: wantX, wantW: p.learns, side: p.side, ws: p.ws,
	}
	if l.spectral != nil {
		o.Spectral = l.spectral.prepare(p.ws)
	}
	return o
}

func (o *conv) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if o.held() {
		return o.out, nil
	}
	w := buffer(in[1])
	if o.Spectral != nil && !o.rests {
		o.backend.Iterate(o.Spectral, w)
	}
	o.backend.Conv(&o.Conv, o.out.Buffer, buffer(in[0]), w)
	return o.out, nil
}

func (o *conv) DiffWRT(int) []bool { return []bool{o.wantX, o.wantW} }

func (o *conv) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	grads := make(gorgonia.Nodes, 2)
	x, w := in[0], in[1]
	var err error
	if o.wantX {
		op := &convByInput{frame: newFrame(o.ws, o.name+".dx", x.Shape(), 4, 4), conv: o}
		if grads[0], err = gorgonia.ApplyOp(op, dy, w); err != nil {
			return nil, err
		}
	}
	if o.wantW {
		op := &convByWeight{frame: newFrame(o.ws, o.name+".dw"+o.side, w.Shape(), 4, 4, 4), conv: o}
		if grads[1], err = gorgonia.ApplyOp(op, x, dy, w); err != nil {
			return nil, err
		}
	}
	return grads, nil
}

// convByInput is dx of a conv. Inputs: dy, the weight.
type convByInput struct {
	frame
	conv *conv
}

func (o *convByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.ConvByInput(&o.conv.Conv, o.out.Buffer, buffer(in[0]), buffer(in[1]))
	return o.out, nil
}

// convByWeight is dw of a conv. Inputs: x, dy, the weight.
type convByWeight struct {
	frame
	conv *conv
}

func (o *convByWeight) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.ConvByWeight(&o.conv.Conv, o.out.Buffer, buffer(in[0]), buffer(in[1]), buffer(in[2]))
	return o.out, nil
}
