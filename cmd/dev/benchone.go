package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// benchOneCommand is our side of the comparison, in a process of its own so
// that its peak memory is its own.
func benchOneCommand() *cobra.Command {
	r := spec.Classic()
	steps, threads := 5, 2
	c := &cobra.Command{
		Use:    "bench-one",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			kernel.SetThreads(threads)
			t, err := benchOne(r, steps)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(t)
		},
	}
	f := c.Flags()
	f.IntVar(&r.Model.GeneratorDepth, "gdepth", r.Model.GeneratorDepth, "generator's depth")
	f.IntVar(&r.Model.DiscriminatorDepth, "ddepth", r.Model.DiscriminatorDepth, "discriminator's depth")
	f.IntVar(&r.Train.Batch, "batch", r.Train.Batch, "images per step")
	f.IntVar(&steps, "steps", steps, "timed steps")
	f.IntVar(&threads, "threads", threads, "threads")
	return c
}

func benchOne(r spec.Recipe, steps int) (timing, error) {
	r.Sample.StatisticsBatches = 0
	gan, err := model.New(r)
	if err != nil {
		return timing{}, fmt.Errorf("build networks: %w", err)
	}
	defer gan.Close()
	real := make([]float32, r.Train.Batch*spec.ImageLen)
	kernel.NewStream(r.Seed, "bench", 0).Uniform(real, -1, 1)
	step, err := timed(steps, func(int) error {
		_, err := gan.Step(real)
		return err
	})
	if err != nil {
		return timing{}, err
	}
	sampler, err := model.NewSampler(gan, r)
	if err != nil {
		return timing{}, err
	}
	defer sampler.Close()
	// Whole groups of eight, the sampler's own unit, like a long sampling.
	const images = 24
	sample, err := timed(steps, func(i int) error {
		_, err := sampler.Images(i*images, images)
		return err
	})
	if err != nil {
		return timing{}, err
	}
	memory, err := peakMemory()
	if err != nil {
		return timing{}, err
	}
	return timing{Version: kernel.Features(), Step: step, Sample: images / sample, Memory: memory}, nil
}

// timed is the median time of n calls, in seconds, after one to warm up.
func timed(n int, do func(i int) error) (float64, error) {
	var seconds []float64
	for i := range n + 1 {
		start := time.Now()
		if err := do(i); err != nil {
			return 0, err
		}
		seconds = append(seconds, time.Since(start).Seconds())
	}
	seconds = seconds[1:]
	slices.Sort(seconds)
	return seconds[len(seconds)/2], nil
}
