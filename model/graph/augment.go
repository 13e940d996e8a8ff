package graph

import (
	"gorgonia.org/gorgonia"

	"github.com/defectforge/defectforge/model/kernel"
)

// augmentation is DiffAugment's T of images (n,c,h,w): see
// kernel.Augmentation for the formulas. What is done to each image stands in
// terms at the time of a run. Input: the images.
type augmentation struct {
	frame
	terms *Terms
	ws    *Workspace
}

func newAugmentation(ws *Workspace, terms *Terms, shape ...int) *augmentation {
	const name = "augmentation"
	return &augmentation{
		frame: frame{name: name, dims: []int{4}, out: ws.dense(name, shape...)},
		terms: terms, ws: ws,
	}
}

func (o *augmentation) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	shape := o.out.Shape()
	kernel.Augment(o.out.Float32s(), data(in[0]), o.terms.Augment, shape[1], shape[2], shape[3])
	return o.out, nil
}

func (o *augmentation) DiffWRT(int) []bool { return all(1) }

func (o *augmentation) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	name := o.name + ".dx"
	op := &augmentationByInput{
		frame: frame{name: name, dims: []int{4}, out: o.ws.dense(name, in[0].Shape()...)},
		terms: o.terms,
	}
	dx, err := gorgonia.ApplyOp(op, dy)
	return gorgonia.Nodes{dx}, err
}

// augmentationByInput is dx of an augmentation. Input: dy.
type augmentationByInput struct {
	frame
	terms *Terms
}

func (o *augmentationByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	shape := o.out.Shape()
	kernel.AugmentBackward(o.out.Float32s(), data(in[0]), o.terms.Augment, shape[1], shape[2], shape[3])
	return o.out, nil
}
