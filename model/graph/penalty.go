package graph

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// penalty is the zero-centred gradient penalty weight/2 * mean |grad D(x)|^2 over
// the images x as D sees them (Mescheder et al., "Which training methods for GANs do
// actually converge?", 2018). With g = grad D(x) held fixed, its gradient by D's
// weights is that of weight * mean g . grad D(x), which along g is the difference
//
//	weight * mean (D(x+eg) - D(x-eg)) / 2e
//
// of two ordinary passes. For a D without batch norm this is exact up to the kinks
// of leaky ReLUs between x-eg and x+eg: in between, the gradient by the weights is a
// linear function of x. D of a map of logits is their mean.
type penalty struct {
	ws      *Workspace
	augment bool
	seen    *array // (n,c,h,w), images as D sees them
	slope   *judgement
	sides   *judgement
	moved   *array // (2n,c,h,w), the images on either side
	n       int
}

// nudge is the root mean square, over pixels, of the step to either side: half a
// grey level.
const nudge = 1 / 255.

func newPenalty(ws *Workspace, d *Net, images tensor.Shape, ways Ways, side string) (*penalty, error) {
	both := images.Clone()
	both[0] *= 2
	p := &penalty{ws: ws, augment: ways.Augment, n: images[0],
		seen: ws.array("seen", images...), moved: ws.array("moved", both...)}
	var err error
	if p.slope, err = newSlope(ws, d, p.seen); err != nil {
		return nil, fmt.Errorf("build discriminator's slope: %w", err)
	}
	if p.sides, err = newJudge(ws, d, p.moved, Ways{}, side); err != nil {
		return nil, fmt.Errorf("build discriminator beside images: %w", err)
	}
	return p, nil
}

// newSlope is the discriminator's gradient by its images.
func newSlope(ws *Workspace, d *Net, images *array) (*judgement, error) {
	j := newJudgement(ws, 1)
	x, err := j.input("images", images)
	if err != nil {
		return nil, err
	}
	logits, err := j.chain(d, x, pass{net: d, n: images.shape[0], ws: ws}.stages(true))
	if err != nil {
		return nil, err
	}
	return j, j.differentiate(ws, logits, gorgonia.Nodes{x})
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
	squares, steps, err := b.Nudge(p.moved.Buffer, p.seen.Buffer, p.slope.gradients[0], p.n, nudge)
	if err != nil {
		return 0, err
	}
	weights, total := make([]float64, 2*p.n), 0.0
	for i, e := range steps {
		total += weight / 2 * squares[i] / float64(p.n)
		if e > 0 {
			// The mean over 2n images, of which n count, makes the sum of two of n.
			weights[i] = weight / e
			weights[p.n+i] = -weight / e
		}
	}
	if _, err := p.sides.weigh(Terms{Criterion: Weighed, Weights: weights}); err != nil {
		return 0, err
	}
	for i, sum := range sums {
		b.Add(sum, p.sides.gradients[i])
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
	p.sides.close()
}
