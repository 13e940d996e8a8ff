package step

import (
	"github.com/defectforge/defectforge/model/spec"
)

// The stages, in the order in which an augmentation runs them.
const (
	Ingest       Step[IngestInput, IngestResult]         = "Ingest"
	Preprocess   Step[PreprocessInput, PreprocessResult] = "Preprocess"
	Train        Step[TrainInput, TrainResult]           = "Train"
	Sample       Step[SampleInput, SampleResult]         = "Sample"
	CheckOverfit Step[OverfitInput, OverfitResult]       = "CheckOverfit"
	Assess       Step[AssessInput, AssessResult]         = "Assess"
	Report       Step[ReportInput, ReportResult]         = "Report"
	Publish      Step[PublishInput, PublishResult]       = "Publish"
	RecordRun    Step[RecordRunInput, RecordRunResult]   = "RecordRun"
)

// The task queues of a deployment: one for workflows and activities that wait
// for the store, one for activities that compute (Train, Sample).
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
}

type PreprocessInput struct {
	Dataset Ref    `json:"dataset"`
	Source  Source `json:"source"`
}

type PreprocessResult struct {
	// Tensors is the index of the shards.
	Tensors  Ref  `json:"tensors"`
	Training int  `json:"training"`
	Holdout  int  `json:"holdout"`
	Cached   bool `json:"cached"` // an unchanged data set was found, not redone
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
}

// TrainResult is the state after Epoch epochs. Epoch may lie beyond the input's
// ToEpoch where an earlier run of the same training left a later state.
type TrainResult struct {
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
}

type SampleResult struct {
	// Candidates lists the images, in order: a CandidateList as JSON.
	Candidates Ref `json:"candidates"`
	Count      int `json:"count"`
}

type OverfitInput struct {
	Candidates Ref          `json:"candidates"`
	Dataset    Ref          `json:"dataset"`
	Tensors    Ref          `json:"tensors"`
	Overfit    spec.Overfit `json:"overfit"`
}

type OverfitResult struct {
	// Neighbours holds every candidate's nearest real images and outcome.
	Neighbours Ref `json:"neighbours"`
	// Sheet is a PNG of candidates beside their nearest real images.
	Sheet     Ref     `json:"sheet"`
	Accepted  int     `json:"accepted"`
	Rejected  int     `json:"rejected"`
	RejectAt  float64 `json:"reject_at"` // distance below which a candidate is rejected
	TailAt    float64 `json:"tail_at"`   // distance of the tail test
	TailShare float64 `json:"tail_share"`
	Nearest   float64 `json:"nearest"` // smallest distance of any candidate
	Real      int     `json:"real"`    // real images compared with
	// Repeated candidates are pixel for pixel the same as an earlier one, Blank
	// ones have a single colour; both are rejected.
	Repeated int `json:"repeated"`
	Blank    int `json:"blank"`
}

type AssessInput struct {
	Ingest  IngestResult  `json:"ingest"`
	Sample  SampleResult  `json:"sample"`
	Check   OverfitResult `json:"check"`
	Overfit spec.Overfit  `json:"overfit"`
}

// Verdicts, and the outcomes of single rules.
const (
	Pass         = "pass"
	Fail         = "fail"
	Inconclusive = "inconclusive"
)

// Rule is one line of the decision.
type Rule struct {
	Name      string  `json:"name"`
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`
	Outcome   string  `json:"outcome"` // Pass, Fail or Inconclusive
	Reason    string  `json:"reason"`
}

type AssessResult struct {
	Verdict string `json:"verdict"`
	// Scope says what was judged, in words, so that nobody reads more into it.
	Scope string `json:"scope"`
	Rules []Rule `json:"rules"`
}

// StageTime is how long a stage took, in seconds.
type StageTime struct {
	Stage   string  `json:"stage"`
	Seconds float64 `json:"seconds"`
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
	Times      []StageTime      `json:"times"`
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
	Report     ReportResult `json:"report"`
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
}

type RecordRunResult struct {
	Record Ref `json:"record"` // runs/<workflow>/<run>/run.json
	Report Ref `json:"report"` // runs/<workflow>/<run>/report.html
}
