package model

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// techniques are recipes with one technique each, and one with all.
func techniques() map[string]spec.Recipe {
	all := tiny()
	out := map[string]spec.Recipe{}
	for name, change := range map[string]func(*spec.Recipe){
		"augment":   func(r *spec.Recipe) { r.Train.Augment = "color,translation,cutout" },
		"average":   func(r *spec.Recipe) { r.Train.AverageImages = 50 },
		"smoothing": func(r *spec.Recipe) { r.Train.LabelSmoothing = 0.1 },
		"lecam":     func(r *spec.Recipe) { r.Train.LeCam = 0.3 },
		"norm":      func(r *spec.Recipe) { r.Model.DiscriminatorNorm = spec.NormNone },
	} {
		r := tiny()
		change(&r)
		change(&all)
		out[name] = r
	}
	out["all"] = all
	modern := tiny()
	for name, change := range map[string]func(*spec.Recipe){
		"channel":  func(r *spec.Recipe) { r.Model.Channels = spec.ChannelsGrey },
		"size":     func(r *spec.Recipe) { r.Model.Size = 64 },
		"upsample": func(r *spec.Recipe) { r.Model.Generator = spec.GeneratorUpsample },
		"noise":    func(r *spec.Recipe) { r.Model.GeneratorNoise = true },
		"free":     func(r *spec.Recipe) { r.Model.DiscriminatorNorm = spec.NormFree },
		"patch":    func(r *spec.Recipe) { r.Model.DiscriminatorHead = spec.HeadPatch },
		"relativistic": func(r *spec.Recipe) {
			r.Train.Loss, r.Model.DiscriminatorNorm = spec.LossRelativistic, spec.NormFree
		},
		"penalties": func(r *spec.Recipe) { r.Train.R1, r.Train.R2, r.Model.DiscriminatorNorm = 5, 0.5, spec.NormFree },
		"spectral":  func(r *spec.Recipe) { r.Train.R1, r.Train.R2, r.Model.DiscriminatorNorm = 5, 0.5, spec.NormNone },
		"adaptive": func(r *spec.Recipe) {
			r.Train.Augment, r.Train.AugmentTarget, r.Train.AugmentImages = "flip,turn,shift,color,translation,cutout", 1e-9, 20
			r.Train.DiscriminatorRate = 4e-3 // so that it is soon sure of real images, and the probability rises
		},
		"hinge":  func(r *spec.Recipe) { r.Train.Loss = spec.LossHinge },
		"places": func(r *spec.Recipe) { r.Train.Augment = "flip,turn,shift" },
		"real":   func(r *spec.Recipe) { r.Train.RealAugment = "flip,turn" },
		"decay":  func(r *spec.Recipe) { r.Train.Decay = spec.DecayCosine },
		"linear": func(r *spec.Recipe) { r.Train.Decay = spec.DecayLinear },
		"betas": func(r *spec.Recipe) {
			r.Train.Beta1, r.Train.GeneratorBeta1, r.Train.GeneratorBeta2, r.Train.DiscriminatorBeta2 = 0, 0.5, 0.9, 0.99
		},
	} {
		r := tiny()
		change(&r)
		out[name] = r
		if name != "hinge" && name != "linear" && name != "adaptive" && name != "spectral" {
			change(&modern)
		}
	}
	out["modern"] = modern
	maps.Copy(out, finest())
	return out
}

func TestResumeIsBitExactAtAnyStepWithEveryTechnique(t *testing.T) {
	for name, r := range techniques() {
		t.Run(name, func(t *testing.T) {
			whole, steps := newGAN(t, r), stepsOf(r)
			var at [][]byte
			for i := range steps {
				at = append(at, saved(t, whole))
				train(t, whole, i, i+1)
			}
			want := saved(t, whole)
			for from, raw := range at {
				resumed := loaded(t, raw, r)
				require.True(t, bytes.Equal(raw, saved(t, resumed)), "loaded and saved at step %d", from)
				train(t, resumed, from, steps)
				require.True(t, bytes.Equal(want, saved(t, resumed)), "resumed at step %d", from)
			}
		})
	}
}

// stepsOf are a few steps, and some more where augmentations adapt: their probability
// is zero at first.
func stepsOf(r spec.Recipe) int {
	if r.Train.AugmentTarget > 0 {
		return adaptEvery + 2
	}
	return 4
}

func TestThreadsDoNotMatterWithEveryTechnique(t *testing.T) {
	defer kernel.SetThreads(0)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, name := range []string{"all", "modern", "finest", "adaptive"} {
		threadsDoNotMatter(t, techniques()[name])
	}
}

