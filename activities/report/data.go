// Package report renders what a run made and decided: one standalone HTML page
// and the same facts as JSON. It knows no store and no workflow; the caller
// gathers Data and Pictures.
package report

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// Format names kind and version of the JSON document.
const Format = "defectforge.report/2"

// Variants of the report.
const (
	// VariantRun names the run, its source and its times.
	VariantRun = "run"
	// VariantRelease holds only what follows from the content, so that two runs
	// with the same content give the same bytes.
	VariantRelease = "release"
)

// section is a part of the page, by the identifier of its element; Link leads to
// it.
type section struct{ ID, Link string }

const sectionTime = "time" // of runs alone

// sections are the parts of the page below the decision, in their order.
var sections = []section{
	{"candidates", "Pictures"},
	{"rejected", "Rejected"},
	{"closest", "Nearest accepted"},
	{"utility", "Does it help?"},
	{"training", "Training"},
	{"measures", "Measures"},
	{"neighbours", "Distances"},
	{"intake", "Input"},
	{sectionTime, "Time"},
	{"settings", "Settings"},
	{"digests", "Digests"},
}

// Data is everything the report says. A nil part is one that the run did not
// get to; the page names it as missing.
type Data struct {
	Format   string    `json:"format"`
	Variant  string    `json:"variant"`
	Class    string    `json:"class"`
	Next     string    `json:"next"` // what happens now and why, in words
	Decision *Decision `json:"decision,omitempty"`
	Policy   *Policy   `json:"policy,omitempty"`
	// Approval is who decided after the verdict; nil while nobody did, and in
	// the release's variant.
	Approval *step.Approval `json:"approval,omitempty"`
	// Deadline is until when a person may approve the set; nil where none is
	// asked, and in the release's variant.
	Deadline *time.Time `json:"deadline,omitempty"`
	// Unpublished: what passes is compared, and not published.
	Unpublished bool       `json:"unpublished,omitempty"`
	Missing     []string   `json:"missing"` // what the run did not get to, in words
	Samples     *Samples   `json:"samples,omitempty"`
	Distance    *Distances `json:"distances,omitempty"`
	Utility     *Utility   `json:"utility,omitempty"` // nil where it was not asked for
	Measures    []Measure  `json:"measures,omitempty"`
	// Notes say what was sampled for the measures, and what could not be taken.
	Notes    []string  `json:"notes,omitempty"`
	Training *Training `json:"training,omitempty"`
	// Rollbacks are the training's alarms after which it was tried again, Alarm
	// the one that ended it.
	Rollbacks []step.Rollback `json:"rollbacks,omitempty"`
	Alarm     *step.Alarm     `json:"alarm,omitempty"`
	Intake    *Intake         `json:"intake,omitempty"`
	Run       *Run            `json:"run,omitempty"` // nil in the release's variant
	Settings  []Setting       `json:"settings"`
	Digests   []Digest        `json:"digests"`
}

// Decision is the verdict with its reasons.
type Decision struct {
	Verdict string        `json:"verdict"`
	Scope   string        `json:"scope"`             // what was judged, in words
	Warning string        `json:"warning,omitempty"` // what a pass does not mean
	Rules   []spec.Judged `json:"rules"`
}

// Policy is what decided, and who may publish what passes.
type Policy struct {
	Name          string  `json:"name"`
	Approval      string  `json:"approval"`       // spec.ApproveAuto or spec.ApprovePerson
	DeadlineHours float64 `json:"deadline_hours"` // that a person has
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
	Selection      int          `json:"selection"`             // to choose the checkpoint with
	LeftOut        int          `json:"left_out,omitempty"`    // used for nothing, as the recipe bounds the training images
	CutAway        float64      `json:"cut_away,omitempty"`    // share of the area that centre crops lose
	Levels         int          `json:"levels,omitempty"`      // sample of 16 bits that became white
	MorePages      int          `json:"more_pages,omitempty"`  // pages and frames beyond the first, not used
	Transparent    int          `json:"transparent,omitempty"` // images whose opacity is zero everywhere
	Coloured       *int         `json:"coloured,omitempty"`    // not grey; nil where nobody looked
	Grouping       string       `json:"grouping"`              // how similar images were found, in words
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
	// Checked says whether Accepted, Reason and Nearest mean anything.
	Checked bool        `json:"checked"`
	Images  []Candidate `json:"images"`
	// Real are training images that the page shows for comparison.
	Real []Real `json:"real,omitempty"`
}

// Real is a real image of the data set.
type Real struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// Candidate is one generated image.
type Candidate struct {
	Index    int         `json:"index"`
	SHA256   string      `json:"sha256"`
	Size     int64       `json:"size"` // bytes
	Accepted bool        `json:"accepted"`
	Reason   string      `json:"reason,omitempty"` // why it was rejected
	Nearest  []Neighbour `json:"nearest,omitempty"`
	// Match is the real image to hold it against where that is not the first of
	// Nearest: one that is nearer, by its own threshold, when mirrored, turned or
	// shifted.
	Match *Neighbour `json:"match,omitempty"`
}

// near is the real image to show beside the candidate; nil where there is none.
func (c Candidate) near() *Neighbour {
	switch {
	case c.Match != nil:
		return c.Match
	case len(c.Nearest) > 0:
		return &c.Nearest[0]
	}
	return nil
}

