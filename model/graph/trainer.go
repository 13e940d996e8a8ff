package graph

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/defectforge/defectforge/model/spec"
)

// Outcome is a discriminator's judgement of a batch: means of the cross entropy
// against the label, of the probability of being real, of the logits, of their
// signs, and of LeCam's regulariser with its weight.
type Outcome struct{ Loss, Mean, Logit, Sign, Penalty float64 }

// Trainer holds the three graphs of a training step for one batch size:
// generate, judge (a discriminator that learns), and fool (the generator and a
// fixed discriminator in one graph, where the generator learns).
type Trainer struct {
	generation *Generation
	judge      *judgement
	fool       *judgement
}

// judgement is a graph that ends in a loss, and its gradients.
type judgement struct {
	*program
	images *gorgonia.Node
	terms  *Terms
	loss   *crossEntropy
	grads  gorgonia.Nodes
	values [][]float32
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
	if t.judge, err = newJudge(ws, d, n, augment); err != nil {
		return nil, fmt.Errorf("build discriminator: %w", err)
	}
	if t.fool, err = newFool(ws, d, g, t.generation, augment); err != nil {
		return nil, fmt.Errorf("build generator's loss: %w", err)
	}
	return t, nil
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

func newJudge(ws *Workspace, d *Net, n int, augment bool) (*judgement, error) {
	j := &judgement{program: newProgram(), terms: &Terms{}}
	j.images = j.input("images", n, spec.Channels, spec.Size, spec.Size)
	p := pass{net: d, n: n, ws: ws, learns: true}
	logits, err := j.chain(d, j.images, j.view(p, augment, false))
	if err != nil {
		return nil, err
	}
	return j, j.finish(ws, logits, d)
}

func newFool(ws *Workspace, d, g *Net, gen *Generation, augment bool) (*judgement, error) {
	j := &judgement{program: newProgram(), terms: &Terms{}}
	z := j.input("latents", gen.latents.Shape()...)
	if err := gorgonia.Let(z, gen.latents); err != nil {
		return nil, fmt.Errorf("bind latents: %w", err)
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
	j.values = make([][]float32, len(params))
	return j.compile()
}

func (j *judgement) judge(terms Terms) (Outcome, error) {
	*j.terms = terms
	if err := j.run(); err != nil {
		return Outcome{}, err
	}
	for i, g := range j.grads {
		j.values[i] = data(g.Value())
	}
	return j.loss.outcome, nil
}

// Generate makes images of latents, as Generation.Run does. They stay valid
// until the next Generate of any trainer of the workspace.
func (t *Trainer) Generate(latents []float32) ([]float32, error) { return t.generation.Run(latents) }

// Judge runs the discriminator on images (n,3,128,128) and differentiates its
// loss against the terms by its own parameters: the gradients, in the order of
// Params, are valid until the next run of any graph.
func (t *Trainer) Judge(images []float32, terms Terms) (Outcome, [][]float32, error) {
	shape := []int{t.generation.n, spec.Channels, spec.Size, spec.Size}
	if err := gorgonia.Let(t.judge.images, dense(images, shape...)); err != nil {
		return Outcome{}, nil, fmt.Errorf("bind images: %w", err)
	}
	o, err := t.judge.judge(terms)
	return o, t.judge.values, err
}

// Fool runs the discriminator on the images of the last Generate, which are not
// made again, and differentiates its loss against the terms by the generator's
// parameters.
func (t *Trainer) Fool(terms Terms) (Outcome, [][]float32, error) {
	t.generation.kept = true
	o, err := t.fool.judge(terms)
	return o, t.fool.values, err
}

// Close frees the machines.
func (t *Trainer) Close() {
	t.generation.Close()
	t.judge.close()
	t.fool.close()
}
