package graph

import (
	"gorgonia.org/gorgonia"

	"github.com/defectforge/defectforge/model/kernel"
)

// inference is a whole layer of transposed convolution in evaluation mode:
// convolution, batch norm by the running statistics, activation. The weight is
// packed at the first run and must rest from then on. Inputs: x, the weight,
// and scale and shift where there is batch norm.
type inference struct {
	frame
	layer  *kernel.Transposed
	norm   *norm // nil: none
	finish kernel.Finish
}

func newInference(p pass, l *layer) stage {
	name := p.net.name + "." + l.name + ".inference"
	op := &inference{
		frame:  frame{name: name, dims: []int{4, 4}, out: p.ws.dense(name, p.n, l.out, l.outSide, l.outSide)},
		layer:  l.geometry(p.n).NewTransposed(l.weight.Data),
		norm:   l.norm,
		finish: kernel.Finish{Slope: l.slope, Tanh: l.tanh},
	}
	params := []*Tensor{l.weight}
	if l.norm != nil {
		op.dims = append(op.dims, 1, 1)
		op.finish.Scale, op.finish.Shift = make([]float32, l.out), make([]float32, l.out)
		params = append(params, l.norm.scale, l.norm.shift)
	}
	return stage{op, params}
}

func (o *inference) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if o.norm != nil {
		kernel.FoldBatchNorm(o.finish.Scale, o.finish.Shift, data(in[2]), data(in[3]),
			o.norm.runningMean.Data, o.norm.runningVar.Data, normEpsilon)
	}
	o.layer.Run(o.out.Float32s(), data(in[0]), &o.finish)
	return o.out, nil
}
