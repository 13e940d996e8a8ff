package ledger

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// The versions of the curves' format: the second holds signs too. A training
// that was begun before them keeps the first to its end.
var (
	curvesFormat1 = Format[Curves]{Name: "defectforge.curves/1"}
	curvesFormat  = Format[Curves]{Name: "defectforge.curves/2"}
)

// Curves holds the losses of every training step so far, and the mean outputs
// of the discriminator; the lists have equal lengths, but for SignReal, which is
// empty in the first version of the format.
type Curves struct {
	Header
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

// Signed reports whether the curves hold signs, or are still to begin.
func (c Curves) Signed() bool { return len(c.SignReal) == len(c.LossReal) }

// Steps is the number of steps recorded.
func (c Curves) Steps() int64 { return int64(len(c.LossReal)) }

// Encode renders the document. It fails on NaN and infinities, which JSON can't
// hold.
func (c Curves) Encode() ([]byte, error) {
	if c.Signed() {
		return curvesFormat.Encode(c)
	}
	return curvesFormat1.Encode(c)
}

// DecodeCurves reads Curves of either version; ErrFormat where raw holds none.
func DecodeCurves(raw []byte) (Curves, error) {
	format, signed := curvesFormat, true
	var head Header
	if json.Unmarshal(raw, &head) == nil && head.Format == curvesFormat1.Name {
		format, signed = curvesFormat1, false
	}
	c, err := format.Decode(raw)
	if err != nil {
		return Curves{}, err
	}
	n, signs := len(c.LossReal), 0
	if signed {
		signs = n
	}
	if len(c.LossFake) != n || len(c.LossG) != n || len(c.DReal) != n || len(c.DFake) != n || len(c.SignReal) != signs {
		return Curves{}, fmt.Errorf("%w: curves of unequal lengths", ErrFormat)
	}
	return c, nil
}

// ReadCurves reads the curves that ref names.
func ReadCurves(ctx context.Context, s *storage.Store, ref step.Ref) (Curves, error) {
	return read(ctx, s, ref, MaxDocument, DecodeCurves)
}
