package graph

import (
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/defectforge/defectforge/model/kernel"
)

// batchNorm is y = act(scale*xhat + shift) over (n,c,h,w). In training xhat
// comes from the batch, which also enters the running statistics; in
// evaluation from these. Inputs: x, scale, shift.
type batchNorm struct {
	frame
	state          *norm
	n, c, area     int
	slope          float32
	evaluate       bool
	wantW          bool
	mean, variance []float32 // of the batch, biased
	ws             *Workspace
}

func newBatchNorm(p pass, l *layer) *batchNorm {
	name := p.net.name + "." + l.name + ".norm"
	return &batchNorm{
		frame: frame{
			name: name, dims: []int{4, 1, 1}, kept: p.kept,
			out: p.ws.dense(name, p.n, l.out, l.outSide, l.outSide),
		},
		state: l.norm, n: p.n, c: l.out, area: l.outSide * l.outSide, slope: l.slope,
		evaluate: p.evaluate, wantW: p.learns, ws: p.ws,
		mean: p.ws.array(name+".mean", l.out), variance: p.ws.array(name+".variance", l.out),
	}
}

func (o *batchNorm) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if o.held() {
		return o.out, nil
	}
	y, x, scale, shift := o.out.Float32s(), data(in[0]), data(in[1]), data(in[2])
	if o.evaluate {
		kernel.BatchNormInfer(y, x, scale, shift, o.state.runningMean.Data, o.state.runningVar.Data,
			o.n, o.c, o.area, normEpsilon, o.slope)
		return o.out, nil
	}
	kernel.BatchNormForward(y, o.mean, o.variance, x, scale, shift, o.n, o.c, o.area, normEpsilon, o.slope)
	o.state.observe(o.mean, o.variance, o.n*o.area)
	return o.out, nil
}

func (o *batchNorm) DiffWRT(int) []bool { return []bool{true, o.wantW, o.wantW} }

func (o *batchNorm) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	name := o.name + ".dx"
	byInput := &batchNormByInput{
		frame:  frame{name: name, dims: []int{4, 4, 1, 1}, out: o.ws.dense(name, in[0].Shape()...)},
		norm:   o,
		dscale: o.ws.dense(o.name+".dscale", o.c),
		dshift: o.ws.dense(o.name+".dshift", o.c),
	}
	grads := make(gorgonia.Nodes, 3)
	var err error
	if grads[0], err = gorgonia.ApplyOp(byInput, dy, in[0], in[1], in[2]); err != nil {
		return nil, err
	}
	if !o.wantW {
		return grads, nil
	}
	for i, side := range []*tensor.Dense{byInput.dscale, byInput.dshift} {
		op := &sideResult{frame{name: o.name + [...]string{".dscale", ".dshift"}[i], dims: []int{4}, out: side}}
		if grads[i+1], err = gorgonia.ApplyOp(op, grads[0]); err != nil {
			return nil, err
		}
	}
	return grads, nil
}

// batchNormByInput is dx of a batchNorm. One pass gives the gradients of scale
// and shift too, which sideResult hands out. Inputs: dy, x, scale, shift.
type batchNormByInput struct {
	frame
	norm           *batchNorm
	dscale, dshift *tensor.Dense
}

func (o *batchNormByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	b := o.norm
	kernel.BatchNormBackward(o.out.Float32s(), o.dscale.Float32s(), o.dshift.Float32s(),
		data(in[0]), data(in[1]), b.mean, b.variance, data(in[2]), data(in[3]),
		b.n, b.c, b.area, normEpsilon, b.slope)
	return o.out, nil
}

// sideResult hands out what another operation has computed beside its own
// result. Its input, that result, only fixes the order.
type sideResult struct{ frame }

func (o *sideResult) Do(...gorgonia.Value) (gorgonia.Value, error) { return o.out, nil }
