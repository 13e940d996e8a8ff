// Package report renders what a run made and decided: one standalone HTML page
// and the same facts as JSON. It knows no store and no workflow; the caller
// gathers Data and Pictures.
package report

import (
	"encoding/json"
	"fmt"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// Format names kind and version of the JSON document.
const Format = "defectforge.report/1"

// Variants of the report.
const (
	// VariantRun names the run, its source and its times.
	VariantRun = "run"
	// VariantRelease holds only what follows from the content, so that two runs
	// with the same content give the same bytes.
	VariantRelease = "release"
)

// Data is everything the report says. A nil part is one that the run did not
// get to; the page names it as missing.
type Data struct {
	Format   string     `json:"format"`
	Variant  string     `json:"variant"`
	Class    string     `json:"class"`
	Decision *Decision  `json:"decision,omitempty"`
	Missing  []string   `json:"missing"` // what the run did not get to, in words
	Intake   *Intake    `json:"intake,omitempty"`
	Samples  *Samples   `json:"samples,omitempty"`
	Distance *Distances `json:"distances,omitempty"`
	Training *Training  `json:"training,omitempty"`
	Run      *Run       `json:"run,omitempty"` // nil in the release's variant
	Settings []Setting  `json:"settings"`
	Digests  []Digest   `json:"digests"`
}

// Decision is the verdict with its reasons.
type Decision struct {
	Verdict string      `json:"verdict"`
	Scope   string      `json:"scope"` // what was judged, in words
	Rules   []step.Rule `json:"rules"`
}

// Intake is what came in and what became of it.
type Intake struct {
	Found          int          `json:"found"`
	Usable         int          `json:"usable"`
	Quarantined    int          `json:"quarantined"`
	Duplicates     int          `json:"duplicates"`
	NearDuplicates int          `json:"near_duplicates"`
	Groups         int          `json:"groups"`
	Training       int          `json:"training"`
	Holdout        int          `json:"holdout"`
	Grouping       string       `json:"grouping"` // how similar images were found, in words
	Quarantine     []Quarantine `json:"quarantine"`
	DuplicateList  []Duplicate  `json:"duplicate_list"`
}

// Quarantine is an object that could not be used.
type Quarantine struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Duplicate is an image that was left out in favour of another.
type Duplicate struct {
	Name string `json:"name"`
	Of   string `json:"of"`
	Kind string `json:"kind"`
}

// Samples are the candidates in the order of their latent index.
type Samples struct {
	// Checked tells whether Accepted, Reason and Nearest mean anything.
	Checked bool        `json:"checked"`
	Images  []Candidate `json:"images"`
}

// Candidate is one generated image.
type Candidate struct {
	Index    int         `json:"index"`
	SHA256   string      `json:"sha256"`
	Size     int64       `json:"size"` // bytes
	Accepted bool        `json:"accepted"`
	Reason   string      `json:"reason,omitempty"` // why it was rejected
	Nearest  []Neighbour `json:"nearest,omitempty"`
}

// Neighbour is a real image near a candidate.
type Neighbour struct {
	Name     string  `json:"name"`
	SHA256   string  `json:"sha256"`
	Distance float64 `json:"distance"`
	Split    string  `json:"split"`
}

// Distances is the copy test: thresholds, and what they were calibrated on.
type Distances struct {
	Real        int       `json:"real"` // real images compared with
	Accepted    int       `json:"accepted"`
	Rejected    int       `json:"rejected"`
	Repeated    int       `json:"repeated"` // rejected for being equal to an earlier candidate
	Blank       int       `json:"blank"`    // rejected for having a single colour
	RejectAt    float64   `json:"reject_at"`
	TailAt      float64   `json:"tail_at"`
	TailShare   float64   `json:"tail_share"`
	Nearest     float64   `json:"nearest"` // smallest distance of any candidate
	RealNearest []float64 `json:"real_nearest"`
}

// Training is how far it got. Losses and outputs are means over the last epoch.
type Training struct {
	Epochs        int     `json:"epochs"`
	Steps         int64   `json:"steps"`
	StepsPerEpoch int     `json:"steps_per_epoch"`
	LossReal      float64 `json:"loss_real"`
	LossFake      float64 `json:"loss_fake"`
	LossG         float64 `json:"loss_g"`
	DReal         float64 `json:"d_real"`
	DFake         float64 `json:"d_fake"`
	// Points are the curves, each a mean over PointSteps steps.
	PointSteps int     `json:"point_steps"`
	Points     []Point `json:"points"`
}

// Point is one place of the training curves.
type Point struct {
	Step     int     `json:"step"` // last step of the mean, 1-based
	LossReal float64 `json:"loss_real"`
	LossFake float64 `json:"loss_fake"`
	LossG    float64 `json:"loss_g"`
	DReal    float64 `json:"d_real"`
	DFake    float64 `json:"d_fake"`
}

// Run is what differs between two runs with the same content.
type Run struct {
	WorkflowID      string           `json:"workflow_id"`
	RunID           string           `json:"run_id"`
	Source          step.Source      `json:"source"`
	Times           []step.StageTime `json:"times"`
	ImagesPerSecond float64          `json:"images_per_second"` // of the last leg that trained
	Cached          bool             `json:"preprocess_cached"`
}

// Setting is one leaf of the recipe, named by its path.
type Setting struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// Digest names the content of one stored document.
type Digest struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size,omitempty"` // bytes; 0 if unknown
}

