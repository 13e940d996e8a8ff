package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// depths are the generator's and discriminator's that are compared.
var depths = [][2]int{{64, 128}, {32, 32}}

// trainingRun is what one side prints; the names are the peer's.
type trainingRun struct {
	Step   float64 `json:"step_seconds_median"`
	Sample float64 `json:"sample_images_per_second"`
	Memory float64 `json:"peak_rss_mib"`
	Work   float64 `json:"step_flops"` // ours alone: by the direct algorithm
}

// peakRun is a measurement of the processor.
type peakRun struct {
	Features string  `json:"features"`
	Rate     float64 `json:"flops_per_second"`
}

// trainingRuns are the rounds at one depth.
type trainingRuns struct {
	ours, peer []trainingRun
	peak       []peakRun
}

// training compares training and sampling with PyTorch, and with the processor.
func (b *benchmark) training(ctx context.Context) ([]ratio, error) {
	var rows []ratio
	for _, d := range depths {
		at := fmt.Sprintf("%d/%d", d[0], d[1])
		shape := []string{"--gdepth", strconv.Itoa(d[0]), "--ddepth", strconv.Itoa(d[1]), "--batch", strconv.Itoa(b.batch),
			"--steps", strconv.Itoa(b.steps)}
		var runs trainingRuns
		for round := range b.rounds {
			b.progress("training "+at, round)
			if err := b.trainingRound(ctx, &runs, shape); err != nil {
				return nil, err
			}
		}
		rows = append(rows, runs.rows(at, b.versions[pyTorch], b.threads)...)
	}
	return rows, nil
}

func (b *benchmark) trainingRound(ctx context.Context, runs *trainingRuns, shape []string) error {
	run, err := ours[trainingRun](ctx, b, append([]string{"training"}, shape...)...)
	if err != nil {
		return err
	}
	runs.ours = append(runs.ours, run)
	peak, err := ours[peakRun](ctx, b, "peak")
	if err != nil {
		return err
	}
	runs.peak = append(runs.peak, peak)
	if !b.has(pyTorch) {
		return nil
	}
	args := append([]string{b.script, "bench", "--threads", strconv.Itoa(b.threads)}, shape...)
	if run, err = measure[trainingRun](ctx, b, b.python, args); err != nil {
		return err
	}
	runs.peer = append(runs.peer, run)
	return nil
}

func (r trainingRuns) rows(at, version string, threads int) []ratio {
	step := func(t trainingRun) float64 { return t.Step }
	sample := func(t trainingRun) float64 { return t.Sample }
	memory := func(t trainingRun) float64 { return t.Memory }
	var rows []ratio
	if len(r.peer) > 0 {
		rows = append(rows,
			less("training step "+at, "s", medianOf(r.ours, step), medianOf(r.peer, step), version),
			more("sampling "+at, "images/s", medianOf(r.ours, sample), medianOf(r.peer, sample), version),
			less("peak memory "+at, "MiB", medianOf(r.ours, memory), medianOf(r.peer, memory), version))
	}
	peak := medianOf(r.peak, func(p peakRun) float64 { return p.Rate })
	return append(rows, more("share of the peak, training step "+at, "GFLOP/s",
		r.ours[0].Work/medianOf(r.ours, step)/1e9, peak/1e9,
		fmt.Sprintf("%s multiply-adds on %d threads", r.peak[0].Features, threads)))
}

// benchTraining is our side of the comparison.
func benchTraining(r spec.Recipe, steps int) (trainingRun, error) {
	r.Sample.StatisticsBatches = 0
	gan, err := model.New(r)
	if err != nil {
		return trainingRun{}, fmt.Errorf("build networks: %w", err)
	}
	defer gan.Close()
	real := make([]float32, r.Train.Batch*r.Model.ImageLen())
	kernel.NewStream(r.Seed, "bench", 0).Uniform(real, -1, 1)
	step, err := timed(steps, func(int) error {
		_, err := gan.Step(real)
		return err
	})
	if err != nil {
		return trainingRun{}, err
	}
	sampler, err := model.NewSampler(gan, r)
	if err != nil {
		return trainingRun{}, err
	}
	defer sampler.Close()
	// Whole groups of eight, the sampler's own unit, like a long sampling.
	const images = 24
	sample, err := timed(steps, func(i int) error {
		_, err := sampler.Images(i*images, images)
		return err
	})
	if err != nil {
		return trainingRun{}, err
	}
	memory, err := peakMemory()
	if err != nil {
		return trainingRun{}, err
	}
	return trainingRun{Step: step, Sample: images / sample, Memory: memory, Work: gan.StepWork()}, nil
}

// benchPeak measures multiply-adds on registers for about a second.
func benchPeak() (peakRun, error) {
	const rounds = 10_000_000
	var work float64
	seconds, err := timed(9, func(int) error {
		work = kernel.Peak(rounds)
		return nil
	})
	return peakRun{Features: kernel.Features(), Rate: work / seconds}, err
}
