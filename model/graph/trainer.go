package graph

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/defectforge/defectforge/model/spec"
)

// Outcome is a discriminator's judgement of a batch: the mean cross entropy
// against the label, and the mean probability of being real.
type Outcome struct{ Loss, Mean float64 }

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
	label  *gorgonia.F32
	loss   *crossEntropy
	grads  gorgonia.Nodes
	values [][]float32
}

// NewTrainer builds the graphs for batches of n.
func NewTrainer(ws *Workspace, d, g *Net, n int) (*Trainer, error) {
	t := &Trainer{}
	var err error
	if t.generation, err = NewGeneration(ws, g, n, false); err != nil {
		return nil, err
	}
	if t.judge, err = newJudge(ws, d, n); err != nil {
		return nil, fmt.Errorf("build discriminator: %w", err)
	}
	if t.fool, err = newFool(ws, d, g, t.generation); err != nil {
		return nil, fmt.Errorf("build generator's loss: %w", err)
	}
	return t, nil
}

func newJudge(ws *Workspace, d *Net, n int) (*judgement, error) {
	j := &judgement{program: newProgram()}
	j.images = j.input("images", n, spec.Channels, spec.Size, spec.Size)
	p := pass{net: d, n: n, ws: ws, learns: true}
	logits, err := j.chain(d, j.images, p.stages(false))
	if err != nil {
		return nil, err
	}
	return j, j.finish(ws, logits, d)
}

func newFool(ws *Workspace, d, g *Net, gen *Generation) (*judgement, error) {
	j := &judgement{program: newProgram()}
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
	logits, err := j.chain(d, images, p.stages(true))
	if err != nil {
		return nil, err
	}
	return j, j.finish(ws, logits, g)
}

// finish adds the loss and its gradients by the learner's parameters.
func (j *judgement) finish(ws *Workspace, logits *gorgonia.Node, learner *Net) error {
	j.label, j.loss = gorgonia.NewF32(0), newCrossEntropy(ws)
	label := gorgonia.NewScalar(j.graph, tensor.Float32, gorgonia.WithName("label"))
	if err := gorgonia.Let(label, j.label); err != nil {
		return fmt.Errorf("bind label: %w", err)
	}
	loss, err := gorgonia.ApplyOp(j.loss, logits, label)
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

func (j *judgement) judge(label float32) (Outcome, error) {
	*j.label = gorgonia.F32(label)
	if err := j.run(); err != nil {
		return Outcome{}, err
	}
	for i, g := range j.grads {
		j.values[i] = data(g.Value())
	}
	return Outcome{Loss: j.loss.loss, Mean: j.loss.mean}, nil
}

// Generate makes images of latents, as Generation.Run does. They stay valid
// until the next Generate of any trainer of the workspace.
func (t *Trainer) Generate(latents []float32) ([]float32, error) { return t.generation.Run(latents) }

// Judge runs the discriminator on images (n,3,128,128) and differentiates its
// loss against the label by its own parameters: the gradients, in the order of
// Params, are valid until the next run of any graph.
func (t *Trainer) Judge(images []float32, label float32) (Outcome, [][]float32, error) {
	shape := []int{t.generation.n, spec.Channels, spec.Size, spec.Size}
	if err := gorgonia.Let(t.judge.images, dense(images, shape...)); err != nil {
		return Outcome{}, nil, fmt.Errorf("bind images: %w", err)
	}
	o, err := t.judge.judge(label)
	return o, t.judge.values, err
}

// Fool runs the discriminator on the images of the last Generate, which are not
// made again, and differentiates its loss against the label by the generator's
// parameters.
func (t *Trainer) Fool(label float32) (Outcome, [][]float32, error) {
	t.generation.kept = true
	o, err := t.fool.judge(label)
	return o, t.fool.values, err
}

// Close frees the machines.
func (t *Trainer) Close() {
	t.generation.Close()
	t.judge.close()
	t.fool.close()
}
