package graph

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Trainer holds the graphs of a training step for one batch size: generate, the
// discriminator's judgement of real and of generated images, from which it
// learns, and fool, the generator and a fixed discriminator in one graph, where
// the generator learns. A step calls Generate, Judge and Fool, with the
// discriminator's update before Fool.
type Trainer struct {
	generation *Generation
	judge      judge
	ways       Ways
	penalties  [2]*penalty // of real and of generated images; nil: none
	look       *look       // nil: the generator's loss is of its images alone
	fool       *judgement
	gradients  []Buffer // the discriminator's, of the last Judge
}

// Ways are how a trainer goes about a step.
type Ways struct {
	// Augment: images pass through augmentations before the discriminator, and the
	// terms of each batch say which.
	Augment bool
	// Paired: real and generated images are judged against each other, in one batch.
	Paired bool
	// Penalties are the weights of the gradient penalties on real and on generated
	// images; 0 is none.
	Penalties [2]float64
}

// judge is the discriminator's side of a step.
type judge interface {
	judge(images []float32, real, fake Terms) (onReal, onFake Outcome, err error)
	// sum gives the gradients by the discriminator's Params, in their order, once.
	sum() []Buffer
	// seen are the real images of the last judge.
	seen() Buffer
	close()
}

// NewTrainer builds the graphs for batches of n.
func NewTrainer(ws *Workspace, d, g *Net, n int, ways Ways) (*Trainer, error) {
	t := &Trainer{ways: ways}
	var err error
	if t.generation, err = NewGeneration(ws, g, n, false); err != nil {
		return nil, err
	}
	made := t.generation.out()
	if ways.Paired {
		if t.judge, err = newTogether(ws, d, made, ways); err == nil {
			t.look, err = newLook(ws, d, made.shape, ways)
		}
	} else {
		t.judge, err = newApart(ws, d, made, ways)
	}
	if err != nil {
		return nil, err
	}
	for i, side := range [...]string{".real.beside", ".fake.beside"} {
		if ways.Penalties[i] == 0 {
			continue
		}
		if t.penalties[i], err = newPenalty(ws, d, made.shape, ways, side); err != nil {
			return nil, err
		}
	}
	if t.fool, err = newFool(ws, d, g, t.generation, ways); err != nil {
		return nil, fmt.Errorf("build generator's loss: %w", err)
	}
	return t, nil
}

// judgement is a graph that ends in a loss, and its gradients.
type judgement struct {
	*program
	terms     []*Terms
	augments  *Terms // whose augmentations are those of all images
	loss      *loss
	grads     gorgonia.Nodes
	gradients []Buffer // in the order of these: the learner's Params
}

// newJudgement is for a loss of that many terms.
func newJudgement(ws *Workspace, terms int) *judgement {
	j := &judgement{program: newProgram(ws), augments: &Terms{}}
	for range terms {
		j.terms = append(j.terms, &Terms{})
	}
	return j
}

// view is the discriminator's stages, after the augmentation where there is one.
func view(p pass, by *Terms, images tensor.Shape, ways Ways, wantX bool) []stage {
	stages := p.stages(wantX)
	if !ways.Augment {
		return stages
	}
	return append([]stage{{op: newAugmentation(p.ws, by, images...)}}, stages...)
}

func newFool(ws *Workspace, d, g *Net, gen *Generation, ways Ways) (*judgement, error) {
	j := newJudgement(ws, 1)
	z, err := j.input("latents", gen.latents)
	if err != nil {
		return nil, err
	}
	// The same operations as in generate: their results are taken over.
	images, err := j.chain(g, z, gen.stages)
	if err != nil {
		return nil, err
	}
	p := pass{net: d, n: gen.n, ws: ws}
	logits, err := j.chain(d, images, view(p, j.augments, images.Shape(), ways, true))
	if err != nil {
		return nil, err
	}
	return j, j.finish(ws, logits, g)
}

