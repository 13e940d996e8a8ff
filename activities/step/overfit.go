package step

import "github.com/defectforge/defectforge/model/spec"

// CheckOverfit compares the candidates with the real images, and rejects copies.
const CheckOverfit Step[OverfitInput, OverfitResult] = "CheckOverfit"

type OverfitInput struct {
	Candidates Ref          `json:"candidates"`
	Dataset    Ref          `json:"dataset"`
	Tensors    Ref          `json:"tensors"`
	Overfit    spec.Overfit `json:"overfit"`
	// Refresh: the stage is done even where an earlier result would be found.
	Refresh bool `json:"refresh,omitempty"`
}

type OverfitResult struct {
	Found
	// Neighbours holds every candidate's nearest real images and outcome.
	Neighbours Ref `json:"neighbours"`
	// Sheet is a PNG of candidates beside their nearest real images.
	Sheet     Ref     `json:"sheet"`
	Accepted  int     `json:"accepted"`
	Rejected  int     `json:"rejected"`
	RejectAt  float64 `json:"reject_at"` // distance below which a candidate is rejected
	TailAt    float64 `json:"tail_at"`   // distance of the tail test
	TailShare float64 `json:"tail_share"`
	// TransformedShare is the tail test with the training images mirrored, turned
	// and shifted, in the null as well.
	TransformedShare float64 `json:"transformed_share"`
	Nearest          float64 `json:"nearest"` // smallest distance of any candidate
	Real             int     `json:"real"`    // real images compared with
	// Repeated candidates are pixel for pixel the same as an earlier one, Blank
	// ones have a single colour; both are rejected.
	Repeated int `json:"repeated"`
	Blank    int `json:"blank"`
}

// Facts are what the result says in a log line.
func (r OverfitResult) Facts() []any {
	return []any{"accepted", r.Accepted, "rejected", r.Rejected, "repeated", r.Repeated, "blank", r.Blank}
}
