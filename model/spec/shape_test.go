package spec

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestForImagesDecidesWhatTheRecipeLeavesOpen(t *testing.T) {
	r := Surface()
	grey := r.ForImages(Images{Training: 240, Grey: true})
	assert.Equal(t, ChannelsGrey, grey.Model.Channels)
	assert.Equal(t, 1, grey.Model.ImageChannels())
	assert.Equal(t, []int{334, 0, 17}, []int{grey.Train.Epochs, grey.Train.Steps, grey.Train.LegEpochs}, "240 images are 15 batches: 333 epochs are too few")
	assert.NoError(t, grey.Validate())
	assert.Equal(t, grey, grey.ForImages(Images{Training: 7}), "decided once")
	assert.Equal(t, 3, r.ForImages(Images{Training: 240}).Model.ImageChannels())

	for images, epochs := range map[int]int{10: 5000, 16: 5000, 18: 5000, 19: 2500, 1000: 80, 100_000: 1} {
		assert.Equal(t, epochs, r.ForImages(Images{Training: images}).Train.Epochs, "%d images", images)
	}
	assert.Equal(t, Classic(), Classic().ForImages(Images{Training: 3, Grey: true}), "nothing is left open")
}

func TestLegs(t *testing.T) {
	assert.Equal(t, 32, Classic().Train.Legs())
	assert.Equal(t, 20, Surface().Train.Legs())
	assert.Equal(t, 20, Surface().ForImages(Images{Training: 240}).Train.Legs())
}
