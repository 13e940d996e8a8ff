package step

import (
	"time"

	"github.com/defectforge/defectforge/model/spec"
)

// The stages, in the order in which an augmentation runs them.
const (
	Ingest       Step[IngestInput, IngestResult]         = "Ingest"
	Preprocess   Step[PreprocessInput, PreprocessResult] = "Preprocess"
	Train        Step[TrainInput, TrainResult]           = "Train"
	Evaluate     Step[EvaluateInput, EvaluateResult]     = "Evaluate"
	Choose       Step[ChooseInput, ChooseResult]         = "Choose"
	Sample       Step[SampleInput, SampleResult]         = "Sample"
	CheckOverfit Step[OverfitInput, OverfitResult]       = "CheckOverfit"
	Utility      Step[UtilityInput, UtilityResult]       = "Utility"
	Assess       Step[AssessInput, AssessResult]         = "Assess"
	Report       Step[ReportInput, ReportResult]         = "Report"
	Notify       Step[NotifyInput, NotifyResult]         = "Notify"
	Publish      Step[PublishInput, PublishResult]       = "Publish"
	RecordRun    Step[RecordRunInput, RecordRunResult]   = "RecordRun"
)

// The task queues of a deployment: one for workflows and activities that wait
// for the store, one for activities that compute (Train, Evaluate, Sample, Utility).
const (
	Queue         = "defectforge"
	TrainingQueue = "defectforge-training"
)

// Permanent failures, the types of non-retryable application errors.
const (
	ErrBadInput          = "BadInput"          // a field that no retry can mend
	ErrTooFewImages      = "TooFewImages"      // not enough usable images
	ErrDiverged          = "Diverged"          // NaN or Inf in training
	ErrCorrupt           = "Corrupt"           // bytes that differ from their digest
	ErrReleaseConflict   = "ReleaseConflict"   // other content under the same release
	ErrCheckpointForeign = "CheckpointForeign" // a checkpoint of another recipe
	ErrUnstable          = "Unstable"          // alarms in training after every try
)

// Ref names one stored object: its key in the bucket, and its content.
type Ref struct {
	Key    string `json:"key"`
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // bytes
}

// IsZero reports whether r names nothing.
func (r Ref) IsZero() bool { return r.Key == "" }

// Run names the workflow execution an artifact belongs to.
type Run struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
}

