package graph

import (
	"gorgonia.org/gorgonia"
)

// activation is y = tanh(x), or x above zero and slope*x below. Input: x.
type activation struct {
	frame
	Activation
	ws *Workspace
}

func newActivation(p pass, l *layer) *activation {
	return &activation{frame: p.frame(l, "activation", 4), Activation: l.Activation, ws: p.ws}
}

func (o *activation) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if !o.held() {
		o.backend.Activate(o.Activation, o.out.Buffer, buffer(in[0]))
	}
	return o.out, nil
}

func (o *activation) DiffWRT(int) []bool { return all(1) }

func (o *activation) SymDiff(in gorgonia.Nodes, y, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	op := &activationByInput{newFrame(o.ws, o.name+".dx", in[0].Shape(), 4, 4), o.Activation}
	value := in[0]
	if o.Tanh { // tanh's derivative comes from its result
		value = y
	}
	dx, err := gorgonia.ApplyOp(op, dy, value)
	return gorgonia.Nodes{dx}, err
}

// activationByInput is dx of an activation. Inputs: dy, and y for tanh, else x.
type activationByInput struct {
	frame
	Activation
}

func (o *activationByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.ActivateByInput(o.Activation, o.out.Buffer, buffer(in[0]), buffer(in[1]))
	return o.out, nil
}

// gate is the derivative of a leaky ReLU at z along x: x where z is above zero, else
// slope*x. Input: x.
type gate struct {
	frame
	Activation
	at *array // z
	ws *Workspace
}

func newGate(p pass, l *layer, at *array) *gate {
	return &gate{frame: p.frame(l, "gate", 4), Activation: l.Activation, at: at, ws: p.ws}
}

func (o *gate) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.ActivateByInput(o.Activation, o.out.Buffer, buffer(in[0]), o.at.Buffer)
	return o.out, nil
}

func (o *gate) DiffWRT(int) []bool { return all(1) }

// SymDiff is another gate at the same place.
func (o *gate) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	op := &gate{newFrame(o.ws, o.name+".dx", in[0].Shape(), 4), o.Activation, o.at, o.ws}
	dx, err := gorgonia.ApplyOp(op, dy)
	return gorgonia.Nodes{dx}, err
}