func threadsDoNotMatter(t *testing.T, r spec.Recipe) {
	var want []byte
	for _, threads := range []int{1, 2, 4} {
		for _, procs := range []int{1, 2, 4} {
			kernel.SetThreads(threads)
			runtime.GOMAXPROCS(procs)
			g := newGAN(t, r)
			train(t, g, 0, stepsOf(r))
			if want == nil {
				want = saved(t, g)
			}
			require.True(t, bytes.Equal(want, saved(t, g)), "%d threads on %d processors", threads, procs)
		}
	}
}

func TestEachTechniqueChangesTraining(t *testing.T) {
	for name, r := range techniques() {
		plain, g := newGAN(t, tiny()), newGAN(t, r)
		train(t, plain, 0, stepsOf(r))
		train(t, g, 0, stepsOf(r))
		if name == "average" {
			require.Equal(t, plain.generator.adam.Params[0].Data, g.generator.adam.Params[0].Data, "an average is looked at, never trained on")
			continue
		}
		require.NotEqual(t, plain.generator.adam.Params[0].Data, g.generator.adam.Params[0].Data, name)
		require.NotEqual(t, plain.discriminator.adam.Params[0].Data, g.discriminator.adam.Params[0].Data, name)
	}
}

func TestTheAverageFollowsAndSamplesAreDrawnFromIt(t *testing.T) {
	r := tiny()
	r.Train.AverageImages = 50
	g := newGAN(t, r)
	weights, average := g.generator.adam.Params[0].Data, g.average.net.Params()[0].Data
	require.Equal(t, weights, average, "at the start")
	want, seen := widened(average), 0.0
	for step, n := range []float64{4, 4, 3, 4, 4, 3} {
		train(t, g, step, step+1)
		keep := math.Pow(0.5, n/math.Min(50, 0.05*seen))
		for i, w := range weights {
			want[i] = keep*want[i] + (1-keep)*float64(w)
		}
		seen += n
	}
	for i := range want {
		require.InDelta(t, want[i], float64(average[i]), 1e-6)
	}
	require.NotEqual(t, weights, average)

	raw := saved(t, g)
	fromGAN := images(t, sampler(t, g, r), 0, 2)
	fromFile, err := LoadSampler(bytes.NewReader(raw), int64(len(raw)), r)
	require.NoError(t, err)
	defer fromFile.Close()
	require.True(t, bytes.Equal(fromGAN, images(t, fromFile, 0, 2)))
	copy(average, weights)
	require.False(t, bytes.Equal(fromGAN, images(t, sampler(t, g, r), 0, 2)))

	var export bytes.Buffer
	require.NoError(t, loaded(t, raw, r).ExportGenerator(&export))
	tensors, _, err := checkpoint.Read(&export, int64(export.Len()), checkpoint.Limits{})
	require.NoError(t, err)
	for _, x := range tensors {
		if x.Name == "layer1.0.weight" {
			require.InDeltaSlice(t, want, widened(x.Data.([]float32)), 1e-6)
		}
	}
}

