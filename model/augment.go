package model

import (
	"slices"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// Purposes of the streams that augmentations are drawn from.
const (
	augmentReal      = "augment.real"
	augmentFake      = "augment.fake"
	augmentGenerator = "augment.generator"
	augmentPair      = "augment.pair" // real images beside the generator's
	augmentDataset   = "augment.dataset"

	placePurpose = ".place" // the parts that move pixels have a stream of their own
)

const (
	// The numbers that an image takes of either stream, whatever parts are on:
	// switching one on leaves the others' draws alone.
	augmentDraws = 7
	placeDraws   = 5
)

// augmenter draws what is done to each image of a batch.
type augmenter struct {
	flip, turn, shift          bool
	color, translation, cutout bool
	side                       int
	adaptation                 *adaptation // nil: all parts, always
	numbers                    []float32
	drawn                      map[string][]kernel.Augmentation // by purpose
}

func newAugmenter(parts []string, side int) *augmenter {
	if len(parts) == 0 {
		return nil
	}
	has := func(part string) bool { return slices.Contains(parts, part) }
	return &augmenter{
		flip: has(spec.AugmentFlip), turn: has(spec.AugmentTurn), shift: has(spec.AugmentShift),
		color: has(spec.AugmentColor), translation: has(spec.AugmentTranslation), cutout: has(spec.AugmentCutout),
		side: side, drawn: map[string][]kernel.Augmentation{},
	}
}

// draw gives n images' augmentations in a step, valid until the next call with
// this purpose. Image i's come from numbers 7i to 7i+6 of the purpose's stream, and
// from numbers 5i to 5i+4 of that of its places.
func (a *augmenter) draw(seed uint64, purpose string, step uint64, n int) []kernel.Augmentation {
	if a == nil {
		return nil
	}
	drawn := a.drawn[purpose][:0]
	for u := range slices.Chunk(a.uniform(kernel.NewStream(seed, purpose, step), augmentDraws*n), augmentDraws) {
		drawn = append(drawn, a.augmentation(u))
	}
	if a.flip || a.turn || a.shift {
		places := a.uniform(kernel.NewStream(seed, purpose+placePurpose, step), placeDraws*n)
		for i := range drawn {
			a.place(&drawn[i], places[placeDraws*i:])
		}
	}
	if a.adaptation != nil {
		a.adaptation.thin(drawn, a.uniform(kernel.NewStream(seed, purpose+chancePurpose, step), chanceDraws*n))
	}
	a.drawn[purpose] = drawn
	return drawn
}

func (a *augmenter) uniform(stream kernel.Stream, n int) []float32 {
	a.numbers = grown(a.numbers, n)
	stream.Uniform(a.numbers, 0, 1)
	return a.numbers
}

// augmentation follows DiffAugment (Zhao et al., "Differentiable augmentation
// for data-efficient GAN training", 2020): brightness U-0.5, saturation 2U,
// contrast U+0.5; shifts of whole pixels, up to an eighth of the side; a square of
// half the side around any point, the far edges among them.
func (a *augmenter) augmentation(u []float32) kernel.Augmentation {
	out := kernel.NoAugmentation
	shift, cutout := a.side/8, a.side/2
	if a.color {
		out.Brightness, out.Saturation, out.Contrast = u[0]-0.5, 2*u[1], u[2]+0.5
	}
	if a.translation {
		out.Rows, out.Columns = whole(u[3], -shift, shift), whole(u[4], -shift, shift)
	}
	if a.cutout {
		out.Top, out.Left = whole(u[5], 0, a.side)-cutout/2, whole(u[6], 0, a.side)-cutout/2
		out.Bottom, out.Right = out.Top+cutout, out.Left+cutout
	}
	return out
}

// place draws the parts that move pixels: a mirror along either axis for half of
// the images, quarter turns, and shifts as far as translation's.
func (a *augmenter) place(out *kernel.Augmentation, u []float32) {
	shift := a.side / 8
	if a.flip {
		out.Mirror, out.Upend = u[0] < 0.5, u[1] < 0.5
	}
	if a.turn {
		out.Turns = whole(u[2], 0, 3)
	}
	if a.shift {
		out.Down, out.Aside = whole(u[3], -shift, shift), whole(u[4], -shift, shift)
	}
}

// whole turns u in [0,1) into one of the whole numbers lo to hi.
func whole(u float32, lo, hi int) int { return lo + int(float64(u)*float64(hi-lo+1)) }

// varied is real with the augmentations of real images alone; the result is valid
// until the next call.
func (g *GAN) varied(real []float32) []float32 {
	if g.variety == nil {
		return real
	}
	m := g.recipe.Model
	g.variants = grown(g.variants, len(real))
	by := g.variety.draw(g.recipe.Seed, augmentDataset, uint64(g.steps), len(real)/m.ImageLen())
	kernel.Augment(g.variants, real, by, m.ImageChannels(), m.ImageSide(), m.ImageSide())
	return g.variants
}
