package graph

import (
	"gorgonia.org/gorgonia"
)

// patchesAt is the number of the layer whose features have a head of their own, from
// 0: a map of an eighth of the image's side.
const patchesAt = 2

// newPatches is the head of a layer's features: one logit for each place.
func newPatches(of *layer) *layer {
	l := &layer{
		name: "patch_layer", in: of.out, out: 1, inSide: of.outSide, outSide: of.outSide, kernel: 1, stride: 1,
		Activation: Activation{Slope: linear},
	}
	l.weight = newTensor(l.name+".0.weight", l.out, l.in, l.kernel, l.kernel)
	return l
}

// tap hands x on as it is, and beside that computes the logits of a head of x's own,
// which heads puts together with those of the last layer. Graphs stay chains that
// way, whose gradients need no sums of Gorgonia's. Inputs: x and the head's weight.
type tap struct {
	frame
	head   *conv
	slopes *array // gradient by the head's logits, which heads leaves here
	ws     *Workspace
}

// newTap takes over the array of x's operation.
func newTap(p pass, l *layer, x *array) *tap {
	head := newConv(p, l.patches, true)
	f := frame{backend: p.ws.backend, name: p.net.name + "." + l.name + ".tap", dims: []int{4, 4}, out: x}
	return &tap{frame: f, head: head, slopes: p.ws.array(head.name+".slopes", head.out.shape...), ws: p.ws}
}

func (o *tap) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	_, err := o.head.Do(in...)
	return in[0], err
}

func (o *tap) DiffWRT(int) []bool { return o.head.DiffWRT(2) }

func (o *tap) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	grads := make(gorgonia.Nodes, 2)
	x, w := in[0], in[1]
	var err error
	op := &tapByInput{newFrame(o.ws, o.name+".dx", x.Shape(), 4, 4), o}
	if grads[0], err = gorgonia.ApplyOp(op, dy, w); err != nil || !o.head.wantW {
		return grads, err
	}
	name := o.head.name + ".dw" + o.head.side
	grads[1], err = gorgonia.ApplyOp(&tapByWeight{newFrame(o.ws, name, w.Shape(), 4, 4, 4), o}, dy, x, w)
	return grads, err
}

// tapByInput is dx of a tap. Inputs: dy, the weight.
type tapByInput struct {
	frame
	tap *tap
}

func (o *tapByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.ConvByInput(&o.tap.head.Conv, o.out.Buffer, o.tap.slopes.Buffer, buffer(in[1]))
	o.backend.Add(o.out.Buffer, buffer(in[0]))
	return o.out, nil
}

// tapByWeight is the gradient of the head's weight. Inputs: dy, which only fixes the
// order, x and the weight.
type tapByWeight struct {
	frame
	tap *tap
}

func (o *tapByWeight) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.ConvByWeight(&o.tap.head.Conv, o.out.Buffer, buffer(in[1]), o.tap.slopes.Buffer, buffer(in[2]))
	return o.out, nil
}

// heads puts an image's logit and those of a tap in one row (n,1+m,1,1). Input: the
// images' logits (n,1,1,1).
type heads struct {
	frame
	n   int
	tap *tap
	ws  *Workspace
}

// result is the array that the stage's result stands in.
func (s stage) result() *array { return s.op.(interface{ result() *array }).result() }

func last(stages []stage) stage { return stages[len(stages)-1] }

// join ends the stages of a network that has a tap with its heads.
func (p pass) join(stages []stage) []stage {
	for _, s := range stages {
		t, ok := s.op.(*tap)
		if !ok {
			continue
		}
		row := last(stages).result().shape.TotalSize()/p.n + t.slopes.shape.TotalSize()/p.n
		op := &heads{newFrame(p.ws, p.net.name+".heads", []int{p.n, row, 1, 1}, 4), p.n, t, p.ws}
		return append(stages, stage{op, nil})
	}
	return stages
}

func (o *heads) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.Join(o.out.Buffer, buffer(in[0]), o.tap.head.out.Buffer, o.n)
	return o.out, nil
}

func (o *heads) DiffWRT(int) []bool { return all(1) }

func (o *heads) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	op := &headsByInput{newFrame(o.ws, o.name+".dx", in[0].Shape(), 4), o}
	dx, err := gorgonia.ApplyOp(op, dy)
	return gorgonia.Nodes{dx}, err
}

// headsByInput parts the gradient of all logits: its result is that of the images',
// and it leaves the tap's with the tap. Input: dy.
type headsByInput struct {
	frame
	heads *heads
}

func (o *headsByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.Part(o.out.Buffer, o.heads.tap.slopes.Buffer, buffer(in[0]), o.heads.n)
	return o.out, nil
}
