package main

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// benchOneCommand is our side of the comparisons, in processes of their own so
// that peak memory is each one's own.
func benchOneCommand() *cobra.Command {
	threads := 2
	c := &cobra.Command{
		Use:    "bench-one",
		Hidden: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			runtime.GOMAXPROCS(threads)
			kernel.SetThreads(threads)
		},
	}
	c.PersistentFlags().IntVar(&threads, "threads", threads, "threads")
	r, steps := spec.Classic(), 5
	training := side("training", cobra.NoArgs, func([]string) (any, error) { return benchTraining(r, steps) })
	f := training.Flags()
	f.IntVar(&r.Model.GeneratorDepth, "gdepth", r.Model.GeneratorDepth, "generator's depth")
	f.IntVar(&r.Model.DiscriminatorDepth, "ddepth", r.Model.DiscriminatorDepth, "discriminator's depth")
	f.IntVar(&r.Train.Batch, "batch", r.Train.Batch, "images per step")
	f.IntVar(&steps, "steps", steps, "timed steps")
	c.AddCommand(training,
		side("peak", cobra.NoArgs, func([]string) (any, error) { return benchPeak() }),
		side("search", cobra.ExactArgs(1), func(args []string) (any, error) { return benchSearch(args[0]) }),
		side("preprocessing", cobra.ExactArgs(1), func(args []string) (any, error) { return benchPreprocessing(args[0], threads) }))
	return c
}

// side is a command that prints what do returns.
func side(name string, args cobra.PositionalArgs, do func(args []string) (any, error)) *cobra.Command {
	return &cobra.Command{
		Use:  name,
		Args: args,
		RunE: func(_ *cobra.Command, args []string) error {
			result, err := do(args)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(result)
		},
	}
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
