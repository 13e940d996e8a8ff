package ledger

import "github.com/defectforge/defectforge/activities/step"

var (
	// Candidates is the format of lists of candidates.
	Candidates = Format[CandidateList]{Name: "defectforge.candidates/1"}
	// Neighbours is the format of overfit checks.
	Neighbours = Format[NeighbourList]{Name: "defectforge.neighbours/2"}
)

// CandidateList lists the sampled images in order of their index.
type CandidateList struct {
	Header
	Checkpoint string      `json:"checkpoint"` // SHA-256
	Seed       uint64      `json:"seed"`
	Images     []Candidate `json:"images"`
}

// Candidate is one sampled image, an RGB PNG.
type Candidate struct {
	Index int      `json:"index"` // of its latent
	Image step.Ref `json:"image"`
}

// NeighbourList holds the overfit check's outcome for every candidate.
// Distances are Euclidean over the first channel's pixels in [-1,1]; those to
// transformed images over the inner part that package quality names; those in disguise
// are of package quality's own kind. A threshold
// of 0 means that the training images gave none.
type NeighbourList struct {
	Header
	RejectAt            float64 `json:"reject_at"`
	TailAt              float64 `json:"tail_at"`
	TransformedRejectAt float64 `json:"transformed_reject_at"`
	TransformedTailAt   float64 `json:"transformed_tail_at"`
	// DisguisedRejectAt is 0 where nobody looked for copies in disguise.
	DisguisedRejectAt float64          `json:"disguised_reject_at,omitempty"`
	TailQuantile      float64          `json:"tail_quantile"`
	Candidates        []CandidateCheck `json:"candidates"`
	// RealNearest is each training image's distance to the nearest one of another
	// group, in the order of the index's shards and rows, RealTransformed the same
	// where images may be mirrored, turned and shifted. HoldoutNearest is each
	// held-out image's distance to the nearest training image. Each is of a sample
	// where Notes say so, so that the document does not grow with the data set.
	RealNearest     []float64 `json:"real_nearest"`
	RealTransformed []float64 `json:"real_transformed"`
	HoldoutNearest  []float64 `json:"holdout_nearest"`
	HoldoutGroups   []string  `json:"holdout_groups"` // of HoldoutNearest; null where unknown
	Notes           []string  `json:"notes"`
}

// CandidateCheck is one candidate's outcome.
type CandidateCheck struct {
	Index    int         `json:"index"`
	SHA256   string      `json:"sha256"`
	Accepted bool        `json:"accepted"`
	Reason   string      `json:"reason,omitempty"` // of a rejection
	Nearest  []Neighbour `json:"nearest"`          // by distance, then by order in the index
	// Training is the distance to the nearest training image.
	Training float64 `json:"training"`
	// Transformed is the nearest training image where the candidate may be
	// mirrored, turned and shifted; TransformedHeld the nearest held-out image.
	Transformed     *TransformedNeighbour `json:"transformed,omitempty"`
	TransformedHeld *TransformedNeighbour `json:"transformed_held,omitempty"`
	// Disguised is the real image that the candidate resembles most in local contrast;
	// its distance is 1 less the correlation.
	Disguised *TransformedNeighbour `json:"disguised,omitempty"`
}

// Culprit is the real image that a rejected candidate is nearest to: by its
// plain distance unless only a transformed or disguised one is too near.
func (l NeighbourList) Culprit(c CandidateCheck) (Neighbour, bool) {
	if len(c.Nearest) > 0 && c.Nearest[0].Distance < l.RejectAt {
		return c.Nearest[0], true
	}
	var best *TransformedNeighbour
	for _, t := range []*TransformedNeighbour{c.Transformed, c.TransformedHeld} {
		if t != nil && t.Distance < l.TransformedRejectAt && (best == nil || t.Distance < best.Distance) {
			best = t
		}
	}
	switch {
	case best != nil:
		return best.Neighbour, true
	case c.Disguised != nil && c.Disguised.Distance < l.DisguisedRejectAt:
		return c.Disguised.Neighbour, true
	case len(c.Nearest) > 0:
		return c.Nearest[0], true
	}
	return Neighbour{}, false
}

// TransformedNeighbour is a real image near a transformed candidate.
type TransformedNeighbour struct {
	Neighbour
	How string `json:"how"` // what was done to the candidate, in words
}

// Neighbour is a real image near a candidate.
type Neighbour struct {
	Name     string  `json:"name"`
	SHA256   string  `json:"sha256"`
	Distance float64 `json:"distance"`
	Split    string  `json:"split"`
}
