package graph

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// apart judges real and generated images in batches of their own, one after the
// other, whose gradients are added up.
type apart struct {
	real, fake *judgement
	images     *array // stands for the caller's
}

func newApart(ws *Workspace, d *Net, made *array, ways Ways) (*apart, error) {
	a := &apart{images: &array{shape: made.shape}}
	var err error
	if a.real, err = newJudge(ws, d, a.images, ways, ".real"); err != nil {
		return nil, fmt.Errorf("build discriminator of real images: %w", err)
	}
	if a.fake, err = newJudge(ws, d, made, ways, ".fake"); err != nil {
		return nil, fmt.Errorf("build discriminator of generated images: %w", err)
	}
	return a, nil
}

func newJudge(ws *Workspace, d *Net, images *array, ways Ways, side string) (*judgement, error) {
	j := newJudgement(ws, 1)
	x, err := j.input("images", images)
	if err != nil {
		return nil, err
	}
	p := pass{net: d, n: images.shape[0], ws: ws, learns: true, side: side}
	logits, err := j.chain(d, x, view(p, j.augments, images.shape, ways, false))
	if err != nil {
		return nil, err
	}
	return j, j.finish(ws, logits, d)
}

func (a *apart) judge(images []float32, real, fake Terms) (onReal, onFake Outcome, err error) {
	a.real.ws.backend.Upload(&a.images.Buffer, images)
	outcomes, err := a.real.weigh(real)
	if onReal = outcomes[0]; err != nil {
		return onReal, onFake, fmt.Errorf("discriminator on real images: %w", err)
	}
	outcomes, err = a.fake.weigh(fake)
	if onFake = outcomes[0]; err != nil {
		return onReal, onFake, fmt.Errorf("discriminator on generated images: %w", err)
	}
	return onReal, onFake, nil
}

func (a *apart) sum() []Buffer {
	for i, sum := range a.real.gradients {
		a.real.ws.backend.Add(sum, a.fake.gradients[i])
	}
	return a.real.gradients
}

func (a *apart) seen() Buffer { return a.images.Buffer }

func (a *apart) close() {
	a.real.close()
	a.fake.close()
}

// together judges real and generated images in one batch: real ones first.
type together struct {
	*judgement
	images *array // stands for the caller's
}

func newTogether(ws *Workspace, d *Net, made *array, ways Ways) (*together, error) {
	t := &together{newJudgement(ws, 2), &array{shape: made.shape}}
	real, err := t.input("images", t.images)
	if err != nil {
		return nil, err
	}
	fake, err := t.input("generated", made)
	if err != nil {
		return nil, err
	}
	both, err := gorgonia.ApplyOp(newJoin(ws, made.shape), real, fake)
	if err != nil {
		return nil, fmt.Errorf("join images: %w", err)
	}
	p := pass{net: d, n: 2 * made.shape[0], ws: ws, learns: true, side: ".both", batches: 2}
	logits, err := t.chain(d, both, view(p, t.augments, both.Shape(), ways, false))
	if err != nil {
		return nil, err
	}
	return t, t.finish(ws, logits, d)
}

func (t *together) judge(images []float32, real, fake Terms) (onReal, onFake Outcome, err error) {
	t.ws.backend.Upload(&t.images.Buffer, images)
	outcomes, err := t.weigh(real, fake)
	if err != nil {
		err = fmt.Errorf("discriminator on real and generated images: %w", err)
	}
	return outcomes[0], outcomes[1], err
}

func (t *together) sum() []Buffer { return t.gradients }

func (t *together) seen() Buffer { return t.images.Buffer }

// join puts two batches of one shape together. It has no gradient. Inputs: they.
type join struct{ frame }

func newJoin(ws *Workspace, half tensor.Shape) *join {
	shape := half.Clone()
	shape[0] *= 2
	return &join{newFrame(ws, "joined", shape, 4, 4)}
}

func (o *join) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	n := o.out.Len / 2
	for i, v := range in {
		o.backend.Follow(o.out.from(i*n).first(n), buffer(v), 1)
	}
	return o.out, nil
}

func (o *join) DiffWRT(int) []bool { return []bool{false, false} }

// look is the discriminator's logits of real images, from which nobody learns.
type look struct {
	*program
	by     *Terms
	images *array // stands for the caller's
	node   *gorgonia.Node
	logits *array // of the last at
}

func newLook(ws *Workspace, d *Net, images tensor.Shape, ways Ways) (*look, error) {
	l := &look{program: newProgram(ws), by: &Terms{}, images: &array{shape: images}}
	x, err := l.input("images", l.images)
	if err != nil {
		return nil, err
	}
	if l.node, err = l.chain(d, x, view(pass{net: d, n: images[0], ws: ws}, l.by, images, ways, false)); err != nil {
		return nil, fmt.Errorf("build discriminator of real images: %w", err)
	}
	l.logits = ws.array("looked", l.node.Shape()...)
	return l, l.compile()
}

// at gives the logits of images. They are valid until the next call.
func (l *look) at(images []float32, terms Terms) (Buffer, error) {
	l.by.Augment = terms.Augment
	l.ws.backend.Upload(&l.images.Buffer, images)
	if err := l.run(); err != nil {
		return Buffer{}, err
	}
	l.ws.backend.Follow(l.logits.Buffer, buffer(l.node.Value()), 1)
	return l.logits.Buffer, nil
}
