package model

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/kernel"
)

// Three steps with each switch of the recipe, and with many together, beside
// PyTorch's with the same draws.
func TestParityOfEachSwitch(t *testing.T) {
	python := os.Getenv(pythonEnv)
	if python == "" || testing.Short() {
		t.Skipf("set %s to a Python with PyTorch", pythonEnv)
	}
	for name, r := range techniques() {
		if r.Train.LeCam == 0 && r.Train.AverageImages == 0 { // TestParityOfTheSmallDataTechniques has these
			t.Run(name, func(t *testing.T) {
				r.Model.GeneratorDepth, r.Model.DiscriminatorDepth = 4, 4
				twin{t, python, t.TempDir(), newGAN(t, r)}.compare()
			})
		}
	}
}

// twin is a GAN beside PyTorch's.
type twin struct {
	*testing.T
	python, dir string
	gan         *GAN
}

func (w twin) write(name string, b []byte) {
	require.NoError(w, os.WriteFile(filepath.Join(w.dir, name), b, 0o600))
}

func (w twin) read(name string) []byte {
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	require.NoError(w, err)
	return b
}

// step takes a step and writes down what it was made of.
func (w twin) step(i int) (map[string][]kernel.Augmentation, []float64) {
	g, x := w.gan, batchOf(w.gan.recipe.Model, i)
	n, seed := len(x)/g.recipe.Model.ImageLen(), g.recipe.Seed
	by := map[string][]kernel.Augmentation{}
	for key, purpose := range map[string]string{
		"real": augmentReal, "fake": augmentFake, "generator": augmentGenerator, "pair": augmentPair,
	} {
		by[key] = slices.Clone(g.augmenter.draw(seed, purpose, uint64(i), n))
	}
	by["dataset"] = slices.Clone(g.variety.draw(seed, augmentDataset, uint64(i), n))
	l, err := g.Step(x)
	require.NoError(w, err)
	step := "step" + strconv.Itoa(i)
	w.write(step+".real", float32Bytes(x))
	w.write(step+".z", float32Bytes(g.draws.latents))
	for k, maps := range g.draws.noise {
		w.write(step+".noise"+strconv.Itoa(k), float32Bytes(maps))
	}
	return by, []float64{l.Real, l.Fake, l.G}
}

func (w twin) compare() {
	w.write("initial.safetensors", saved(w.T, w.gan))
	var steps []map[string][]kernel.Augmentation
	var ours, theirs [][]float64
	for i := range 3 {
		by, losses := w.step(i)
		steps, ours = append(steps, by), append(ours, losses)
	}
	plan, err := json.Marshal(map[string]any{"recipe": w.gan.recipe, "steps": steps, "total": longRun})
	require.NoError(w, err)
	w.write("plan.json", plan)
	out, err := exec.Command(w.python, filepath.Join("testdata", "twin.py"), w.dir).CombinedOutput()
	require.NoError(w, err, "%s", out)
	require.NoError(w, json.Unmarshal(w.read("losses.json"), &theirs))
	for i := range ours {
		require.InDeltaSlice(w, theirs[i], ours[i], 1e-3, "losses of step %d", i+1)
	}
	raw := w.read("final.safetensors")
	final, _, err := checkpoint.Read(bytes.NewReader(raw), int64(len(raw)), checkpoint.Limits{Foreign: true})
	require.NoError(w, err)
	w.final(final)
}

// final compares the states after the last step. float32 rounds differently from
// float64, and Adam's first steps, which go by the gradients' signs, make much of
// it where a gradient is next to nothing.
func (w twin) final(theirs []checkpoint.Tensor) {
	ours, worst := map[string]any{}, 0.0
	for _, x := range w.gan.tensors() {
		ours[x.Name] = x.Data
	}
	for _, x := range theirs {
		if want, ok := x.Data.([]float32); ok {
			require.Contains(w, ours, x.Name)
			d := distance(ours[x.Name].([]float32), want)
			worst = max(worst, d)
			limit := 5e-3
			if len(x.Shape) == 1 { // began at zero: Adam's steps alone stand in it
				limit = 5e-2
			}
			require.LessOrEqual(w, d, limit, x.Name)
		}
	}
	w.Logf("final state within %.2g", worst)
}