// Neighbour is a real image near a candidate.
type Neighbour struct {
	Name     string  `json:"name"`
	SHA256   string  `json:"sha256"`
	Distance float64 `json:"distance"`
	Split    string  `json:"split"`
	// Transform says in words how the real image was changed to come this near,
	// empty where it was not.
	Transform string `json:"transform,omitempty"`
	// Disguised: the distance is that of copies in disguise, 1 less the correlation of
	// local contrast.
	Disguised bool `json:"disguised,omitempty"`
}

// Distances is the copy test: thresholds, and what they were calibrated on.
type Distances struct {
	Real     int     `json:"real"` // real images compared with
	Accepted int     `json:"accepted"`
	Rejected int     `json:"rejected"`
	Repeated int     `json:"repeated"` // rejected for being equal to an earlier candidate
	Blank    int     `json:"blank"`    // rejected for having a single colour
	RejectAt float64 `json:"reject_at"`
	// TransformedRejectAt is the same for real images mirrored, turned and shifted.
	TransformedRejectAt float64 `json:"transformed_reject_at"`
	// DisguisedRejectAt is 0 where nobody looked for copies in disguise.
	DisguisedRejectAt float64   `json:"disguised_reject_at,omitempty"`
	TailAt            float64   `json:"tail_at"`
	TailShare         float64   `json:"tail_share"`
	Transformed       float64   `json:"tail_share_transformed"` // with the real images mirrored, turned and shifted too
	Nearest           float64   `json:"nearest"`                // smallest distance of any candidate
	RealNearest       []float64 `json:"real_nearest"`
	Notes             []string  `json:"notes,omitempty"` // what was sampled or could not be compared
}

// Training is how far it got, rolled back parts left out. Losses and outputs
// are means over the last epoch.
type Training struct {
	Epochs        int     `json:"epochs"`
	Steps         int64   `json:"steps"`
	StepsPerEpoch int     `json:"steps_per_epoch"`
	LossReal      float64 `json:"loss_real"`
	LossFake      float64 `json:"loss_fake"`
	LossG         float64 `json:"loss_g"`
	DReal         float64 `json:"d_real"`
	DFake         float64 `json:"d_fake"`
	// Choice is how the checkpoint was chosen; nil where the last one was taken.
	Choice *Choice `json:"choice,omitempty"`
	// Points are the curves, each a mean over PointSteps steps.
	PointSteps int     `json:"point_steps"`
	Points     []Point `json:"points"`
}

// Choice is the checkpoint that the candidates were drawn from, and every
// comparison with the selection split that it was chosen by.
type Choice struct {
	Epoch       int               `json:"epoch"`
	Step        int64             `json:"step"`
	Reason      string            `json:"reason"`
	Evaluations []step.Evaluation `json:"evaluations"`
}

// Utility is whether the set helps a classifier.
type Utility struct {
	Helps   bool              `json:"helps"`
	Harms   bool              `json:"harms,omitempty"`
	Summary string            `json:"summary"`
	Why     string            `json:"why,omitempty"`   // nothing was compared, and no field below means anything
	Notes   []string          `json:"notes,omitempty"` // what the numbers do not show
	Classes []string          `json:"classes,omitempty"`
	Pairs   int               `json:"pairs,omitempty"`     // trainings of each arm
	Seen    int               `json:"generator,omitempty"` // images that the generator was trained on
	Train   int               `json:"train"`               // real training images, all classes together
	Test    int               `json:"test"`                // test images of a split, all classes together
	Arms    []step.ArmResult  `json:"arms"`
	Gains   []step.GainResult `json:"gains"`
	// TextureGains are a second opinion, by logistic regression over textures.
	TextureGains []step.GainResult `json:"texture_gains,omitempty"`
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
// and their digests. decided is the recipe r with what it leaves to the images
// decided.
func New(class string, r, decided spec.Recipe) (Data, error) {
	settings, err := flatten(decided)
	if err != nil {
		return Data{}, fmt.Errorf("list settings: %w", err)
	}
	return Data{
		Format: Format, Variant: VariantRun, Class: class, Missing: []string{}, Settings: settings,
		Digests: []Digest{
			{Name: digestRecipe, SHA256: spec.Digest(r)},
			{Name: digestTraining, SHA256: decided.TrainingFingerprint()},
		},
	}, nil
}

// ForRelease returns d without what differs between two runs with the same
// content: identifiers, source, times, who approved, and the settings that only
// change the grain of the history, with the digest they enter.
func (d Data) ForRelease() Data {
	d.Variant, d.Run, d.Approval, d.Deadline = VariantRelease, nil, nil, nil
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
	raw, err := json.MarshalIndent(d.worded(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	return append(raw, '\n'), nil
}

// worded is d with what follows from it in words.
func (d Data) worded() Data {
	d.Missing, d.Next = d.missing(), d.next()
	if d.Decision != nil {
		decision := *d.Decision
		decision.Warning = d.warning()
		d.Decision = &decision
	}
	return d
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
	add(d.Training == nil && d.Alarm == nil, "Training did not finish a leg: there is no checkpoint.")
	add(d.Alarm != nil, "Training failed: none of its checkpoints is used.")
	add(d.Training != nil && len(d.Training.Points) == 0, "Training left no curves.")
	add(d.Samples == nil, "No candidates were drawn.")
	add(d.Samples != nil && len(d.Samples.Real) == 0, "There are no real images to show beside the candidates.")
	add(d.Distance == nil, "The candidates were not compared with the real images.")
	add(d.Utility != nil && d.Utility.Why != "", "Whether the set helps a classifier was asked for, and could not be measured.")
	add(d.Decision == nil, "No verdict was reached. Nothing may be published.")
	add(d.Decision != nil && len(d.Measures) == 0, "No measures were stored beyond the rules' own.")
	return out
}
