package graph

import (
	"gorgonia.org/gorgonia"
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
	return &augmentation{frame: newFrame(ws, "augmentation", shape, 4), terms: terms, ws: ws}
}

func (o *augmentation) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	s := o.out.shape
	o.backend.Augment(o.out.Buffer, buffer(in[0]), o.terms.Augment, s[1], s[2], s[3])
	return o.out, nil
}

func (o *augmentation) DiffWRT(int) []bool { return all(1) }

func (o *augmentation) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	op := &augmentationByInput{newFrame(o.ws, o.name+".dx", in[0].Shape(), 4), o.terms}
	dx, err := gorgonia.ApplyOp(op, dy)
	return gorgonia.Nodes{dx}, err
}

// augmentationByInput is dx of an augmentation. Input: dy.
type augmentationByInput struct {
	frame
	terms *Terms
}

func (o *augmentationByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	s := o.out.shape
	o.backend.AugmentByInput(o.out.Buffer, buffer(in[0]), o.terms.Augment, s[1], s[2], s[3])
	return o.out, nil
}