// Source is where the real images lie.
type Source struct {
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`
}

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
}

type PreprocessInput struct {
	Dataset Ref    `json:"dataset"`
	Source  Source `json:"source"`
	// Refresh: the stage is done even where an earlier result would be found.
	Refresh bool `json:"refresh,omitempty"`
}

type PreprocessResult struct {
	// Tensors is the index of the shards.
	Tensors  Ref `json:"tensors"`
	Training int `json:"training"`
	Holdout  int `json:"holdout"`
	// Selection images choose the checkpoint; they are neither trained on nor
	// held out for the approval.
	Selection int  `json:"selection"`
	Cached    bool `json:"cached"` // an unchanged data set was found, not redone
}

type TrainInput struct {
	Run       Run         `json:"run"`
	Tensors   Ref         `json:"tensors"`
	Recipe    spec.Recipe `json:"recipe"`
	FromEpoch int         `json:"from_epoch"` // epochs already done
	ToEpoch   int         `json:"to_epoch"`   // epochs done at the end
	// Checkpoint is the state after FromEpoch epochs, Curves its losses so far;
	// zero at the start.
	Checkpoint Ref `json:"checkpoint"`
	Curves     Ref `json:"curves"`
	// Superseded are checkpoints of this run that may go once this leg's own
	// checkpoint is stored.
	Superseded []Ref `json:"superseded,omitempty"`
	// Rollbacks are the alarms so far, oldest first. Each halves the
	// discriminator's rate from its ToEpoch on.
	Rollbacks []Rollback `json:"rollbacks,omitempty"`
	// Evaluated: the state after every leg is evaluated, and Choose ends the
	// training. Else its end is the state after the last epoch.
	Evaluated bool `json:"evaluated,omitempty"`
	// Refresh: the stage is done even where an earlier result would be found.
	Refresh bool `json:"refresh,omitempty"`
}

// Alarms of a training, the values of Alarm.Kind.
const (
	AlarmDiverged    = "diverged"    // NaN or Inf
	AlarmOverpowered = "overpowered" // D wins, and G learns nothing
	AlarmCollapsed   = "collapsed"   // generated images hardly differ
	AlarmMemorising  = "memorising"  // D is sure of every real image
)

// Alarm is a monitor's finding.
type Alarm struct {
	Kind      string  `json:"kind"`
	Epoch     int     `json:"epoch"` // 1-based, in which it was found
	Step      int64   `json:"step"`
	Value     float64 `json:"value"`     // what was measured, in the monitor's unit
	Threshold float64 `json:"threshold"` // of the recipe
	Reason    string  `json:"reason"`    // in words
}

// Rollback is an alarm and what was done: training went back to the state after
// ToEpoch epochs, with DiscriminatorScale times the recipe's rate for D.
type Rollback struct {
	Alarm              Alarm   `json:"alarm"`
	ToEpoch            int     `json:"to_epoch"`
	DiscriminatorScale float64 `json:"discriminator_scale"`
}

// TrainResult is the state after Epoch epochs. Epoch may lie beyond the input's
// ToEpoch where an earlier run of the same training left a later state.
type TrainResult struct {
	Found
	Checkpoint Ref     `json:"checkpoint"`
	Curves     Ref     `json:"curves"` // losses of every step so far, as JSON
	Epoch      int     `json:"epoch"`
	Step       int64   `json:"step"`
	LossReal   float64 `json:"loss_real"` // means over the last epoch
	LossFake   float64 `json:"loss_fake"`
	LossG      float64 `json:"loss_g"`
	DReal      float64 `json:"d_real"` // mean D(x)
	DFake      float64 `json:"d_fake"` // mean D(G(z))
	// ImagesPerSecond is what this attempt reached, 0 if nothing was left to do.
	ImagesPerSecond float64 `json:"images_per_second"`
	// Alarm, where set, says why the leg ended: its state is not to be used, and
	// all fields above are zero.
	Alarm *Alarm `json:"alarm,omitempty"`
	// Chosen, where set, is the outcome of an earlier run of the same training,
	// chosen already: nothing is left to train.
	Chosen *Choice `json:"chosen,omitempty"`
}

// Choice is how a training ended: which checkpoint was chosen, and why.
type Choice struct {
	Checkpoint  Ref          `json:"checkpoint"`
	Curves      Ref          `json:"curves"` // of the whole training, rolled back parts cut out
	Epoch       int          `json:"epoch"`  // of the checkpoint
	Step        int64        `json:"step"`
	Evaluations []Evaluation `json:"evaluations"`
	Rollbacks   []Rollback   `json:"rollbacks"`
	LastEpoch   int          `json:"last_epoch"` // at which training ended
	Reason      string       `json:"reason"`     // why this checkpoint, in words
}

// Evaluation is one checkpoint's comparison with the selection split.
type Evaluation struct {
	Epoch int   `json:"epoch"`
	Step  int64 `json:"step"`
	// KID is the mean of both feature spaces' kernel inception distances between
	// generated and selection images, each over the distance of its first
	// evaluation in this training, so that both count alike; KIDPixels and
	// KIDTexture are the distances themselves.
	KID        float64 `json:"kid"`
	KIDPixels  float64 `json:"kid_pca"`
	KIDTexture float64 `json:"kid_texture"`
	// Spread is the generated images' mean pairwise distance over the real ones'.
	Spread float64 `json:"spread"`
}

// EvaluateInput asks for a checkpoint's comparison with the selection split.
type EvaluateInput struct {
	Checkpoint Ref         `json:"checkpoint"`
	Tensors    Ref         `json:"tensors"`
	Recipe     spec.Recipe `json:"recipe"`
	Epoch      int         `json:"epoch"`
	Step       int64       `json:"step"`
	// First is the training's first evaluation, zero for that one itself.
	First Evaluation `json:"first"`
	// Widest is the largest Spread of the evaluations so far.
	Widest float64 `json:"widest,omitempty"`
	// Refresh: the stage is done even where an earlier result would be found.
	Refresh bool `json:"refresh,omitempty"`
}

// EvaluateResult is the evaluation, and an alarm where a monitor of it fires.
type EvaluateResult struct {
	Found
	Evaluation Evaluation `json:"evaluation"`
	Alarm      *Alarm     `json:"alarm,omitempty"`
}

// ChooseInput ends a training: Checkpoint is kept by its content, and later runs
// of the same training find the choice.
type ChooseInput struct {
	Run     Run         `json:"run"`
	Tensors Ref         `json:"tensors"`
	Recipe  spec.Recipe `json:"recipe"`
	Choice  Choice      `json:"choice"`
	// Train is the state that Choice.Checkpoint belongs to.
	Train TrainResult `json:"train"`
	// Superseded are the run's checkpoints that may go.
	Superseded []Ref `json:"superseded,omitempty"`
}

// ChooseResult is the choice with references that stay.
type ChooseResult struct {
	Choice Choice `json:"choice"`
}

// Progress is the heartbeat of the stages that count things. Total is 0 while
// it is unknown.
type Progress struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// TrainProgress is the heartbeat of a training leg, and what a retry resumes
// from.
type TrainProgress struct {
	Checkpoint      Ref     `json:"checkpoint"` // newest durable state of this leg
	Curves          Ref     `json:"curves"`     // the losses that belong to it
	Epoch           int     `json:"epoch"`      // 1-based, of Epochs
	Epochs          int     `json:"epochs"`
	Step            int64   `json:"step"` // 1-based, of Steps, over the whole training
	Steps           int64   `json:"steps"`
	LossReal        float64 `json:"loss_real"`
	LossFake        float64 `json:"loss_fake"`
	LossG           float64 `json:"loss_g"`
	DReal           float64 `json:"d_real"`
	DFake           float64 `json:"d_fake"`
	ImagesPerSecond float64 `json:"images_per_second"`
	SecondsLeft     float64 `json:"seconds_left"` // of the whole training
}

type SampleInput struct {
	Checkpoint Ref         `json:"checkpoint"`
	Recipe     spec.Recipe `json:"recipe"`
	// Refresh: the stage is done even where an earlier result would be found.
	Refresh bool `json:"refresh,omitempty"`
}

type SampleResult struct {
	Found
	// Candidates lists the images, in order: a CandidateList as JSON.
	Candidates Ref `json:"candidates"`
	Count      int `json:"count"`
}

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

type AssessInput struct {
	Ingest  IngestResult  `json:"ingest"`
	Sample  SampleResult  `json:"sample"`
	Check   OverfitResult `json:"check"`
	Tensors Ref           `json:"tensors"`
	Dataset Ref           `json:"dataset"`
	// Policy decides; its rules name the measures.
	Policy  spec.Policy   `json:"policy"`
	Utility UtilityResult `json:"utility"`
	Seed    uint64        `json:"seed"` // of subsamples, bootstraps and projections
}

// Verdicts, and the outcomes of single rules.
const (
	Pass         = "pass"
	Fail         = "fail"
	Inconclusive = "inconclusive"
)

// Rule is one line of the decision.
type Rule struct {
	Name    string  `json:"name"` // the measure's
	Value   float64 `json:"value"`
	Outcome string  `json:"outcome"` // Pass, Fail or Inconclusive
	Reason  string  `json:"reason"`
	// Threshold is the bound that Value is nearest to; Side is "min" or "max".
	Threshold float64 `json:"threshold"`
	Side      string  `json:"side"`
	// Low and High bound the value where it has an interval, at 95%.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	// Reference is the same measure of real images against real ones.
	Reference *float64 `json:"reference,omitempty"`
}

type AssessResult struct {
	Verdict string `json:"verdict"`
	// Scope says what was judged, in words, so that nobody reads more into it.
	Scope  string `json:"scope"`
	Policy string `json:"policy"` // its name
	Rules  []Rule `json:"rules"`
	// Measures holds every measure that was taken, bounded by a rule or not: a
	// Measures document as JSON.
	Measures Ref `json:"measures"`
}

// StageTime is how long a stage took, in seconds.
type StageTime struct {
	Stage   string  `json:"stage"`
	Seconds float64 `json:"seconds"`
	// Cached: every call of the stage found an earlier result.
	Cached bool `json:"cached,omitempty"`
}

// Outcome gathers what the stages of one run made. Later stages' fields are
// zero where a run ended earlier.
type Outcome struct {
	Run        Run              `json:"run"`
	Class      string           `json:"class"`
	Source     Source           `json:"source"`
	Recipe     spec.Recipe      `json:"recipe"`
	Ingest     IngestResult     `json:"ingest"`
	Preprocess PreprocessResult `json:"preprocess"`
	Train      TrainResult      `json:"train"`
	Sample     SampleResult     `json:"sample"`
	Check      OverfitResult    `json:"check"`
	Assess     AssessResult     `json:"assess"`
	Policy     spec.Policy      `json:"policy"`
	// Choice is how the checkpoint was chosen; nil where the last one was taken.
	Choice *Choice `json:"choice,omitempty"`
	// Rollbacks are the alarms of this run's training.
	Rollbacks []Rollback    `json:"rollbacks,omitempty"`
	Utility   UtilityResult `json:"utility"`
	Approval  Approval      `json:"approval"`
	// Deadline is until when a person may approve the set; nil where none is asked.
	Deadline *time.Time  `json:"deadline,omitempty"`
	Times    []StageTime `json:"times"`
	// Unpublished: what passes is compared, not published.
	Unpublished bool `json:"unpublished,omitempty"`
	// Rerun is set where the run repeats another one.
	Rerun *Rerun `json:"rerun,omitempty"`
}

type ReportInput struct {
	Outcome Outcome `json:"outcome"`
}

// ReportResult names both editions of the report: the run's report tells times and run identifiers; the
// release's leaves them out, so that equal content gives equal bytes.
type ReportResult struct {
	HTML        Ref `json:"html"`
	JSON        Ref `json:"json"`
	ReleaseHTML Ref `json:"release_html"`
	ReleaseJSON Ref `json:"release_json"`
}

type PublishInput struct {
	Class      string       `json:"class"`
	Candidates Ref          `json:"candidates"`
	Neighbours Ref          `json:"neighbours"`
	Checkpoint Ref          `json:"checkpoint"`
	Dataset    Ref          `json:"dataset"`
	Assess     AssessResult `json:"assess"`
	Recipe     spec.Recipe  `json:"recipe"`
	Policy     spec.Policy  `json:"policy,omitzero"`
	Report     ReportResult `json:"report"`
	Approval   Approval     `json:"approval"`
	// Utility is told on the card, and its scores are published.
	Utility UtilityResult `json:"utility"`
}

type PublishResult struct {
	Release        string `json:"release"` // name below releases/<class>/
	Prefix         string `json:"prefix"`  // releases/<class>/<release>
	ManifestSHA256 string `json:"manifest_sha256"`
	Images         int    `json:"images"`
	Sequence       int64  `json:"sequence"` // of latest.json when it named this release
}

type RecordRunInput struct {
	Outcome Outcome       `json:"outcome"`
	Report  ReportResult  `json:"report"`
	Publish PublishResult `json:"publish"`
	Verdict string        `json:"verdict"`
	// Failure says why a run failed that could still be recorded.
	Failure string `json:"failure,omitempty"`
	// UtilityPlan is what the run was asked to compare; nil where nothing.
	UtilityPlan *UtilityPlan `json:"utility_plan,omitempty"`
}

type RecordRunResult struct {
	Record Ref `json:"record"` // runs/<workflow>/<run>/run.json
	Report Ref `json:"report"` // runs/<workflow>/<run>/report.html
}
