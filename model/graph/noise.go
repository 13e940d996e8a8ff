package graph

import (
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// noise adds a map of the caller's to each image's features, times a learned
// strength for each channel: see kernel.AddNoise. It works in place: what made x
// has no need of its result. Inputs: x (n,c,h,w) and the strengths.
type noise struct {
	frame
	maps        *array // (n,1,h,w), stands for the caller's
	n, channels int
	area        int
	wantW       bool
	ws          *Workspace
}

// newNoise takes over the array of x's operation.
func newNoise(p pass, l *layer, x *array) *noise {
	f := frame{backend: p.ws.backend, name: p.net.name + "." + l.name + ".noise", dims: []int{4, 1}, out: x, kept: p.kept}
	return &noise{
		frame: f, maps: &array{shape: tensor.Shape{p.n, 1, l.outSide, l.outSide}},
		n: p.n, channels: l.out, area: l.outSide * l.outSide, wantW: p.learns, ws: p.ws,
	}
}

func (o *noise) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if !o.held() {
		o.backend.AddNoise(o.out.Buffer, o.maps.Buffer, buffer(in[1]), o.n, o.channels, o.area)
	}
	return o.out, nil
}

func (o *noise) DiffWRT(int) []bool { return []bool{true, o.wantW} }

// SymDiff hands x's gradient on as it is.
func (o *noise) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	grads := gorgonia.Nodes{dy, nil}
	if !o.wantW {
		return grads, nil
	}
	var err error
	op := &noiseByStrength{newFrame(o.ws, o.name+".dw", in[1].Shape(), 4), o}
	grads[1], err = gorgonia.ApplyOp(op, dy)
	return grads, err
}

// noiseByStrength is the strengths' gradient. Input: dy.
type noiseByStrength struct {
	frame
	noise *noise
}

func (o *noiseByStrength) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	n := o.noise
	o.backend.NoiseByStrength(o.out.Buffer, buffer(in[0]), n.maps.Buffer, n.n, n.channels, n.area)
	return o.out, nil
}