// grain are the settings that shape a run's history, never its result.
var grain = map[string]bool{"train.leg_epochs": true, "train.keep_checkpoints": true}

// Recipe digest names, as they stand in Data.Digests.
const (
	digestRecipe   = "Recipe"
	digestTraining = "Training settings"
)

// New returns a run's Data with the parts that every run has: class, settings
// and their digests.
func New(class string, r spec.Recipe) (Data, error) {
	settings, err := flatten(r)
	if err != nil {
		return Data{}, fmt.Errorf("list settings: %w", err)
	}
	return Data{
		Format: Format, Variant: VariantRun, Class: class, Missing: []string{}, Settings: settings,
		Digests: []Digest{
			{Name: digestRecipe, SHA256: spec.Digest(r)},
			{Name: digestTraining, SHA256: r.TrainingFingerprint()},
		},
	}, nil
}

// ForRelease returns d without what differs between two runs with the same
// content: identifiers, source, times, and the settings that only change the
// grain of the history, with the digest they enter.
func (d Data) ForRelease() Data {
	d.Variant, d.Run = VariantRelease, nil
	settings := make([]Setting, 0, len(d.Settings))
	for _, s := range d.Settings {
		if !grain[s.Name] {
			settings = append(settings, s)
		}
	}
	digests := make([]Digest, 0, len(d.Digests))
	for _, g := range d.Digests {
		if g.Name != digestRecipe {
			digests = append(digests, g)
		}
	}
	d.Settings, d.Digests = settings, digests
	return d
}

// JSON is the page's twin: the same facts for programs.
func (d Data) JSON() ([]byte, error) {
	d.Missing = d.missing()
	raw, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	return append(raw, '\n'), nil
}

// missing says in words what the run did not get to.
func (d Data) missing() []string {
	out := []string{}
	add := func(absent bool, what string) {
		if absent {
			out = append(out, what)
		}
	}
	add(d.Intake == nil, "Ingest did not finish: it is not known what came in.")
	add(d.Training == nil, "Training did not finish a leg: there is no checkpoint.")
	add(d.Training != nil && len(d.Training.Points) == 0, "Training left no curves.")
	add(d.Samples == nil, "No candidates were drawn.")
	add(d.Distance == nil, "The candidates were not compared with the real images.")
	add(d.Decision == nil, "No verdict was reached. Nothing may be published.")
	return out
}
