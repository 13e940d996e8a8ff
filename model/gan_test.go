package model

import (
	"bytes"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

// tiny is a recipe that trains in milliseconds.
func tiny() spec.Recipe {
	r := spectest.Quick()
	r.Model.Latent, r.Model.GeneratorDepth, r.Model.DiscriminatorDepth = 7, 2, 2
	r.Train.Batch = 4
	r.Sample.StatisticsBatches = 3
	return r
}

func newGAN(t *testing.T, r spec.Recipe) *GAN {
	g, err := New(r)
	require.NoError(t, err)
	t.Cleanup(g.Close)
	g.Trains(longRun)
	return g
}

// longRun is the number of steps of a recipe in tests, over which rates decay.
const longRun = 9

// batch is the training batch of a step; every third is a ragged one.
func batch(step int) []float32 { return batchOf(tiny().Model, step) }

func batchOf(m spec.Model, step int) []float32 {
	n := 4
	if step%3 == 2 {
		n = 3
	}
	x := make([]float32, n*m.ImageLen())
	kernel.NewStream(9, "test batch", uint64(step)).Uniform(x, -1, 1)
	return x
}

func train(t *testing.T, g *GAN, from, to int) (last Losses) {
	for i := from; i < to; i++ {
		var err error
		last, err = g.Step(batchOf(g.recipe.Model, i))
		require.NoError(t, err)
	}
	return last
}

func saved(t *testing.T, g *GAN) []byte {
	var b bytes.Buffer
	require.NoError(t, g.Save(&b))
	return b.Bytes()
}

func loaded(t *testing.T, raw []byte, r spec.Recipe) *GAN {
	g, err := Load(bytes.NewReader(raw), int64(len(raw)), r)
	require.NoError(t, err)
	t.Cleanup(g.Close)
	g.Trains(longRun)
	return g
}

func TestResumeIsBitExact(t *testing.T) {
	r := tiny()
	whole := newGAN(t, r)
	train(t, whole, 0, 3)
	middle := saved(t, whole)
	want := train(t, whole, 3, 7)

	resumed := loaded(t, middle, r)
	require.EqualValues(t, 3, resumed.Steps())
	require.Equal(t, middle, saved(t, resumed))
	require.Equal(t, want, train(t, resumed, 3, 7))
	require.True(t, bytes.Equal(saved(t, whole), saved(t, resumed)), "checkpoints after the same steps differ")
	require.EqualValues(t, 7, resumed.Steps())
}

func TestThreadsDoNotMatter(t *testing.T) {
	defer kernel.SetThreads(0)
	var want []byte
	var wantImages []uint8
	for _, threads := range []int{1, 2, 3, 8} {
		kernel.SetThreads(threads)
		g := newGAN(t, tiny())
		train(t, g, 0, 4)
		s, err := NewSampler(g, tiny())
		require.NoError(t, err)
		images, err := s.Images(0, 3)
		require.NoError(t, err)
		s.Close()
		if want == nil {
			want, wantImages = saved(t, g), images
		}
		require.True(t, bytes.Equal(want, saved(t, g)), "%d threads give another checkpoint than one", threads)
		require.True(t, bytes.Equal(wantImages, images), "%d threads give other images than one", threads)
	}
}

func TestEveryStepDrawsItsOwnLatents(t *testing.T) {
	g := newGAN(t, tiny())
	train(t, g, 0, 1)
	first := slices.Clone(g.draws.latents)
	raw := saved(t, g)
	train(t, g, 1, 2)
	second := slices.Clone(g.draws.latents)
	require.NotEqual(t, first, second)
	resumed := loaded(t, raw, tiny())
	train(t, resumed, 1, 2)
	require.Equal(t, second, resumed.draws.latents, "latents follow from the step's number")
}

func TestStepReportsBothNetworks(t *testing.T) {
	g := newGAN(t, tiny())
	l := train(t, g, 0, 1)
	for name, v := range map[string]float64{"real": l.Real, "fake": l.Fake, "g": l.G} {
		require.Positive(t, v, name)
	}
	for name, v := range map[string]float64{"D(x)": l.DReal, "D(G(z))": l.DFake} {
		require.True(t, v > 0 && v < 1, "%s is %v", name, v)
	}
}

func TestTrainingSeparatesRealFromGenerated(t *testing.T) {
	r := tiny()
	r.Train.GeneratorRate = 1e-6 // so that the discriminator wins
	g := newGAN(t, r)
	first := train(t, g, 0, 1)
	last := train(t, g, 1, 40)
	require.Less(t, last.Real+last.Fake, 0.7*(first.Real+first.Fake))
	require.Greater(t, last.DReal, last.DFake+0.2)
}

func TestSeedAndPurposeDecideTheWeights(t *testing.T) {
	a, b := newGAN(t, tiny()), newGAN(t, tiny())
	require.True(t, bytes.Equal(saved(t, a), saved(t, b)))
	r := tiny()
	r.Seed++
	c := newGAN(t, r)
	require.NotEqual(t, a.generator.adam.Params[0].Data, c.generator.adam.Params[0].Data)
	require.NotEqual(t, a.generator.adam.Params[0].Data[:64], a.discriminator.adam.Params[0].Data[:64])
}

func TestInitialWeights(t *testing.T) {
	for _, scheme := range []string{spec.InitDCGAN, spec.InitPyTorch} {
		r := tiny()
		r.Model.GeneratorDepth, r.Model.DiscriminatorDepth, r.Model.InitialWeights = 8, 8, scheme
		g := newGAN(t, r)
		for _, l := range g.learners() {
			for _, p := range l.adam.Params {
				checkInitial(t, scheme, p.Name, p.Shape, p.Data)
			}
			for _, b := range l.net.Buffers() {
				switch {
				case strings.HasSuffix(b.Name, "_u") || strings.HasSuffix(b.Name, "_v"):
					require.InDelta(t, 1, kernel.Norm(b.Data), 1e-5, b.Name)
				case strings.HasSuffix(b.Name, "mean"):
					require.Zero(t, slices.Max(b.Data), b.Name)
				default:
					require.EqualValues(t, 1, slices.Min(b.Data), b.Name)
				}
			}
		}
	}
}

func checkInitial(t *testing.T, scheme, name string, shape []int, x []float32) {
	mean, deviation := 0.0, 0.0
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		deviation += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	deviation = math.Sqrt(deviation)
	wantMean, wantDeviation := 0.0, 0.02
	if len(shape) == 4 && scheme == spec.InitPyTorch {
		bound := 1 / math.Sqrt(float64(shape[1]*16))
		wantDeviation = bound / math.Sqrt(3)
		require.LessOrEqual(t, float64(slices.Max(x)), bound, name)
		require.GreaterOrEqual(t, float64(slices.Min(x)), -bound, name)
	} else if len(shape) == 1 {
		if strings.HasSuffix(name, ".weight") {
			wantMean = 1
		}
		if wantMean == 0 || scheme == spec.InitPyTorch {
			wantDeviation = 0
		}
	}
	n := math.Sqrt(float64(len(x)))
	require.InDelta(t, wantMean, mean, 5*wantDeviation/n, "mean of %s", name)
	require.InDelta(t, wantDeviation, deviation, 5*wantDeviation/n, "deviation of %s", name)
}

func TestStepRefusesOddBatches(t *testing.T) {
	g := newGAN(t, tiny())
	for _, n := range []int{0, 1, 2 * spec.ImageLen, 3*spec.ImageLen + 1} {
		_, err := g.Step(make([]float32, n))
		require.ErrorContains(t, err, "batch of", "%d values", n)
	}
	require.Zero(t, g.Steps())
}

func TestNewRefusesBadRecipes(t *testing.T) {
	for field, change := range map[string]func(*spec.Recipe){
		"latent":              func(r *spec.Recipe) { r.Model.Latent = 0 },
		"generator_depth":     func(r *spec.Recipe) { r.Model.GeneratorDepth = -1 },
		"discriminator_depth": func(r *spec.Recipe) { r.Model.DiscriminatorDepth = 5000 },
		"initial_weights":     func(r *spec.Recipe) { r.Model.InitialWeights = "zeros" },
		"channels":            func(r *spec.Recipe) { r.Model.Channels = "2" },
		"size":                func(r *spec.Recipe) { r.Model.Size = 96 },
		"model.generator":     func(r *spec.Recipe) { r.Model.Generator = "shuffle" },
		"discriminator_head":  func(r *spec.Recipe) { r.Model.DiscriminatorHead = "map" },
		"generator_fine":      func(r *spec.Recipe) { r.Model.GeneratorFine = 2 },
		"train.loss":          func(r *spec.Recipe) { r.Train.Loss = "wgan" },
		"discriminator_norm":  func(r *spec.Recipe) { r.Train.Loss = spec.LossRelativistic },
		"train.decay":         func(r *spec.Recipe) { r.Train.Decay = "steps" },
		"train.real_augment":  func(r *spec.Recipe) { r.Train.RealAugment = "shift" },
	} {
		r := tiny()
		change(&r)
		_, err := New(r)
		require.ErrorContains(t, err, field)
	}
}

// What the command line accepts can be trained: one package says which recipes
// are in range.
func TestEveryValidNetworkIsBuilt(t *testing.T) {
	r := tiny()
	r.Model.Latent = 2000
	require.NoError(t, r.Validate())
	g := newGAN(t, r)
	_, err := g.Step(make([]float32, spec.MinBatch*spec.ImageLen))
	require.NoError(t, err)

	r.Model.Latent = 1 << 20
	want := r.ValidateNetworks()
	require.Error(t, want)
	_, err = New(r)
	require.ErrorContains(t, err, want.Error())
}

func TestNotFiniteNamesStepAndLoss(t *testing.T) {
	g := newGAN(t, tiny())
	train(t, g, 0, 2)
	bad := batch(0)
	bad[5] = float32(math.NaN())
	_, err := g.Step(bad)
	require.ErrorIs(t, err, ErrNotFinite)
	require.ErrorContains(t, err, "step 3")
	require.ErrorContains(t, err, "real images")

	g = newGAN(t, tiny())
	last := len(g.generator.adam.Params) - 1
	g.generator.adam.Params[last].Data[0] = float32(math.Inf(1))
	_, err = g.Step(batch(0))
	require.ErrorIs(t, err, ErrNotFinite)
	require.ErrorContains(t, err, "generated images")
	require.ErrorIs(t, g.Save(&bytes.Buffer{}), ErrNotFinite)
}

func TestLoadRefusesForeignAndBrokenCheckpoints(t *testing.T) {
	r := tiny()
	g := newGAN(t, r)
	train(t, g, 0, 1)
	raw := saved(t, g)
	load := func(raw []byte, r spec.Recipe) error {
		_, err := Load(bytes.NewReader(raw), int64(len(raw)), r)
		return err
	}
	other := r
	other.Train.GeneratorRate *= 2
	require.ErrorIs(t, load(raw, other), ErrForeign)
	longer := r
	longer.Train.Epochs, longer.Sample.Count = 999, 3
	require.NoError(t, load(raw, longer), "what comes after does not make a checkpoint foreign")

	for _, at := range []int{8, 300, len(raw) / 2, len(raw) - 1} {
		bad := slices.Clone(raw)
		bad[at] ^= 1
		require.Error(t, load(bad, r), "flip at %d", at)
	}
	require.ErrorIs(t, load(raw[:len(raw)-4], r), checkpoint.ErrFormat)

	var export bytes.Buffer
	require.NoError(t, g.ExportGenerator(&export))
	require.ErrorContains(t, load(export.Bytes(), r), "kind")
}

func TestLoadWantsEveryTensorAndNoOther(t *testing.T) {
	r := tiny()
	g := newGAN(t, r)
	meta := map[string]string{keyKind: kindCheckpoint, keyStep: "3", keyFingerprint: r.TrainingFingerprint()}
	load := func(meta map[string]string, tensors []checkpoint.Tensor) error {
		var b bytes.Buffer
		require.NoError(t, checkpoint.Write(&b, meta, tensors))
		_, err := Load(bytes.NewReader(b.Bytes()), int64(b.Len()), r)
		return err
	}
	all := g.tensors()
	require.NoError(t, load(meta, all))
	require.ErrorContains(t, load(meta, all[1:]), all[0].Name)
	require.ErrorContains(t, load(meta, append(all, checkpoint.Tensor{Name: "more", Data: []int64{1}})), "more")
	meta[keyStep] = "-3"
	require.ErrorContains(t, load(meta, all), "-3")
}

// What is left is the tape machine's: it lists the inputs of each operation anew.
func TestStepAllocatesLittleOnceWarm(t *testing.T) {
	const limit = 48 << 10 // activations of this batch alone are over 5 MB
	for name, r := range map[string]spec.Recipe{"plain": tiny(), "small-data": techniques()["all"], "modern": techniques()["modern"]} {
		g := newGAN(t, r)
		x := batchOf(r.Model, 0)
		train(t, g, 0, 3) // both batch sizes
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const steps = 20
		for range steps {
			_, err := g.Step(x)
			require.NoError(t, err)
		}
		runtime.ReadMemStats(&after)
		bytesPerStep := (after.TotalAlloc - before.TotalAlloc) / steps
		t.Logf("%s: %d bytes allocated per step", name, bytesPerStep)
		require.Less(t, bytesPerStep, uint64(limit), name)
	}
}

// The recipe's own count of batches is that of the batches drawn.
func TestEpochStepsCountsBatches(t *testing.T) {
	r := spec.Surface()
	for images := range 70 {
		require.Len(t, Batches(r, images, 3), r.Train.EpochSteps(images), "%d images", images)
	}
}
