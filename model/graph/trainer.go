package graph

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/defectforge/defectforge/model/spec"
)

// Trainer holds the graphs of a training step for one batch size: generate, the
// discriminator's judgement of real and of generated images, from which it
// learns, and fool, the generator and a fixed discriminator in one graph, where
// the generator learns. A step calls JudgeReal, Generate, JudgeGenerated and
// Fool, with the discriminator's update before Fool.
type Trainer struct {
	generation       *Generation
	real, fake, fool *judgement
}

// judgement is a graph that ends in a loss, and its gradients.
type judgement struct {
	*program
	terms     *Terms
	loss      *crossEntropy
	grads     gorgonia.Nodes
	gradients []Buffer // in the order of the learner's Params
	images    *array   // real ones stand for the caller's
}

// NewTrainer builds the graphs for batches of n. With augment, images pass
// through DiffAugment before the discriminator, and the terms of each batch say
// what is done to them.
func NewTrainer(ws *Workspace, d, g *Net, n int, augment bool) (*Trainer, error) {
	t := &Trainer{}
	var err error
	if t.generation, err = NewGeneration(ws, g, n, false); err != nil {
		return nil, err
	}
	images := &array{shape: tensor.Shape{n, spec.Channels, spec.Size, spec.Size}}
	if t.real, err = newJudge(ws, d, images, augment, ".real"); err != nil {
		return nil, fmt.Errorf("build discriminator of real images: %w", err)
	}
	last := t.generation.stages[len(t.generation.stages)-1].op.(*activation)
	if t.fake, err = newJudge(ws, d, last.out, augment, ".fake"); err != nil {
		return nil, fmt.Errorf("build discriminator of generated images: %w", err)
	}
	if t.fool, err = newFool(ws, d, g, t.generation, augment); err != nil {
		return nil, fmt.Errorf("build generator's loss: %w", err)
	}
	return t, nil
}

func newJudgement(ws *Workspace) *judgement {
	return &judgement{program: newProgram(ws), terms: &Terms{}}
}

// view is the discriminator's stages, after the augmentation where there is one.
func (j *judgement) view(p pass, augment, wantX bool) []stage {
	stages := p.stages(wantX)
	if !augment {
		return stages
	}
	op := newAugmentation(p.ws, j.terms, p.n, spec.Channels, spec.Size, spec.Size)
	return append([]stage{{op: op}}, stages...)
}

func newJudge(ws *Workspace, d *Net, images *array, augment bool, side string) (*judgement, error) {
	j := newJudgement(ws)
	j.images = images
	x, err := j.input("images", images)
	if err != nil {
		return nil, err
	}
	p := pass{net: d, n: images.shape[0], ws: ws, learns: true, side: side}
	logits, err := j.chain(d, x, j.view(p, augment, false))
	if err != nil {
		return nil, err
	}
	return j, j.finish(ws, logits, d)
}

func newFool(ws *Workspace, d, g *Net, gen *Generation, augment bool) (*judgement, error) {
	j := newJudgement(ws)
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
	logits, err := j.chain(d, images, j.view(p, augment, true))
	if err != nil {
		return nil, err
	}
	return j, j.finish(ws, logits, g)
}

// finish adds the loss and its gradients by the learner's parameters.
func (j *judgement) finish(ws *Workspace, logits *gorgonia.Node, learner *Net) error {
	j.loss = newCrossEntropy(ws, j.terms)
	loss, err := gorgonia.ApplyOp(j.loss, logits)
	if err != nil {
		return fmt.Errorf("apply loss: %w", err)
	}
	params := learner.Params()
	nodes := make(gorgonia.Nodes, len(params))
	for i, t := range params {
		nodes[i] = j.nodes[t]
	}
	if j.grads, err = gorgonia.Grad(loss, nodes...); err != nil {
		return fmt.Errorf("differentiate: %w", err)
	}
	j.gradients = make([]Buffer, len(params))
	return j.compile()
}

func (j *judgement) judge(terms Terms) (Outcome, error) {
	*j.terms = terms
	if err := j.run(); err != nil {
		return Outcome{}, err
	}
	for i, g := range j.grads {
		j.gradients[i] = buffer(g.Value())
	}
	return j.loss.outcome, nil
}

// JudgeReal runs the discriminator on images (n,3,128,128), which rest until it
// is done, and differentiates its loss by its own parameters.
func (t *Trainer) JudgeReal(images []float32, terms Terms) (Outcome, error) {
	t.real.ws.backend.Upload(&t.real.images.Buffer, images)
	return t.real.judge(terms)
}

// Generate makes images of latents (n,latent), which rest until Fool is done.
func (t *Trainer) Generate(latents []float32) error { return t.generation.generate(latents) }

// JudgeGenerated is JudgeReal of the images of the last Generate.
func (t *Trainer) JudgeGenerated(terms Terms) (Outcome, error) { return t.fake.judge(terms) }

// Fool runs the discriminator on the images of the last Generate, which are not
// made again, and differentiates its loss by the generator's parameters.
func (t *Trainer) Fool(terms Terms) (Outcome, error) {
	t.generation.kept = true
	return t.fool.judge(terms)
}

// UpdateDiscriminator takes a step along the sum of the gradients of the last
// JudgeReal and JudgeGenerated, which it uses up.
func (t *Trainer) UpdateDiscriminator(a *Adam, step AdamStep) {
	for i, sum := range t.real.gradients {
		t.real.ws.backend.Add(sum, t.fake.gradients[i])
	}
	a.update(t.real.ws, t.real.gradients, step)
}

// UpdateGenerator takes a step along the gradients of the last Fool.
func (t *Trainer) UpdateGenerator(a *Adam, step AdamStep) {
	a.update(t.fool.ws, t.fool.gradients, step)
}

// Close frees the machines.
func (t *Trainer) Close() {
	t.generation.Close()
	t.real.close()
	t.fake.close()
	t.fool.close()
}
