package graph

import (
	"gorgonia.org/gorgonia"
)

// inference is a whole layer of transposed convolution in evaluation mode, one
// without noise: convolution, batch norm by the running statistics, activation. The weight is
// packed at the first run and must rest from then on. Inputs: x, the weight,
// and scale and shift where there is batch norm.
type inference struct {
	frame
	Activation
	layer Handle
	norm  *Norm // nil: none
}

func newInference(p pass, l *layer) stage {
	op := &inference{
		frame:      p.frame(l, "inference", 4, 4),
		Activation: l.Activation,
		layer:      p.ws.backend.Layer(l.geometry(p.n), p.ws.adopt(l.weight)),
	}
	params := []*Tensor{l.weight}
	if l.norm != nil {
		op.dims = append(op.dims, 1, 1)
		op.norm = l.norm.prepare(p, l)
		params = append(params, l.norm.scale, l.norm.shift)
	}
	return stage{op, params}
}

func (o *inference) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	var scale, shift Buffer
	if o.norm != nil {
		scale, shift = buffer(in[2]), buffer(in[3])
	}
	o.backend.Infer(o.layer, o.norm, o.Activation, o.out.Buffer, buffer(in[0]), scale, shift)
	return o.out, nil
}

// normInference is batch norm by the running statistics, with the activation.
// Inputs: x, scale, shift.
type normInference struct {
	frame
	*Norm
}

func newNormInference(p pass, l *layer) *normInference {
	return &normInference{p.frame(l, "norm", 4, 1, 1), l.norm.prepare(p, l)}
}

func (o *normInference) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.NormInfer(o.Norm, o.out.Buffer, buffer(in[0]), buffer(in[1]), buffer(in[2]))
	return o.out, nil
}
