package spec

import "cmp"

// ImageChannels is the number of channels of the model's images: 1 or 3. Where the
// images decide, it is 3 until ForImages has said otherwise.
func (m Model) ImageChannels() int {
	if m.Channels == ChannelsGrey {
		return 1
	}
	return Channels
}

// Images is what a recipe may leave to the images of a run.
type Images struct {
	Training int  `json:"training"` // images to train on
	Grey     bool `json:"grey"`     // none has a colour
}

// ForImages is r with what it leaves to the images decided: Model.Channels where that
// is ChannelsAuto, and where Train.Steps is set, Train.Epochs in its place.
func (r Recipe) ForImages(images Images) Recipe {
	if r.Model.Channels == ChannelsAuto {
		r.Model.Channels = ChannelsColour
		if images.Grey {
			r.Model.Channels = ChannelsGrey
		}
	}
	if t := &r.Train; t.Steps > 0 {
		perEpoch := max(t.EpochSteps(images.Training), 1)
		t.Epochs = (t.Steps + perEpoch - 1) / perEpoch
		t.LegEpochs = DefaultLeg(t.Epochs)
		t.Steps = 0
	}
	return r
}

// legs is in how many legs a training is done whose epochs follow from its steps.
const legs = 20

// DefaultLeg is the number of epochs of a leg where nothing else is said.
func DefaultLeg(epochs int) int { return (epochs + legs - 1) / legs }

// Legs is in how many legs training is done; with Steps, at most.
func (t Train) Legs() int {
	if t.Steps > 0 {
		return legs
	}
	return (t.Epochs + t.LegEpochs - 1) / t.LegEpochs
}

// EpochSteps is the number of batches in an epoch of that many images: the last one
// may be smaller; below MinBatch it is dropped.
func (t Train) EpochSteps(images int) int {
	steps := images / t.Batch
	if images%t.Batch >= MinBatch {
		steps++
	}
	return steps
}

// ImageSide is the side of the model's images, in pixels.
func (m Model) ImageSide() int { return cmp.Or(m.Size, Size) }

// ImageLen is the number of values of one of the model's images (c,h,w).
func (m Model) ImageLen() int { return m.ImageChannels() * m.ImageSide() * m.ImageSide() }
