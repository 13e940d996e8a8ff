package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

// How long a calibration may take. A step that has begun is finished, and three
// are tried at least.
const (
	calibration = 4 * time.Second
	minTried    = 3
	maxTried    = 40
	drawn       = 8 // pictures that are drawn to time and weigh them
)

// estimate is how long a run takes on this machine, in seconds, and what it
// stores, in bytes.
type estimate struct {
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

// estimate tries some steps of the recipe and extrapolates. f is what the run
// would find, nil where that is not known.
func (p *program) estimate(ctx context.Context, j job, f *activities.Forecast) (*estimate, error) {
	p.say("trying some training steps, a few seconds...")
	kernel.SetThreads(p.threads())
	e := &estimate{}
	e.count(j, f)
	c, err := calibrate(ctx, j.recipe)
	if err != nil {
		return nil, fmt.Errorf("try a training step: %w", err)
	}
	e.Tried, e.StepLow, e.StepHigh = len(c.steps), c.steps[0], c.steps[len(c.steps)-1]
	e.StepSeconds = c.steps[len(c.steps)/2]
	e.Training = float64(e.Steps) * e.StepSeconds
	r := j.recipe
	pictures := 0
	if !found(f, step.Sample.String()) {
		pictures = r.Sample.Count
	}
	if r.Ingest.SelectionShare > 0 && e.Steps > 0 {
		pictures += r.Monitor.Images * ((r.Train.Epochs + r.Train.LegEpochs - 1) / r.Train.LegEpochs)
	}
	e.Sampling = float64(pictures) * c.picture
	e.Seconds = e.Training + e.Sampling
	e.Low = float64(e.Steps)*e.StepLow + e.Sampling
	e.High = float64(e.Steps)*e.StepHigh + e.Sampling
	e.store(r, f, c)
	return e, nil
}

// count fills in how much there is to train.
func (e *estimate) count(j job, f *activities.Forecast) {
	epochs := j.recipe.Train.Epochs
	if f != nil {
		e.Images = f.Ingest.Training
		epochs -= f.Epochs
	} else {
		e.Guessed = true
		e.Images = int(float64(j.files()) * (1 - j.recipe.Ingest.HoldoutShare - j.recipe.Ingest.SelectionShare))
	}
	e.Steps = int64(epochs) * int64(len(model.Batches(j.recipe, e.Images, 0)))
}

// store fills in what is stored: nothing for what is found.
func (e *estimate) store(r spec.Recipe, f *activities.Forecast, c calibrated) {
	usable := float64(e.Images) / max(1-r.Ingest.HoldoutShare-r.Ingest.SelectionShare, 0.4)
	if f != nil {
		usable = float64(f.Ingest.Usable)
	}
	if !found(f, step.Preprocess.String()) {
		e.TensorBytes = int64(usable) * spec.ImageLen
	}
	if e.Steps > 0 {
		// Those that are kept, one being written, and two within a leg.
		e.CheckpointPeak = int64(r.Train.KeepCheckpoints+3) * c.checkpoint
		e.CheckpointBytes = int64(max(r.Train.KeepCheckpoints, 1)) * c.checkpoint
	}
	set := int64(r.Sample.Count) * c.png
	if !found(f, step.Sample.String()) {
		e.CandidateBytes = set
	}
	const report = 3 << 20
	e.ReleaseBytes = 2*set + report // the images and their shards
}

func found(f *activities.Forecast, stage string) bool {
	return f != nil && slices.ContainsFunc(f.Found, func(s activities.FoundStage) bool { return s.Stage == stage && s.Found })
}

// calibrated is what this machine does with a recipe's networks.
type calibrated struct {
	steps      []float64 // seconds of each step, sorted
	picture    float64   // seconds
	png        int64     // bytes of a picture
	checkpoint int64     // bytes
}

// weigh counts bytes.
type weigh int64

func (w *weigh) Write(b []byte) (int, error) {
	*w += weigh(len(b))
	return len(b), nil
}

// calibrate trains for some seconds, and draws some pictures.
func calibrate(ctx context.Context, r spec.Recipe) (calibrated, error) {
	var c calibrated
	gan, err := model.New(r)
	if err != nil {
		return c, err
	}
	defer gan.Close()
	raw := make([]uint8, r.Train.Batch*spec.ImageLen)
	for i := range raw { // what they show does not matter for the time
		raw[i] = uint8(i*31 ^ i>>7)
	}
	batch := model.FromRGB(nil, raw, r.Model)
	gan.Trains(maxTried)
	began := time.Now()
	for i := 0; i <= minTried || i <= maxTried && time.Since(began) < calibration; i++ {
		if err := ctx.Err(); err != nil {
			return c, context.Cause(ctx)
		}
		start := time.Now()
		if _, err := gan.Step(batch); err != nil {
			return c, err
		}
		if i > 0 { // the first one builds what the others use
			c.steps = append(c.steps, time.Since(start).Seconds())
		}
	}
	slices.Sort(c.steps)
	var size weigh
	if err := gan.Save(&size); err != nil {
		return c, err
	}
	c.checkpoint = int64(size)
	sampler, err := model.NewSampler(gan, r)
	if err != nil {
		return c, err
	}
	defer sampler.Close()
	start := time.Now()
	pixels, err := sampler.Images(0, drawn)
	if err != nil {
		return c, err
	}
	pixels = model.ToRGB(pixels, r.Model)
	c.picture = time.Since(start).Seconds() / drawn
	for i := range drawn {
		png, err := picture.EncodePNG(pixels[i*spec.ImageLen : (i+1)*spec.ImageLen])
		if err != nil {
			return c, err
		}
		c.png += int64(len(png)) / drawn
	}
	return c, nil
}
