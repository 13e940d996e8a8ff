package graph

import (
	"gorgonia.org/gorgonia"

	"github.com/defectforge/defectforge/model/kernel"
)

// conv is y = conv(x, w) or its adjoint, the transposed convolution, with w
// divided by its spectral norm where there is one. Inputs: x (n,c,h,w) and
// the weight.
type conv struct {
	frame
	geometry   kernel.Conv
	transposed bool
	spectral   *spectral
	// wantX and wantW say which gradients are taken: the image's is not needed
	// at a network's first layer, a discriminator's weights' not where the
	// generator learns.
	wantX, wantW bool
	ws           *Workspace
	weight       *Tensor
}

func newConv(p pass, l *layer, wantX bool) *conv {
	name := p.net.name + "." + l.name + ".conv"
	return &conv{
		frame: frame{
			name: name, dims: []int{4, 4}, kept: p.kept,
			out: p.ws.dense(name, p.n, l.out, l.outSide, l.outSide),
		},
		geometry: l.geometry(p.n), transposed: l.transposed, spectral: l.spectral,
		wantX: wantX, wantW: p.learns, ws: p.ws, weight: l.weight,
	}
}

func (o *conv) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if o.held() {
		return o.out, nil
	}
	y, x, w := o.out.Float32s(), data(in[0]), data(in[1])
	if o.spectral != nil {
		o.spectral.iterate(w)
	}
	if o.transposed {
		o.geometry.BackwardInput(y, x, w, o.spectral.scale())
	} else {
		o.geometry.Forward(y, x, w, o.spectral.scale())
	}
	return o.out, nil
}

func (o *conv) DiffWRT(int) []bool { return []bool{o.wantX, o.wantW} }

func (o *conv) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	grads := make(gorgonia.Nodes, 2)
	x, w := in[0], in[1]
	var err error
	if o.wantX {
		op := &convByInput{frame: o.gradient("dx", x.Shape(), 4, 4), conv: o}
		if grads[0], err = gorgonia.ApplyOp(op, dy, w); err != nil {
			return nil, err
		}
	}
	if o.wantW {
		op := &convByWeight{frame: o.gradient("dw", w.Shape(), 4, 4, 4), conv: o}
		if grads[1], err = gorgonia.ApplyOp(op, x, dy, w); err != nil {
			return nil, err
		}
	}
	return grads, nil
}

func (o *conv) gradient(suffix string, shape []int, dims ...int) frame {
	name := o.name + "." + suffix
	return frame{name: name, dims: dims, out: o.ws.dense(name, shape...)}
}

// convByInput is dx of a conv. Inputs: dy, the weight.
type convByInput struct {
	frame
	conv *conv
}

func (o *convByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	c, dx, dy, w := o.conv, o.out.Float32s(), data(in[0]), data(in[1])
	if c.transposed {
		c.geometry.Forward(dx, dy, w, c.spectral.scale())
	} else {
		c.geometry.BackwardInput(dx, dy, w, c.spectral.scale())
	}
	return o.out, nil
}

// convByWeight is dw of a conv. Inputs: x, dy, the weight.
type convByWeight struct {
	frame
	conv *conv
}

func (o *convByWeight) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	c, dw, x, dy, w := o.conv, o.out.Float32s(), data(in[0]), data(in[1]), data(in[2])
	if c.transposed {
		x, dy = dy, x
	}
	c.geometry.BackwardWeights(dw, x, dy, 1)
	if c.spectral != nil {
		c.spectral.correct(dw, w)
	}
	return o.out, nil
}
