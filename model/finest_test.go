package model

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// finest are recipes with one part each of what made the best images, and one of
// all of them, with those they were found with.
func finest() map[string]spec.Recipe {
	all := tiny()
	all.Model.Channels, all.Model.Size, all.Model.Generator, all.Model.GeneratorNoise = spec.ChannelsGrey, 64, spec.GeneratorUpsample, true
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

// parityBatches are the sizes of the steps that are compared with PyTorch: spreads of
// two groups, of a ragged batch and of one group.
var parityBatches = []int{8, 3, 4, 8}

// The whole of it, against PyTorch with the same state and draws. The fixture is what
// testdata/finest.py has written; with a Python that has PyTorch it is made anew, and
// then, where DEFECTFORGE_PARITY_WRITE says so, kept: see testdata/README.md.
func TestParityOfTheFinestRecipe(t *testing.T) {
	fixture := filepath.Join("testdata", "finest.safetensors.gz")
	r := finest()["finest"]
	r.Train.Batch, r.Seed = parityBatches[0], 5
	g := newGAN(t, r)
	g.Trains(int64(len(parityBatches)))
	for i, p := range g.generator.net.Params() { // noise of strength zero would show little
		if strings.HasSuffix(p.Name, ".noise") {
			kernel.NewStream(r.Seed, "test strengths", uint64(i)).Uniform(p.Data, -0.5, 0.5)
		}
	}
	dir := t.TempDir()
	ours := parityRun(t, g, dir)
	if python := os.Getenv(pythonEnv); python != "" {
		fixture = remade(t, fixture, python, dir)
	}
	theirs := parityTensors(t, fixture)
	for i, l := range ours {
		want := theirs["losses"].Data.([]float64)[4*i : 4*i+4]
		require.InDeltaSlice(t, want, []float64{l.Real, l.Fake, l.G, l.SignReal}, 2e-6, "step %d: losses and sign", i+1)
	}
	worst := 0.0
	for _, x := range g.tensors() {
		want, ok := theirs[x.Name].Data.([]float32)
		if !ok { // optimisers' moments, counters
			continue
		}
		d := distance(x.Data.([]float32), want)
		worst = max(worst, d)
		require.LessOrEqual(t, d, 1e-4, x.Name)
		delete(theirs, x.Name)
	}
	t.Logf("losses %v, final state within %.2g", ours, worst)
	for name := range theirs {
		require.True(t, name == "losses" || strings.HasSuffix(name, ".num_batches_tracked"), "the networks have no tensor %s", name)
	}
}

// remade runs PyTorch on what parityRun left in dir, and gives the file with what it
// made, which is the fixture itself where that is to be written.
func remade(t *testing.T, fixture, python, dir string) string {
	made := filepath.Join(dir, "made")
	out, err := exec.Command(python, filepath.Join("testdata", "finest.py"), dir, made).CombinedOutput()
	require.NoError(t, err, "%s", out)
	if os.Getenv("DEFECTFORGE_PARITY_WRITE") == "" {
		return made
	}
	compressFile(t, fixture, made)
	return fixture
}

// parityRun trains, and leaves in dir what PyTorch needs to do the same.
func parityRun(t *testing.T, g *GAN, dir string) (losses []Losses) {
	r, m := g.recipe, g.recipe.Model
	write := func(name string, b []byte) { require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600)) }
	write("initial.safetensors", saved(t, g))
	var steps []map[string][]kernel.Augmentation
	for i, n := range parityBatches {
		x := make([]float32, n*m.ImageLen())
		kernel.NewStream(9, "test batch", uint64(i)).Uniform(x, -1, 1)
		by := map[string][]kernel.Augmentation{}
		for name, purpose := range map[string]string{"real": augmentReal, "fake": augmentFake, "generator": augmentGenerator} {
			by[name] = slices.Clone(g.augmenter.draw(r.Seed, purpose, uint64(i), n))
		}
		steps = append(steps, by)
		write(fmt.Sprintf("step%d.real", i), float32Bytes(g.varied(x)))
		l, err := g.Step(x)
		require.NoError(t, err)
		losses = append(losses, l)
		write(fmt.Sprintf("step%d.z", i), float32Bytes(g.draws.latents[:n*m.Latent]))
		for k, maps := range g.draws.noise {
			write(fmt.Sprintf("step%d.noise%d", i, k), float32Bytes(maps))
		}
	}
	plan, err := json.Marshal(map[string]any{
		"steps": steps, "total": len(parityBatches), "size": m.ImageSide(), "blocks": 4, "depth": m.GeneratorDepth, "fine": m.GeneratorFine,
		"latent": m.Latent, "average": r.Train.AverageImages, "glr": r.Train.GeneratorRate, "dlr": r.Train.DiscriminatorRate,
	})
	require.NoError(t, err)
	write("plan.json", plan)
	return losses
}

func compressFile(t *testing.T, to, from string) {
	raw, err := os.ReadFile(from)
	require.NoError(t, err)
	var b bytes.Buffer
	zip, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	require.NoError(t, err)
	_, err = zip.Write(raw)
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	require.NoError(t, os.WriteFile(to, b.Bytes(), 0o600))
}

// parityTensors reads a file of PyTorch's, plain or compressed.
func parityTensors(t *testing.T, path string) map[string]checkpoint.Tensor {
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	if strings.HasSuffix(path, ".gz") {
		zip, err := gzip.NewReader(bytes.NewReader(raw))
		require.NoError(t, err)
		raw, err = io.ReadAll(zip)
		require.NoError(t, err)
	}
	tensors, _, err := checkpoint.Read(bytes.NewReader(raw), int64(len(raw)), checkpoint.Limits{Foreign: true})
	require.NoError(t, err)
	out := map[string]checkpoint.Tensor{}
	for _, x := range tensors {
		out[x.Name] = x
	}
	return out
}
