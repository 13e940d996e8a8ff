package activities

import (
	"slices"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/spec"
)

// Estimate is how long a run takes on a machine, in seconds, and what it stores,
// in bytes.
type Estimate struct {
	Images      int     `json:"images"` // for training; a guess where the images were not looked at
	Guessed     bool    `json:"guessed"`
	Steps       int64   `json:"steps"` // left to train
	Tried       int     `json:"tried"` // steps of the calibration
	StepSeconds float64 `json:"step_seconds"`
	StepLow     float64 `json:"step_low"`
	StepHigh    float64 `json:"step_high"`
	Training    float64 `json:"training_seconds"`
	Sampling    float64 `json:"sampling_seconds"`
	// Seconds are training, its evaluations and sampling together; Low and High
	// take the fastest and the slowest step that was tried for all.
	Seconds         float64 `json:"seconds"`
	Low             float64 `json:"low"`
	High            float64 `json:"high"`
	TensorBytes     int64   `json:"tensor_bytes"`
	CheckpointPeak  int64   `json:"checkpoint_peak_bytes"`
	CheckpointBytes int64   `json:"checkpoint_bytes"`
	CandidateBytes  int64   `json:"candidate_bytes"`
	ReleaseBytes    int64   `json:"release_bytes"`
}

// EstimateRun extrapolates from what the machine does with the recipe's networks.
// f is what the run would find; without it, files is how many images there are,
// all of which are taken to be usable.
func EstimateRun(r spec.Recipe, files int, f *Forecast, c model.Calibration) Estimate {
	var e Estimate
	e.lookAtImages(r, files, f)
	r = r.ForImages(spec.Images{Training: e.Images})
	e.count(r, f)
	e.Tried, e.StepLow, e.StepHigh = len(c.Steps), c.Steps[0], c.Steps[len(c.Steps)-1]
	e.StepSeconds = c.Steps[len(c.Steps)/2]
	e.Training = float64(e.Steps) * e.StepSeconds
	images := 0
	if !f.finds(step.Sample.String()) {
		images = r.Sample.Count
	}
	if r.Ingest.SelectionShare > 0 && e.Steps > 0 {
		images += r.Monitor.Images * r.Train.Legs()
	}
	e.Sampling = float64(images) * c.Image
	e.Seconds = e.Training + e.Sampling
	e.Low = float64(e.Steps)*e.StepLow + e.Sampling
	e.High = float64(e.Steps)*e.StepHigh + e.Sampling
	e.weigh(r, f, c)
	return e
}

// lookAtImages fills in how many there are for training.
func (e *Estimate) lookAtImages(r spec.Recipe, files int, f *Forecast) {
	if f != nil {
		e.Images = f.Ingest.Training
		return
	}
	e.Guessed = true
	e.Images = int(float64(files) * (1 - r.Ingest.HoldoutShare - r.Ingest.SelectionShare))
}

// count fills in how much there is to train.
func (e *Estimate) count(r spec.Recipe, f *Forecast) {
	epochs := r.Train.Epochs
	if f != nil {
		epochs -= f.Epochs
	}
	e.Steps = int64(epochs) * int64(len(model.Batches(r, e.Images, 0)))
}

// weigh fills in what is stored: nothing for what is found.
func (e *Estimate) weigh(r spec.Recipe, f *Forecast, c model.Calibration) {
	usable := float64(e.Images) / max(1-r.Ingest.HoldoutShare-r.Ingest.SelectionShare, 0.4)
	if f != nil {
		usable = float64(f.Ingest.Usable)
	}
	if !f.finds(step.Preprocess.String()) {
		e.TensorBytes = int64(usable) * spec.ImageLen
	}
	if e.Steps > 0 {
		// Those that are kept, one being written, and two within a leg.
		e.CheckpointPeak = int64(r.Train.KeepCheckpoints+3) * c.Checkpoint
		e.CheckpointBytes = int64(max(r.Train.KeepCheckpoints, 1)) * c.Checkpoint
	}
	set := int64(r.Sample.Count) * c.PNG
	if !f.finds(step.Sample.String()) {
		e.CandidateBytes = set
	}
	const report = 3 << 20
	e.ReleaseBytes = 2*set + report // the images and their shards
}

// finds reports whether a stage's result is there. Without a forecast none is.
func (f *Forecast) finds(stage string) bool {
	return f != nil && slices.ContainsFunc(f.Found, func(s FoundStage) bool { return s.Stage == stage && s.Found })
}
