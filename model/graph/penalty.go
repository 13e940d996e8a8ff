package graph

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// penalty is the zero-centred gradient penalty weight/2 * mean |grad D(x)|^2 over
// the images x as D sees them (Mescheder et al., "Which training methods for GANs do
// actually converge?", 2018). With g = grad D(x) held fixed, its gradient by D's
// weights is that of weight * mean g . grad D(x), the derivative of D at x along g.
// A D without batch norm is linear but for its leaky ReLUs, so that this derivative is
// an ordinary pass on g whose ReLUs take the sides that they took at x; nothing is
// differentiated twice. D of a map of logits is their mean.
//
// Differences of two passes beside x are no substitute: at half a grey level enough
// ReLUs change sides in between that their gradient is off by more than its length.
type penalty struct {
	ws      *Workspace
	augment bool
	seen    *array // (n,c,h,w), images as D sees them
	slope   *judgement
	along   *array // the slope at seen
	change  *judgement
	n       int
}

func newPenalty(ws *Workspace, d *Net, images tensor.Shape, ways Ways, side string) (*penalty, error) {
	p := &penalty{ws: ws, augment: ways.Augment, n: images[0],
		seen: ws.array("seen", images...), along: ws.array("along", images...)}
	at := pass{net: d, n: p.n, ws: ws, memory: ".seen"}
	stages := at.stages(true)
	var err error
	if p.slope, err = newSlope(ws, d, p.seen, stages); err != nil {
		return nil, fmt.Errorf("build discriminator's slope: %w", err)
	}
	along := pass{net: d, n: p.n, ws: ws, learns: true, side: side, at: convolutions(stages)}
	if p.change, err = newChange(along, p.along); err != nil {
		return nil, fmt.Errorf("build discriminator along its slope: %w", err)
	}
	return p, nil
}

// newSlope is the discriminator's gradient by its images.
func newSlope(ws *Workspace, d *Net, images *array, stages []stage) (*judgement, error) {
	j := newJudgement(ws, 1)
	x, err := j.input("images", images)
	if err != nil {
		return nil, err
	}
	logits, err := j.chain(d, x, stages)
	if err != nil {
		return nil, err
	}
	return j, j.differentiate(ws, logits, gorgonia.Nodes{x})
}

// newChange is the derivative of the discriminator along a direction, and the gradient
// of that by its weights.
func newChange(p pass, along *array) (*judgement, error) {
	j := newJudgement(p.ws, 1)
	x, err := j.input("along", along)
	if err != nil {
		return nil, err
	}
	changes, err := j.chain(p.net, x, p.stages(false))
	if err != nil {
		return nil, err
	}
	return j, j.finish(p.ws, changes, p.net)
}

// convolutions are those of the layers, in order.
func convolutions(stages []stage) []*conv {
	var out []*conv
	for _, s := range stages {
		if c, ok := s.op.(*conv); ok {
			out = append(out, c)
		}
	}
	return out
}

// at adds the penalty's gradients at images, augmented by as, to sums, and returns
// the penalty.
func (p *penalty) at(images Buffer, as Terms, weight float64, sums []Buffer) (float64, error) {
	b, s := p.ws.backend, p.seen.shape
	if p.augment {
		b.Augment(p.seen.Buffer, images, as.Augment, s[1], s[2], s[3])
	} else {
		b.Follow(p.seen.Buffer, images, 1)
	}
	if _, err := p.slope.weigh(Terms{Criterion: Weighed, Weights: repeated(float64(p.n), p.n)}); err != nil {
		return 0, err
	}
	b.Follow(p.along.Buffer, p.slope.gradients[0], 1)
	squares, err := b.Squares(p.along.Buffer, p.n)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, square := range squares {
		total += weight / 2 * square / float64(p.n)
	}
	if _, err := p.change.weigh(Terms{Criterion: Weighed, Weights: repeated(weight, p.n)}); err != nil {
		return 0, err
	}
	for i, sum := range sums {
		b.Add(sum, p.change.gradients[i])
	}
	return total, nil
}

func repeated(x float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = x
	}
	return out
}

func (p *penalty) close() {
	p.slope.close()
	p.change.close()
}
