package activities

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/defectforge/defectforge/activities/step"
)

// The documents that stages hand to each other through the store are JSON, one
// object each. Their format field names kind and version, so that neither a
// document of another kind nor one of a later version is taken for the wanted
// one. Equal content gives equal bytes.
const (
	formatDataset       = "defectforge.dataset/1"
	formatTensorIndex   = "defectforge.tensors/1"
	formatCandidateList = "defectforge.candidates/1"
	formatNeighbourList = "defectforge.neighbours/2"
)

// ErrFormat: a document of another kind or version than the one asked for, or
// one that is not well formed.
var ErrFormat = errors.New("unreadable document")

// The sides of the split, the values of DatasetImage.Split, Shard.Split and
// Neighbour.Split.
const (
	SplitTraining = "training"
	// SplitHoldout is what the set is judged by; nothing is chosen by it.
	SplitHoldout = "holdout"
	// SplitSelection is what the checkpoint is chosen by; nothing is judged by it.
	SplitSelection = "selection"
	// SplitLeftOut is used for nothing: the recipe bounds the training images.
	SplitLeftOut = "left-out"
)

// Dataset is the manifest of a data set: what was found below the source
// prefix, what of it is used and how it is split. Lists are sorted by name.
type Dataset struct {
	Format string `json:"format"`
	Class  string `json:"class"`
	// Grouping says how similar images were found: GroupedByOverlap or, for
	// sets too large to compare every pair, GroupedByHash.
	Grouping   string         `json:"grouping"`
	Images     []DatasetImage `json:"images"`
	Quarantine []Quarantined  `json:"quarantine"`
	Duplicates []Duplicate    `json:"duplicates"`
}

// How groups of similar images were found.
const (
	// GroupedByOverlap: by perceptual hashes, and by looking for pairs that show
	// overlapping parts of one scene.
	GroupedByOverlap = "overlap"
	// GroupedByHash: by perceptual hashes alone.
	GroupedByHash = "hash"
)

// DatasetImage is one image in use.
type DatasetImage struct {
	Name     string `json:"name"`     // key below the source prefix
	Key      string `json:"key"`      // in the source bucket
	SHA256   string `json:"sha256"`   // lower-case hex, of the stored bytes
	Size     int64  `json:"size"`     // bytes
	Width    int    `json:"width"`    // pixels as stored, before orientation
	Height   int    `json:"height"`   // pixels as stored, before orientation
	Encoding string `json:"encoding"` // "png", "jpeg", ...
	PHash    string `json:"phash"`    // 64-bit perceptual hash, 16 hex digits
	// Group names the group of similar images, by its smallest member's
	// SHA-256; a group is never divided by the split.
	Group string `json:"group"`
	Split string `json:"split"` // SplitTraining, SplitHoldout, SplitSelection or SplitLeftOut
}

// Quarantined is an object that can't be used, and why.
type Quarantined struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Kinds of duplicates.
const (
	DuplicateExact = "exact" // the same bytes
	DuplicateNear  = "near"  // nearly the same picture
)

// Duplicate is an image that is left out for the sake of another.
type Duplicate struct {
	Name string `json:"name"`
	Of   string `json:"of"`
	Kind string `json:"kind"` // DuplicateExact or DuplicateNear
}

// TensorIndex lists the shards of a preprocessed data set: first the training
// ones, then those held out, then those for selection, each in the manifest's
// order.
type TensorIndex struct {
	Format  string  `json:"format"`
	Dataset string  `json:"dataset"` // the data set manifest's SHA-256
	Shape   []int   `json:"shape"`   // of one image: channels, height, width
	Shards  []Shard `json:"shards"`
}

// Shard is a safetensors file with one U8 tensor "images" of shape (n,3,128,128).
type Shard struct {
	Ref    step.Ref `json:"ref"`
	Split  string   `json:"split"`
	Images []string `json:"images"` // the source images' SHA-256, in row order
}

// CandidateList lists the sampled images in order of their index.
type CandidateList struct {
	Format     string      `json:"format"`
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
// transformed images over the inner part that package quality names. A threshold
// of 0 means that the training images gave none.
type NeighbourList struct {
	Format              string           `json:"format"`
	RejectAt            float64          `json:"reject_at"`
	TailAt              float64          `json:"tail_at"`
	TransformedRejectAt float64          `json:"transformed_reject_at"`
	TransformedTailAt   float64          `json:"transformed_tail_at"`
	TailQuantile        float64          `json:"tail_quantile"`
	Candidates          []CandidateCheck `json:"candidates"`
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
}

// Culprit is the real image that a rejected candidate is nearest to: by its
// plain distance unless only a transformed one is too near.
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

// Encode renders the document, with its format stamped.
func (d Dataset) Encode() ([]byte, error) { d.Format = formatDataset; return encode(d) }

// Encode renders the document, with its format stamped.
func (d TensorIndex) Encode() ([]byte, error) { d.Format = formatTensorIndex; return encode(d) }

// Encode renders the document, with its format stamped.
func (d CandidateList) Encode() ([]byte, error) { d.Format = formatCandidateList; return encode(d) }

// Encode renders the document, with its format stamped.
func (d NeighbourList) Encode() ([]byte, error) { d.Format = formatNeighbourList; return encode(d) }

// DecodeDataset reads a Dataset; ErrFormat where raw is none.
func DecodeDataset(raw []byte) (Dataset, error) { return decode[Dataset](raw, formatDataset) }

// DecodeTensorIndex reads a TensorIndex; ErrFormat where raw is none.
func DecodeTensorIndex(raw []byte) (TensorIndex, error) {
	return decode[TensorIndex](raw, formatTensorIndex)
}

// DecodeCandidateList reads a CandidateList; ErrFormat where raw is none.
func DecodeCandidateList(raw []byte) (CandidateList, error) {
	return decode[CandidateList](raw, formatCandidateList)
}

// DecodeNeighbourList reads a NeighbourList; ErrFormat where raw is none.
func DecodeNeighbourList(raw []byte) (NeighbourList, error) {
	return decode[NeighbourList](raw, formatNeighbourList)
}

func encode(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	return append(raw, '\n'), nil
}

func decode[T any](raw []byte, format string) (T, error) {
	var zero, doc T
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return zero, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if head.Format != format {
		return zero, fmt.Errorf("%w: format %q, want %q", ErrFormat, head.Format, format)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return zero, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return zero, fmt.Errorf("%w: something follows the document", ErrFormat)
	}
	return doc, nil
}