func widened(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// The discriminator's second and third sight of a batch are other augmentations,
// and every step and image has its own.
func TestAugmentationsAreDrawnAsPublished(t *testing.T) {
	a := newAugmenter(spec.Train{Augment: "cutout, color,translation"}.Augments(), spec.Size)
	const n = 4000
	got := append([]kernel.Augmentation{}, a.draw(3, augmentReal, 0, n)...)
	require.Equal(t, got[:5], a.draw(3, augmentReal, 0, 5), "an image's draw depends on its number alone")
	require.NotEqual(t, got[0], a.draw(3, augmentFake, 0, 1)[0])
	require.NotEqual(t, got[0], a.draw(3, augmentReal, 1, 1)[0])
	for name, f := range map[string]struct {
		of       func(kernel.Augmentation) float64
		low, top float64
	}{
		"brightness": {func(a kernel.Augmentation) float64 { return float64(a.Brightness) }, -0.5, 0.5},
		"saturation": {func(a kernel.Augmentation) float64 { return float64(a.Saturation) }, 0, 2},
		"contrast":   {func(a kernel.Augmentation) float64 { return float64(a.Contrast) }, 0.5, 1.5},
		"rows":       {func(a kernel.Augmentation) float64 { return float64(a.Rows) }, -16, 16},
		"columns":    {func(a kernel.Augmentation) float64 { return float64(a.Columns) }, -16, 16},
		"top":        {func(a kernel.Augmentation) float64 { return float64(a.Top) }, -32, 96},
		"left":       {func(a kernel.Augmentation) float64 { return float64(a.Left) }, -32, 96},
	} {
		low, top, sum := math.Inf(1), math.Inf(-1), 0.0
		for _, x := range got {
			low, top, sum = math.Min(low, f.of(x)), math.Max(top, f.of(x)), sum+f.of(x)/n
		}
		width := f.top - f.low
		require.True(t, low >= f.low && low <= f.low+0.01*width, "%s from %v", name, low)
		require.True(t, top <= f.top && top >= f.top-0.01*width, "%s to %v", name, top)
		require.InDelta(t, (f.low+f.top)/2, sum, 0.03*width, name)
	}
	for _, x := range got {
		require.Equal(t, 64, x.Bottom-x.Top)
		require.Equal(t, 64, x.Right-x.Left)
	}
	require.Nil(t, newAugmenter(nil, spec.Size).draw(3, augmentReal, 0, 5))
	only := newAugmenter([]string{spec.AugmentTranslation}, spec.Size).draw(3, augmentReal, 0, 1)[0]
	require.Equal(t, kernel.Augmentation{Saturation: 1, Contrast: 1, Rows: got[0].Rows, Columns: got[0].Columns}, only)
}

// With everything on, three steps of PyTorch with the same draws.
func TestParityOfTheSmallDataTechniques(t *testing.T) {
	python := os.Getenv(pythonEnv)
	if python == "" || testing.Short() {
		t.Skipf("set %s to a Python with PyTorch", pythonEnv)
	}
	peer := sharedFile(t, filepath.Join("peer", "dcgan_torch.py"))
	r := techniques()["all"]
	r.Model.GeneratorDepth, r.Model.DiscriminatorDepth = 4, 4
	// In these three steps no activation lies so near zero that float32's rounding
	// decides on which side: see testdata/README.md.
	r.Seed = 3
	g := newGAN(t, r)
	dir := t.TempDir()
	write := func(name string, b []byte) { require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600)) }
	write("initial.safetensors", saved(t, g))
	type draws struct {
		Real      []kernel.Augmentation `json:"real"`
		Fake      []kernel.Augmentation `json:"fake"`
		Generator []kernel.Augmentation `json:"generator"`
	}
	var steps []draws
	var ours [][]float64
	for i := range 3 {
		x := batch(i)
		n := len(x) / spec.ImageLen
		clone := func(purpose string) []kernel.Augmentation {
			return slices.Clone(g.augmenter.draw(r.Seed, purpose, uint64(g.steps), n))
		}
		steps = append(steps, draws{clone(augmentReal), clone(augmentFake), clone(augmentGenerator)})
		l, err := g.Step(x)
		require.NoError(t, err)
		write("step"+strconv.Itoa(i)+".real", float32Bytes(x))
		write("step"+strconv.Itoa(i)+".z", float32Bytes(g.draws.latents[:n*r.Model.Latent]))
		ours = append(ours, []float64{l.Real, l.Fake, l.G, l.SignReal, g.anchors.real[0], g.anchors.fake[0]})
	}
	plan, err := json.Marshal(map[string]any{
		"steps": steps, "lecam": r.Train.LeCam, "smoothing": r.Train.LabelSmoothing, "average": r.Train.AverageImages,
		"glr": r.Train.GeneratorRate, "dlr": r.Train.DiscriminatorRate,
		"gdepth": r.Model.GeneratorDepth, "ddepth": r.Model.DiscriminatorDepth, "latent": r.Model.Latent,
	})
	require.NoError(t, err)
	write("plan.json", plan)
	out, err := exec.Command(python, filepath.Join("testdata", "smalldata.py"), peer, dir).CombinedOutput()
	require.NoError(t, err, "%s", out)

	raw, err := os.ReadFile(filepath.Join(dir, "losses.json"))
	require.NoError(t, err)
	var theirs [][]float64
	require.NoError(t, json.Unmarshal(raw, &theirs))
	for i := range ours {
		require.InEpsilonSlice(t, theirs[i], ours[i], 1e-4, "step %d: losses, sign, anchors", i+1)
	}
	raw, err = os.ReadFile(filepath.Join(dir, "final.safetensors"))
	require.NoError(t, err)
	final, _, err := checkpoint.Read(bytes.NewReader(raw), int64(len(raw)), checkpoint.Limits{Foreign: true})
	require.NoError(t, err)
	ownData := map[string]any{}
	for _, x := range g.tensors() {
		ownData[x.Name] = x.Data
	}
	worst := 0.0
	for _, x := range final {
		if want, ok := x.Data.([]float32); ok {
			require.Contains(t, ownData, x.Name)
			d := distance(ownData[x.Name].([]float32), want)
			worst = max(worst, d)
			require.LessOrEqual(t, d, 1e-4, x.Name)
		}
	}
	t.Logf("losses %v, final state within %.2g", ours, worst)
}
