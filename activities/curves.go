package activities

import (
	"math"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/model"
)

// addLosses appends one step's losses.
func addLosses(c *ledger.Curves, l model.Losses) {
	if c.Signed() {
		c.SignReal = append(c.SignReal, float32(l.SignReal))
	}
	c.LossReal = append(c.LossReal, float32(l.Real))
	c.LossFake = append(c.LossFake, float32(l.Fake))
	c.LossG = append(c.LossG, float32(l.G))
	c.DReal = append(c.DReal, float32(l.DReal))
	c.DFake = append(c.DFake, float32(l.DFake))
}

// Bounds of the discriminator's mean outputs beyond which it overpowers the
// generator.
const (
	overpoweredReal = 0.95
	overpoweredFake = 0.05
)

// overpowered counts the last steps in a row, from step first (0-based) on, in
// which the discriminator recognised nearly every image as what it is.
func overpowered(c ledger.Curves, first int64) int {
	n := 0
	for i := len(c.DReal) - 1; i >= int(first) && c.DReal[i] > overpoweredReal && c.DFake[i] < overpoweredFake; i-- {
		n++
	}
	return n
}

// lastEpoch is the mean over the last epoch, computed from the recorded values, so
// that it is the same in every attempt.
func lastEpoch(c ledger.Curves) model.Losses {
	return model.Losses{
		Real: tailMean(c.LossReal, c.StepsPerEpoch), Fake: tailMean(c.LossFake, c.StepsPerEpoch), G: tailMean(c.LossG, c.StepsPerEpoch),
		DReal: tailMean(c.DReal, c.StepsPerEpoch), DFake: tailMean(c.DFake, c.StepsPerEpoch),
		SignReal: tailMean(c.SignReal, c.StepsPerEpoch),
	}
}

// tailMean is the mean of v's last n values, 0 if there are none.
func tailMean(v []float32, n int) float64 {
	v = v[max(0, len(v)-n):]
	if len(v) == 0 {
		return 0
	}
	sum := 0.0
	for _, x := range v {
		sum += float64(x)
	}
	return sum / float64(len(v))
}

// finite reports whether all of l can be trained on.
func finite(l model.Losses) bool {
	for _, v := range []float64{l.Real, l.Fake, l.G, l.DReal, l.DFake} {
		// Values beyond float32 would not survive in the curves.
		if math.IsNaN(v) || math.Abs(v) > math.MaxFloat32 {
			return false
		}
	}
	return true
}
