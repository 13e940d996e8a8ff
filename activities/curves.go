package activities

import (
	"math"

	"github.com/defectforge/defectforge/model"
)

// add appends one step's losses.
func (c *Curves) add(l model.Losses) {
	c.LossReal = append(c.LossReal, float32(l.Real))
	c.LossFake = append(c.LossFake, float32(l.Fake))
	c.LossG = append(c.LossG, float32(l.G))
	c.DReal = append(c.DReal, float32(l.DReal))
	c.DFake = append(c.DFake, float32(l.DFake))
}

// steps is the number of steps recorded.
func (c *Curves) steps() int64 { return int64(len(c.LossReal)) }

// last is the mean over the last epoch, computed from the recorded values, so
// that it is the same in every attempt.
func (c *Curves) last() model.Losses {
	return model.Losses{
		Real: tailMean(c.LossReal, c.StepsPerEpoch), Fake: tailMean(c.LossFake, c.StepsPerEpoch), G: tailMean(c.LossG, c.StepsPerEpoch),
		DReal: tailMean(c.DReal, c.StepsPerEpoch), DFake: tailMean(c.DFake, c.StepsPerEpoch),
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
