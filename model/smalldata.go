package model

import (
	"math"
	"slices"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/graph"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// The techniques for a few hundred images. Each is off where the recipe does
// not name it, and then leaves training and checkpoints as they were.

// Purposes of the streams that augmentations are drawn from.
const (
	augmentReal      = "augment.real"
	augmentFake      = "augment.fake"
	augmentGenerator = "augment.generator"
)

const (
	// The largest shift of an image, and the side of the square that is cut out.
	augmentShift  = spec.Size / 8
	augmentCutout = spec.Size / 2
	// augmentDraws is the number of random numbers that an image takes, whatever
	// parts are on: switching one on leaves the others' draws alone.
	augmentDraws = 7

	anchorShare = 0.01 // of a step in LeCam's anchors
	// An average reaches back over at most this share of the images seen, so
	// that it leaves the first weights behind.
	averageShare = 0.05
)

// augmenter draws what DiffAugment does to each image of a batch.
type augmenter struct {
	color, translation, cutout bool
	numbers                    []float32
	drawn                      []kernel.Augmentation
}

func newAugmenter(t spec.Train) *augmenter {
	parts := t.Augments()
	if len(parts) == 0 {
		return nil
	}
	return &augmenter{
		color:       slices.Contains(parts, spec.AugmentColor),
		translation: slices.Contains(parts, spec.AugmentTranslation),
		cutout:      slices.Contains(parts, spec.AugmentCutout),
	}
}

// draw gives n images' augmentations, valid until the next call. Image i's come
// from the stream's numbers 7i to 7i+6.
func (a *augmenter) draw(stream kernel.Stream, n int) []kernel.Augmentation {
	if a == nil {
		return nil
	}
	a.numbers = slices.Grow(a.numbers[:0], augmentDraws*n)[:augmentDraws*n]
	stream.Uniform(a.numbers, 0, 1)
	a.drawn = a.drawn[:0]
	for u := range slices.Chunk(a.numbers, augmentDraws) {
		a.drawn = append(a.drawn, a.augmentation(u))
	}
	return a.drawn
}

// augmentation follows DiffAugment (Zhao et al., "Differentiable augmentation
// for data-efficient GAN training", 2020): brightness U-0.5, saturation 2U,
// contrast U+0.5; shifts of whole pixels, up to an eighth of the side; a square of
// half the side around any point, the far edges among them.
func (a *augmenter) augmentation(u []float32) kernel.Augmentation {
	out := kernel.NoAugmentation
	if a.color {
		out.Brightness, out.Saturation, out.Contrast = u[0]-0.5, 2*u[1], u[2]+0.5
	}
	if a.translation {
		out.Rows, out.Columns = whole(u[3], -augmentShift, augmentShift), whole(u[4], -augmentShift, augmentShift)
	}
	if a.cutout {
		out.Top = whole(u[5], 0, spec.Size) - augmentCutout/2
		out.Left = whole(u[6], 0, spec.Size) - augmentCutout/2
		out.Bottom, out.Right = out.Top+augmentCutout, out.Left+augmentCutout
	}
	return out
}

// whole turns u in [0,1) into one of the whole numbers lo to hi.
func whole(u float32, lo, hi int) int { return lo + int(float64(u)*float64(hi-lo+1)) }

// anchors are LeCam's: exponential averages of D's mean logits on real and on
// generated images, in float64.
type anchors struct{ real, fake []float64 } // one element each, so that a checkpoint can fill them

func newAnchors(t spec.Train) *anchors {
	if t.LeCam == 0 {
		return nil
	}
	return &anchors{make([]float64, 1), make([]float64, 1)}
}

// follow takes a step's mean logits in; the first step's stand as they are.
func (a *anchors) follow(real, fake float64, first bool) {
	if a == nil {
		return
	}
	share := anchorShare
	if first {
		share = 1
	}
	a.real[0] += share * (real - a.real[0])
	a.fake[0] += share * (fake - a.fake[0])
}

func (a *anchors) tensors() []checkpoint.Tensor {
	if a == nil {
		return nil
	}
	return []checkpoint.Tensor{{Name: "lecam.real", Data: a.real}, {Name: "lecam.fake", Data: a.fake}}
}

// average is the exponential average of a generator's weights. Batch norm's
// running statistics are the generator's own, and so not quite those of the
// averaged weights: samplers estimate them anew.
type average struct {
	net      *graph.Net
	images   []int64 // seen so far, one element
	halfLife float64 // in images
}

func newAverage(r spec.Recipe) *average {
	if r.Train.AverageImages <= 0 {
		return nil
	}
	return &average{
		net:    graph.NewGenerator(r.Model.Latent, r.Model.GeneratorDepth),
		images: make([]int64, 1), halfLife: float64(r.Train.AverageImages),
	}
}

// follow takes in the weights after a step on n images: the average keeps
// 0.5^(n/h) of itself, with h the half-life or, early on, a twentieth of the
// images seen before (Karras et al., "Training generative adversarial networks
// with limited data", 2020).
func (a *average) follow(ws *graph.Workspace, net *graph.Net, n int) {
	if a == nil {
		return
	}
	keep := math.Pow(0.5, float64(n)/min(a.halfLife, averageShare*float64(a.images[0])))
	ws.Follow(a.net, net, float32(1-keep))
	a.images[0] += int64(n)
}

func (a *average) tensors() []checkpoint.Tensor {
	if a == nil {
		return nil
	}
	return append(state(a.net, averagePrefix), checkpoint.Tensor{Name: "average.images", Data: a.images})
}

// Terms of the three judgements of a step on n images.

func (g *GAN) onReal(n int) graph.Terms {
	t := graph.Terms{Label: 1 - g.recipe.Train.LabelSmoothing, Augment: g.draw(augmentReal, n)}
	if g.anchors != nil && g.steps > 0 {
		t.LeCam = graph.LeCam{Weight: g.recipe.Train.LeCam, Anchor: g.anchors.fake[0], Above: true}
	}
	return t
}

func (g *GAN) onFake(n int) graph.Terms {
	t := graph.Terms{Augment: g.draw(augmentFake, n)}
	if g.anchors != nil && g.steps > 0 {
		t.LeCam = graph.LeCam{Weight: g.recipe.Train.LeCam, Anchor: g.anchors.real[0]}
	}
	return t
}

func (g *GAN) onGenerator(n int) graph.Terms {
	return graph.Terms{Label: 1, Augment: g.draw(augmentGenerator, n)}
}

func (g *GAN) draw(purpose string, n int) []kernel.Augmentation {
	return g.augmenter.draw(kernel.NewStream(g.recipe.Seed, purpose, uint64(g.steps)), n)
}
