package model

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// Some steps with each switch of the recipe, and with many together, beside
// PyTorch's of the same states and draws.
func TestParityOfEachSwitch(t *testing.T) {
	python := os.Getenv(pythonEnv)
	if python == "" || testing.Short() {
		t.Skipf("set %s to a Python with PyTorch", pythonEnv)
	}
	twins := map[string]*twin{}
	arguments := []string{filepath.Join("testdata", "twin.py")}
	for name, r := range techniques() {
		if r.Train.LeCam == 0 && r.Train.AverageImages == 0 { // other tests of parity have these
			w := &twin{T: t, dir: t.TempDir(), gan: newGAN(t, twinned(name, r))}
			w.run()
			twins[name], arguments = w, append(arguments, w.dir)
		}
	}
	out, err := exec.Command(python, arguments...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for name, w := range twins {
		t.Run(name, func(t *testing.T) {
			w.T = t
			w.compare()
		})
	}
}

// twinned is a technique's recipe for networks that take little time and yet have
// layers for Winograd's way.
func twinned(name string, r spec.Recipe) spec.Recipe {
	if name != "channel" { // one is of the size that recipes have by themselves
		r.Model.Size = 64
	}
	r.Train.R1, r.Train.R2 = 1000*r.Train.R1, 1000*r.Train.R2 // small networks have small slopes
	r.Model.GeneratorDepth, r.Model.DiscriminatorDepth = 4, 4
	if r.Model.Generator == spec.GeneratorUpsample {
		r.Model.GeneratorDepth = 8
	}
	return r
}

// twin is a GAN beside PyTorch's.
type twin struct {
	*testing.T
	dir    string
	gan    *GAN
	losses [][]float64
	states []map[string]any // after each step, by the tensors' names
}

func (w *twin) write(name string, b []byte) {
	require.NoError(w, os.WriteFile(filepath.Join(w.dir, name), b, 0o600))
}

func (w *twin) read(name string) []byte {
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	require.NoError(w, err)
	return b
}

// run takes the steps, and writes down what PyTorch needs to take each of them.
func (w *twin) run() {
	var steps []map[string][]kernel.Augmentation
	w.write("step0.before", saved(w.T, w.gan))
	for i := range stepsOf(w.gan.recipe) {
		steps = append(steps, w.step(i))
		after := saved(w.T, w.gan)
		w.write("step"+strconv.Itoa(i+1)+".before", after)
		w.states = append(w.states, named(w.T, after))
	}
	plan, err := json.Marshal(map[string]any{"recipe": w.gan.recipe, "steps": steps, "total": longRun})
	require.NoError(w, err)
	w.write("plan.json", plan)
}

// step takes a step and writes down what it was made of.
func (w *twin) step(i int) map[string][]kernel.Augmentation {
	g, x := w.gan, batchOf(w.gan.recipe.Model, i)
	n, seed := len(x)/g.recipe.Model.ImageLen(), g.recipe.Seed
	by := map[string][]kernel.Augmentation{}
	for key, purpose := range map[string]string{
		"real": augmentReal, "fake": augmentFake, "generator": augmentGenerator, "pair": augmentPair,
	} {
		by[key] = slices.Clone(g.augmenter.draw(seed, purpose, uint64(i), n))
	}
	by["dataset"] = slices.Clone(g.variety.draw(seed, augmentDataset, uint64(i), n))
	step := "step" + strconv.Itoa(i)
	l, err := g.Step(x)
	require.NoError(w, err)
	w.losses = append(w.losses, []float64{l.Real, l.Fake, l.G})
	w.write(step+".real", float32Bytes(x))
	w.write(step+".z", float32Bytes(g.draws.latents))
	for k, maps := range g.draws.noise {
		w.write(step+".noise"+strconv.Itoa(k), float32Bytes(maps))
	}
	return by
}

func named(t *testing.T, raw []byte) map[string]any {
	tensors, _, err := checkpoint.Read(bytes.NewReader(raw), int64(len(raw)), checkpoint.Limits{Foreign: true})
	require.NoError(t, err)
	out := map[string]any{}
	for _, x := range tensors {
		out[x.Name] = x.Data
	}
	return out
}

// Limits of what float32's rounding does in one step. Measured are 3e-7 in losses and
// statistics, 4e-5 in moments. Adam's first steps are the gradient's sign times the
// rate, so that one weight with a gradient of next to nothing may part by two rates,
// 1e-3 of its layer.
const (
	lossLimit, statisticsLimit = 1e-5, 1e-5
	momentLimit, weightLimit   = 2e-4, 2e-3
	// kinkMargin is how near, in deviations of its layer, an activation may come to
	// its kink. Where rounding decides on the side, one gradient of that layer is off
	// by four fifths, and all behind by some 1e-2: at margins of 1e-7, none at 6e-7.
	kinkMargin = 1e-6
)

func (w *twin) compare() {
	var theirs struct {
		Losses  [][]float64 `json:"losses"`
		Margins []float64   `json:"margins"`
	}
	require.NoError(w, json.Unmarshal(w.read("results.json"), &theirs))
	require.Len(w, theirs.Losses, len(w.losses))
	determined := 0
	for i, ours := range w.losses {
		require.InDeltaSlice(w, theirs.Losses[i], ours, lossLimit, "losses of step %d", i+1)
		clear := theirs.Margins[i] >= kinkMargin
		if clear {
			determined++
		}
		w.state(i, clear)
	}
	require.Positive(w, determined, "no step has gradients that rounding leaves alone: distances from kinks are %v", theirs.Margins)
}

// state compares the state after a step; what is learned from gradients only where
// these are determined.
func (w *twin) state(step int, determined bool) {
	ours, theirs := w.states[step], named(w.T, w.read("step"+strconv.Itoa(step)+".after"))
	require.Len(w, theirs, len(ours))
	worst := map[float64]float64{}
	for name, want := range theirs {
		switch want := want.(type) {
		case []float32:
			limit := w.limit(name, theirs)
			if limit > statisticsLimit && !determined {
				continue
			}
			d := distance(ours[name].([]float32), want)
			worst[limit] = max(worst[limit], d)
			require.LessOrEqual(w, d, limit, "%s after step %d", name, step+1)
		case []float64:
			require.InDeltaSlice(w, want, ours[name], 1e-12, "%s after step %d", name, step+1)
		default:
			require.Equal(w, want, ours[name], "%s after step %d", name, step+1)
		}
	}
	w.Logf("step %d: distances by limit %.2g", step+1, worst)
}

func (w *twin) limit(name string, all map[string]any) float64 {
	switch {
	case !strings.HasPrefix(name, "optimizer.") && all["optimizer."+name+".exp_avg"] == nil:
		return statisticsLimit
	case !strings.HasPrefix(name, "optimizer."):
		return weightLimit
	}
	return momentLimit
}
