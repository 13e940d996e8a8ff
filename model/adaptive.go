package model

import (
	"math"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

const (
	adaptEvery = 4   // steps
	adaptMost  = 0.8 // beyond this, augmentations leak into what is generated
	// adaptImages are those over which the probability could go from 0 to 1.
	adaptImages = 500_000

	chancePurpose = ".chance"
	chanceDraws   = 6 // one for each part
)

// adaptation is the probability of each part of an augmentation, which follows how
// sure the discriminator is of real images (Karras et al., "Training generative
// adversarial networks with limited data", 2020).
type adaptation struct {
	target, images float64
	state          []float64 // the probability, and the sum of signs and the images since it changed
}

func newAdaptation(t spec.Train) *adaptation {
	if t.AugmentTarget == 0 || len(t.Augments()) == 0 {
		return nil
	}
	a := &adaptation{target: t.AugmentTarget, images: adaptImages, state: make([]float64, 3)}
	if t.AugmentImages > 0 {
		a.images = float64(t.AugmentImages)
	}
	return a
}

// follow takes in the mean sign of the logits of n real images, after a step's
// update; steps are those done before.
func (a *adaptation) follow(sign float64, n int, steps int64) {
	if a == nil {
		return
	}
	p, signs, seen := &a.state[0], &a.state[1], &a.state[2]
	*signs += sign * float64(n)
	*seen += float64(n)
	if (steps+1)%adaptEvery != 0 {
		return
	}
	move := *seen / a.images
	if *signs / *seen < a.target {
		move = -move
	}
	*p = math.Min(math.Max(*p+move, 0), adaptMost)
	*signs, *seen = 0, 0
}

// thin leaves each part of the augmentations out but with the probability.
func (a *adaptation) thin(drawn []kernel.Augmentation, chances []float32) {
	for i := range drawn {
		d := &drawn[i]
		kept := func(part int) bool { return float64(chances[chanceDraws*i+part]) < a.state[0] }
		if !kept(0) {
			d.Mirror, d.Upend = false, false
		}
		if !kept(1) {
			d.Turns = 0
		}
		if !kept(2) {
			d.Down, d.Aside = 0, 0
		}
		if !kept(3) {
			d.Brightness, d.Saturation, d.Contrast = 0, 1, 1
		}
		if !kept(4) {
			d.Rows, d.Columns = 0, 0
		}
		if !kept(5) {
			d.Top, d.Bottom, d.Left, d.Right = 0, 0, 0, 0
		}
	}
}

func (a *adaptation) tensors() []checkpoint.Tensor {
	if a == nil {
		return nil
	}
	return []checkpoint.Tensor{{Name: "augment.adaptation", Shape: []int{len(a.state)}, Data: a.state}}
}
