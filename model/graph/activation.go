package graph

import (
	"gorgonia.org/gorgonia"

	"github.com/defectforge/defectforge/model/kernel"
)

// activation is y = tanh(x), or x above zero and slope*x below. Input: x.
type activation struct {
	frame
	slope float32
	tanh  bool
	ws    *Workspace
}

func newActivation(p pass, l *layer) *activation {
	name := p.net.name + "." + l.name + ".activation"
	return &activation{
		frame: frame{
			name: name, dims: []int{4}, kept: p.kept,
			out: p.ws.dense(name, p.n, l.out, l.outSide, l.outSide),
		},
		slope: l.slope, tanh: l.tanh, ws: p.ws,
	}
}

func (o *activation) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	switch {
	case o.held():
	case o.tanh:
		kernel.Tanh(o.out.Float32s(), data(in[0]))
	default:
		kernel.LeakyReLU(o.out.Float32s(), data(in[0]), o.slope)
	}
	return o.out, nil
}

func (o *activation) DiffWRT(int) []bool { return all(1) }

func (o *activation) SymDiff(in gorgonia.Nodes, y, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	name := o.name + ".dx"
	op := &activationByInput{
		frame:      frame{name: name, dims: []int{4, 4}, out: o.ws.dense(name, in[0].Shape()...)},
		activation: o,
	}
	value := in[0]
	if o.tanh { // tanh's derivative comes from its result
		value = y
	}
	dx, err := gorgonia.ApplyOp(op, dy, value)
	return gorgonia.Nodes{dx}, err
}

// activationByInput is dx of an activation. Inputs: dy, and y for tanh, else x.
type activationByInput struct {
	frame
	activation *activation
}

func (o *activationByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	dx, dy, v := o.out.Float32s(), data(in[0]), data(in[1])
	if o.activation.tanh {
		kernel.TanhBackward(dx, dy, v)
	} else {
		kernel.LeakyReLUBackward(dx, dy, v, o.activation.slope)
	}
	return o.out, nil
}