// finish adds the loss and its gradients by the learner's parameters.
func (j *judgement) finish(ws *Workspace, logits *gorgonia.Node, learner *Net) error {
	var nodes gorgonia.Nodes
	for _, t := range learner.Params() {
		nodes = append(nodes, j.nodes[t])
	}
	return j.differentiate(ws, logits, nodes)
}

// differentiate adds the loss and its gradients by nodes.
func (j *judgement) differentiate(ws *Workspace, logits *gorgonia.Node, nodes gorgonia.Nodes) error {
	j.loss = newLoss(ws, j.terms...)
	loss, err := gorgonia.ApplyOp(j.loss, logits)
	if err != nil {
		return fmt.Errorf("apply loss: %w", err)
	}
	if j.grads, err = gorgonia.Grad(loss, nodes...); err != nil {
		return fmt.Errorf("differentiate: %w", err)
	}
	j.gradients = make([]Buffer, len(nodes))
	return j.compile()
}

// weigh judges by the terms.
func (j *judgement) weigh(terms ...Terms) ([]Outcome, error) {
	j.augments.Augment = j.augments.Augment[:0]
	for i, t := range terms {
		*j.terms[i] = t
		j.augments.Augment = append(j.augments.Augment, t.Augment...)
	}
	if err := j.run(); err != nil {
		return make([]Outcome, len(terms)), err
	}
	for i, g := range j.grads {
		j.gradients[i] = buffer(g.Value())
	}
	return j.loss.outcomes, nil
}

// Generate makes images of what is drawn, which rests until Fool is done.
func (t *Trainer) Generate(d Draws) error { return t.generation.generate(d) }

// Judge runs the discriminator on images (n,c,h,w), which rest until Fool is done,
// and on those of the last Generate, and differentiates its loss by its own
// parameters. The gradient penalties are of the images as the terms augment them.
func (t *Trainer) Judge(images []float32, real, fake Terms) (onReal, onFake Outcome, err error) {
	if onReal, onFake, err = t.judge.judge(images, real, fake); err != nil {
		return onReal, onFake, err
	}
	t.gradients = t.judge.sum()
	made := t.generation.out().Buffer
	for i, of := range []struct {
		images  Buffer
		terms   Terms
		outcome *Outcome
	}{{t.judge.seen(), real, &onReal}, {made, fake, &onFake}} {
		if t.penalties[i] == nil {
			continue
		}
		penalty, err := t.penalties[i].at(of.images, of.terms, t.ways.Penalties[i], t.gradients)
		if err != nil {
			return onReal, onFake, fmt.Errorf("gradient penalty: %w", err)
		}
		of.outcome.Penalty += penalty
	}
	return onReal, onFake, nil
}

// Fool runs the discriminator on the images of the last Generate, which are not
// made again, and differentiates its loss by the generator's parameters. Where
// images are paired, the discriminator looks at images first, augmented as real
// says.
func (t *Trainer) Fool(images []float32, real, terms Terms) (Outcome, error) {
	if t.look != nil {
		var err error
		if terms.Against, err = t.look.at(images, real); err != nil {
			return Outcome{}, fmt.Errorf("look at real images: %w", err)
		}
	}
	t.generation.kept = true
	outcomes, err := t.fool.weigh(terms)
	return outcomes[0], err
}

// UpdateDiscriminator takes a step along the gradients of the last Judge, which it
// uses up.
func (t *Trainer) UpdateDiscriminator(a *Adam, step AdamStep) {
	a.update(t.fool.ws, t.gradients, step)
}

// UpdateGenerator takes a step along the gradients of the last Fool.
func (t *Trainer) UpdateGenerator(a *Adam, step AdamStep) {
	a.update(t.fool.ws, t.fool.gradients, step)
}

// Close frees the machines.
func (t *Trainer) Close() {
	t.generation.Close()
	t.judge.close()
	t.fool.close()
	if t.look != nil {
		t.look.close()
	}
	for _, p := range t.penalties {
		if p != nil {
			p.close()
		}
	}
}
