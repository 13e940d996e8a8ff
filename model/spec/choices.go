package spec

import (
	"strconv"
	"strings"
)

// What is taken of an image, the values of Ingest.Frame. The empty string means
// FrameCentre.
const (
	FrameCentre  = "centre"  // the square in its middle
	FramePad     = "pad"     // all of it, in its mean colour
	FrameStretch = "stretch" // all of it, made square
	FrameTiles   = "tiles"   // squares side by side
)

// Framing is what decides which tensors are made of an image; zero is FrameCentre.
type Framing struct {
	Frame  string `json:"frame,omitempty"`
	Tile   int    `json:"tile,omitempty"`
	Stride int    `json:"stride,omitempty"`
}

// Framing is the part of i that decides what is taken of an image.
func (i Ingest) Framing() Framing {
	switch i.Frame {
	case "", FrameCentre:
		return Framing{}
	case FrameTiles:
		return Framing{i.Frame, i.Tile, i.Stride}
	}
	return Framing{Frame: i.Frame}
}

// LevelsAuto, the value of Ingest.Levels, is the depth that the largest sample of all
// images needs: of 8, 10, 12, 14 or 16 bits.
const LevelsAuto = "auto"

// WhiteLevel is the sample that becomes white as Levels states it; 0 where it states
// none.
func (i Ingest) WhiteLevel() int {
	level, err := strconv.Atoi(i.Levels)
	if err != nil {
		return 0
	}
	return level
}

// What is left out as a duplicate, the values of Ingest.Duplicates.
const (
	// DuplicatesVerify leaves out equal files, and images of near perceptual hashes
	// whose pixels agree too, apart from brightness, noise, compression and size.
	DuplicatesVerify = "verify"
	DuplicatesExact  = "exact" // equal files
	DuplicatesOff    = "off"   // nothing
)

// The parts of augmentation, in the order in which they are applied: three that
// show nothing that a camera could not have seen, and those of DiffAugment.
const (
	AugmentFlip        = "flip"  // mirrored along either axis, each for half of the images
	AugmentTurn        = "turn"  // by quarter turns
	AugmentShift       = "shift" // by up to an eighth of the side, with mirrored borders
	AugmentColor       = "color"
	AugmentTranslation = "translation"
	AugmentCutout      = "cutout"
)

// Generators, the values of Model.Generator. The empty string means
// GeneratorTransposed.
const (
	GeneratorTransposed = "transposed" // 4x4 transposed convolutions of stride 2
	GeneratorUpsample   = "upsample"   // bilinear doubling, then a 3x3 convolution: no checkerboard
)

// Channels of an image, the values of Model.Channels. The empty string means
// ChannelsColour.
const (
	ChannelsGrey   = "1"
	ChannelsColour = "3"
	// ChannelsAuto is ChannelsGrey where every image of the data set is grey, else
	// ChannelsColour: a run decides once it has seen them, networks are built for one
	// of the two.
	ChannelsAuto = "auto"
)

// Heads of the discriminator, the values of Model.DiscriminatorHead. The empty
// string means HeadImage.
const (
	HeadImage = "image" // one logit for an image
	HeadPatch = "patch" // a map of 4x4 logits, by a 3x3 convolution of the last features
	// HeadBoth has one logit for an image and, from the third block's features, one
	// for each place of a map of an eighth of the side. All count the same.
	HeadBoth = "both"
)

// Losses, the values of Train.Loss. The empty string means LossBCE.
const (
	// LossBCE is the cross entropy of the discriminator's probabilities.
	LossBCE = "bce"
	// LossHinge is relu(1-D(x)) + relu(1+D(G(z))) for the discriminator and
	// -D(G(z)) for the generator.
	LossHinge = "hinge"
	// LossRelativistic pairs each generated image with a real one:
	// softplus(D(G(z))-D(x)) for the discriminator, its mirror for the generator.
	LossRelativistic = "relativistic"
)

// Decays of the learning rates, the values of Train.Decay. The empty string means
// DecayNone.
const (
	DecayNone   = "none"
	DecayLinear = "linear" // to nothing behind the last step
	DecayCosine = "cosine" // the same along half a cosine
	DecayLate   = "late"   // none in the first half, then linear to a fiftieth
)

// Augments are the parts of augmentation that Augment names, in order.
func (t Train) Augments() []string { return parts(t.Augment) }

// RealAugments are the parts that RealAugment names, in order.
func (t Train) RealAugments() []string { return parts(t.RealAugment) }

func parts(list string) []string {
	var out []string
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// CrossEntropy reports whether the loss is LossBCE.
func (t Train) CrossEntropy() bool { return t.Loss == "" || t.Loss == LossBCE }

// BatchNorm reports whether the discriminator has batch norm.
func (m Model) BatchNorm() bool { return m.DiscriminatorNorm == "" || m.DiscriminatorNorm == NormBatch }

// Decays reports whether rates change from step to step.
func (t Train) Decays() bool { return t.Decay != "" && t.Decay != DecayNone }
