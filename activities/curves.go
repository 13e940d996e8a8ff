package activities

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/defectforge/defectforge/model"
)

// The versions of the curves' format: the second holds signs too. A training
// that was begun before them keeps the first to its end.
const (
	formatCurves1 = "defectforge.curves/1"
	formatCurves  = "defectforge.curves/2"
)

// Curves holds the losses of every training step so far, and the mean outputs
// of the discriminator; the lists have equal lengths, but for SignReal, which is
// empty in the first version of the format.
type Curves struct {
	Format        string    `json:"format"`
	StepsPerEpoch int       `json:"steps_per_epoch"`
	LossReal      []float32 `json:"loss_real"`
	LossFake      []float32 `json:"loss_fake"`
	LossG         []float32 `json:"loss_g"`
	DReal         []float32 `json:"d_real"`
	DFake         []float32 `json:"d_fake"`
	// SignReal is the mean sign of the discriminator's logits on real images,
	// in [-1,1].
	SignReal []float32 `json:"sign_real,omitempty"`
}

// signed reports whether the curves hold signs, or are still to begin.
func (c *Curves) signed() bool { return len(c.SignReal) == len(c.LossReal) }

// Encode renders the document, with its format stamped. It fails on NaN and
// infinities, which JSON can't hold.
func (c Curves) Encode() ([]byte, error) {
	c.Format = formatCurves
	if !c.signed() {
		c.Format = formatCurves1
	}
	return encode(c)
}

// DecodeCurves reads Curves of either version; ErrFormat where raw holds none.
func DecodeCurves(raw []byte) (Curves, error) {
	var head struct {
		Format string `json:"format"`
	}
	want := formatCurves
	if json.Unmarshal(raw, &head) == nil && head.Format == formatCurves1 {
		want = formatCurves1
	}
	c, err := decode[Curves](raw, want)
	if err != nil {
		return Curves{}, err
	}
	n, signs := len(c.LossReal), len(c.LossReal)
	if want == formatCurves1 {
		signs = 0
	}
	if len(c.LossFake) != n || len(c.LossG) != n || len(c.DReal) != n || len(c.DFake) != n || len(c.SignReal) != signs {
		return Curves{}, fmt.Errorf("%w: curves of unequal lengths", ErrFormat)
	}
	return c, nil
}

// add appends one step's losses.
func (c *Curves) add(l model.Losses) {
	if c.signed() {
		c.SignReal = append(c.SignReal, float32(l.SignReal))
	}
	c.LossReal = append(c.LossReal, float32(l.Real))
	c.LossFake = append(c.LossFake, float32(l.Fake))
	c.LossG = append(c.LossG, float32(l.G))
	c.DReal = append(c.DReal, float32(l.DReal))
	c.DFake = append(c.DFake, float32(l.DFake))
}

// steps is the number of steps recorded.
func (c *Curves) steps() int64 { return int64(len(c.LossReal)) }

// Bounds of the discriminator's mean outputs beyond which it overpowers the
// generator.
const (
	overpoweredReal = 0.95
	overpoweredFake = 0.05
)

// overpowered counts the last steps in a row, from step first (0-based) on, in
// which the discriminator knew nearly every image for what it is.
func (c *Curves) overpowered(first int64) int {
	n := 0
	for i := len(c.DReal) - 1; i >= int(first) && c.DReal[i] > overpoweredReal && c.DFake[i] < overpoweredFake; i-- {
		n++
	}
	return n
}

// last is the mean over the last epoch, computed from the recorded values, so
// that it is the same in every attempt.
func (c *Curves) last() model.Losses {
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
