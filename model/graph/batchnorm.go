package graph

import (
	"gorgonia.org/gorgonia"
)

// batchNorm is y = act(scale*xhat + shift) over (n,c,h,w), with xhat from the
// batch's statistics, which also enter the running ones. Inputs: x, scale, shift.
type batchNorm struct {
	frame
	Norm
	state          *norm
	wantW          bool
	mean, variance *array // of the batch, biased
	side           string // see pass
	ws             *Workspace
}

func newBatchNorm(p pass, l *layer) *batchNorm {
	f := p.frame(l, "norm", 4, 1, 1)
	return &batchNorm{
		frame: f, Norm: *l.norm.prepare(p, l), state: l.norm, wantW: p.learns, side: p.side, ws: p.ws,
		mean: p.ws.array(f.name+".mean", l.out), variance: p.ws.array(f.name+".variance", l.out),
	}
}

func (o *batchNorm) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if !o.held() {
		o.backend.Norm(&o.Norm, o.out.Buffer, o.mean.Buffer, o.variance.Buffer,
			buffer(in[0]), buffer(in[1]), buffer(in[2]), o.state.count())
	}
	return o.out, nil
}

func (o *batchNorm) DiffWRT(int) []bool { return []bool{true, o.wantW, o.wantW} }

func (o *batchNorm) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	names := [...]string{o.name + ".dscale" + o.side, o.name + ".dshift" + o.side}
	byInput := &batchNormByInput{
		frame:  newFrame(o.ws, o.name+".dx", in[0].Shape(), 4, 4, 1, 1),
		norm:   o,
		dscale: o.ws.array(names[0], o.Channels),
		dshift: o.ws.array(names[1], o.Channels),
	}
	grads := make(gorgonia.Nodes, 3)
	var err error
	if grads[0], err = gorgonia.ApplyOp(byInput, dy, in[0], in[1], in[2]); err != nil {
		return nil, err
	}
	if !o.wantW {
		return grads, nil
	}
	for i, side := range []*array{byInput.dscale, byInput.dshift} {
		op := &sideResult{frame{name: names[i], dims: []int{4}, out: side}}
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
	dscale, dshift *array
}

func (o *batchNormByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	n := o.norm
	o.backend.NormByInput(&n.Norm, o.out.Buffer, o.dscale.Buffer, o.dshift.Buffer, buffer(in[0]), buffer(in[1]),
		n.mean.Buffer, n.variance.Buffer, buffer(in[2]), buffer(in[3]))
	return o.out, nil
}

// sideResult hands out what another operation has computed beside its own
// result. Its input, that result, only fixes the order.
type sideResult struct{ frame }

func (o *sideResult) Do(...gorgonia.Value) (gorgonia.Value, error) { return o.out, nil }
