package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

// finest are recipes with one part each of what made the best images, and one of
// all of them, with those they were found with.
func finest() map[string]spec.Recipe {
	all := tiny()
	all.Model.Channels, all.Model.Size, all.Model.Generator, all.Model.GeneratorNoise = 1, 64, spec.GeneratorUpsample, true
	all.Model.DiscriminatorNorm, all.Train.Loss = spec.NormNone, spec.LossHinge
	all.Train.Beta1, all.Train.Beta2 = 0, 0.9
	all.Train.Augment, all.Train.RealAugment = "flip,shift", "flip"
	all.Train.AverageImages = 10_000
	out := map[string]spec.Recipe{}
	for name, change := range map[string]func(*spec.Recipe){
		"fine":   func(r *spec.Recipe) { r.Model.Generator, r.Model.GeneratorFine = spec.GeneratorUpsample, 3 },
		"both":   func(r *spec.Recipe) { r.Model.DiscriminatorHead = spec.HeadBoth },
		"spread": func(r *spec.Recipe) { r.Model.MinibatchStddev = true },
	} {
		r := tiny()
		change(&r)
		change(&all)
		out[name] = r
	}
	all.Train.Decay = spec.DecayLate
	out["finest"] = all
	return out
}

func TestDecaysOfTheRates(t *testing.T) {
	for decay, want := range map[string][]float64{
		spec.DecayNone:   {1, 1, 1, 1, 1},
		spec.DecayLinear: {1, 0.75, 0.5, 0.25, 0},
		spec.DecayLate:   {1, 1, 1, 0.5, 0.02},
	} {
		r := tiny()
		r.Train.Decay = decay
		g := newGAN(t, r)
		g.Trains(40)
		for i, share := range want {
			g.steps = int64(10 * i)
			require.InDelta(t, share, g.decay(), 1e-12, "%s after %d of 40 steps", decay, g.steps)
			require.InDelta(t, share*r.Train.GeneratorRate, g.adamStep(g.generator).Rate, 1e-12)
		}
	}
}
