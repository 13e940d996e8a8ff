package step

import (
	"fmt"
	"strings"

	"github.com/defectforge/defectforge/model/spec"
)

// Ingest lists the source, decides which images are usable, and draws the
// hold-out.
const Ingest Step[IngestInput, IngestResult] = "Ingest"

type IngestInput struct {
	Class  string      `json:"class"`
	Source Source      `json:"source"`
	Ingest spec.Ingest `json:"ingest"`
}

type IngestResult struct {
	// Dataset is the manifest's reference; its SHA256 is the data set digest.
	Dataset        Ref `json:"dataset"`
	Found          int `json:"found"`           // objects listed
	Usable         int `json:"usable"`          // images in the data set
	Quarantined    int `json:"quarantined"`     // objects that could not be used
	Duplicates     int `json:"duplicates"`      // exact duplicates left out
	NearDuplicates int `json:"near_duplicates"` // near duplicates left out
	Groups         int `json:"groups"`          // groups of similar images
	Training       int `json:"training"`        // images for training
	Holdout        int `json:"holdout"`         // images held out
	Selection      int `json:"selection"`       // images kept to choose the checkpoint with
	// LeftOut images are used for nothing: the recipe bounds those for training.
	LeftOut int `json:"left_out,omitempty"`
	// Levels is the sample of images of 16 bits that becomes white; 0 where there are
	// none, or their upper 8 bits are kept.
	Levels int `json:"levels,omitempty"`
	// CutAway is the share of the images' area that centre crops lose, on average.
	CutAway float64 `json:"cut_away,omitempty"`
	// Unverified: there were too many images to verify near duplicates on pixels.
	Unverified bool `json:"unverified,omitempty"`
	// MorePages is how many pages and frames follow the first ones of images in use;
	// they are used for nothing.
	MorePages int `json:"more_pages,omitempty"`
	// Transparent images have an opacity of zero everywhere, which was taken to mean
	// nothing.
	Transparent int `json:"transparent,omitempty"`
}

// cutAwayTold is the share of the area above which whoever waits is warned.
const cutAwayTold = 0.25

// Warning says in words what is lost or guessed that may matter; empty where nothing is.
func (r IngestResult) Warning() string {
	var parts []string
	say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if r.CutAway > cutAwayTold {
		say("the centre crop cuts away %.0f%% of the images' area, and any defect there; "+
			"ingest.frame=tiles uses all of it, pad and stretch show each image whole", 100*r.CutAway)
	}
	if r.MorePages > 0 {
		say("%d further pages or frames are not used, only the first of each image", r.MorePages)
	}
	if r.Transparent > 0 {
		say("%d images are wholly transparent, which is taken to mean nothing", r.Transparent)
	}
	if r.Unverified {
		say("there are too many images to verify near duplicates on pixels: %d were left out by perceptual hash alone; "+
			"ingest.duplicates=exact keeps them", r.NearDuplicates)
	}
	return strings.Join(parts, "; ")
}

// Facts are what the result says in a log line.
func (r IngestResult) Facts() []any {
	return []any{"found", r.Found, "usable", r.Usable, "quarantined", r.Quarantined, "duplicates", r.Duplicates + r.NearDuplicates}
}
