package ledger

import (
	"context"
	"fmt"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// Datasets is the format of data set manifests.
var Datasets = Format[Dataset]{Name: "defectforge.dataset/1"}

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
	Header
	Class string `json:"class"`
	// Grouping says how similar images were found: GroupedByOverlap or, for
	// sets too large to compare every pair, GroupedByHash.
	Grouping string `json:"grouping"`
	// Levels is the sample of images of 16 bits that becomes white; 0 where there are
	// none, or their upper 8 bits are kept.
	Levels     int            `json:"levels,omitempty"`
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
	// MorePages of a TIFF, or frames of an animation, are used for nothing.
	MorePages int `json:"more_pages,omitempty"`
	// Transparent: its opacity is zero everywhere, and was taken to mean nothing.
	Transparent bool   `json:"transparent,omitempty"`
	PHash       string `json:"phash"` // 64-bit perceptual hash, 16 hex digits
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

// DatasetBy reads a data set's manifest by its digest, and says where it lies;
// storage.ErrNotFound where it does not, or where digest is none.
func DatasetBy(ctx context.Context, s *storage.Store, digest string) (Dataset, step.Ref, error) {
	key, err := storage.ArtifactKey(digest, ".json")
	if err != nil {
		return Dataset{}, step.Ref{}, fmt.Errorf("look for data set %q: %w: %w", digest, storage.ErrNotFound, err)
	}
	info, err := s.Bucket().Stat(ctx, key)
	if err != nil {
		return Dataset{}, step.Ref{}, fmt.Errorf("look for data set %s: %w", digest, err)
	}
	ref := step.Ref{Key: key, SHA256: digest, Size: info.Size}
	doc, err := Datasets.Read(ctx, s, ref)
	return doc, ref, err
}

// Of lists the images of one side of the split.
func (d Dataset) Of(split string) []DatasetImage {
	var out []DatasetImage
	for _, i := range d.Images {
		if i.Split == split {
			out = append(out, i)
		}
	}
	return out
}
