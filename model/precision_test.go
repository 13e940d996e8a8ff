package model

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

// metalLosses are the losses of steps on drawn metal.
func metalLosses(t *testing.T, r spec.Recipe, images []float32, steps int) []Losses {
	g := newGAN(t, r)
	batch := make([]float32, 0, r.Train.Batch*spec.ImageLen)
	var out []Losses
	for epoch := 0; len(out) < steps; epoch++ {
		for _, b := range Batches(r, len(images)/spec.ImageLen, epoch) {
			batch = batch[:0]
			for _, i := range b {
				batch = append(batch, images[i*spec.ImageLen:(i+1)*spec.ImageLen]...)
			}
			l, err := g.Step(batch)
			require.NoError(t, err)
			out = append(out, l)
		}
	}
	return out[:steps]
}

func metal(n int) []float32 {
	out := make([]float32, 0, n*spec.ImageLen)
	for i := range n {
		img := picture.BrushedMetal(5, i)
		side := img.Rect.Dx() / spec.Size
		for range spec.Channels {
			for p := range spec.Size * spec.Size {
				out = append(out, float32(img.Pix[p/spec.Size*side*img.Stride+p%spec.Size*side])/127.5-1)
			}
		}
	}
	return out
}

// The distance that the package's documentation states. Moving all images by a
// millionth moves float32's own losses as far: after some steps training is
// chaotic.
func TestLossesInBF16StayNearFloat32s(t *testing.T) {
	r := tiny()
	r.Train.Batch = 6
	r.Model.Latent, r.Model.GeneratorDepth, r.Model.DiscriminatorDepth = 20, 4, 4
	r.Train.GeneratorRate, r.Train.DiscriminatorRate = 1e-4, 1e-4
	bf16 := r
	bf16.Train.Precision = spec.PrecisionBF16
	if !kernel.HasBF16() {
		_, err := New(bf16)
		require.ErrorContains(t, err, "train.precision")
		return
	}
	if testing.Short() {
		t.Skip("trains 400 steps")
	}
	const steps = 200
	images := metal(24)
	plain, rounded := metalLosses(t, r, images, steps), metalLosses(t, bf16, images, steps)
	require.NotEqual(t, plain, rounded)
	var first, apart [3]float64
	for i := range plain {
		for k, v := range [][2]float64{
			{plain[i].Real, rounded[i].Real}, {plain[i].Fake, rounded[i].Fake}, {plain[i].G, rounded[i].G},
		} {
			d := math.Abs(v[0] - v[1])
			apart[k] += d / steps
			if i == 0 {
				first[k] = d
			}
		}
	}
	t.Logf("real, fake, generator: apart by %.2g in the first step, by %.2g in the mean of %d", first, apart, steps)
	for k, limit := range [3]float64{0.05, 0.05, 0.2} {
		require.LessOrEqual(t, first[k], 0.02)
		require.LessOrEqual(t, apart[k], limit)
	}
}

func TestResumeInBF16IsBitExact(t *testing.T) {
	if !kernel.HasBF16() {
		return // the test above sees that such a recipe is refused
	}
	r := techniques()["all"]
	r.Train.Precision = spec.PrecisionBF16
	whole := newGAN(t, r)
	train(t, whole, 0, 2)
	resumed := loaded(t, saved(t, whole), r)
	defer kernel.SetThreads(0)
	train(t, whole, 2, 4)
	kernel.SetThreads(1)
	train(t, resumed, 2, 4)
	require.Equal(t, saved(t, whole), saved(t, resumed))
	images(t, sampler(t, whole, r), 0, 1)
}

func TestThePrecisionsErrorSaysWhatToDo(t *testing.T) {
	err := noBF16("avx2")
	for _, part := range []string{"train.precision", "bf16", "avx2", `choose "float32"`} {
		require.ErrorContains(t, err, part)
	}
	r := tiny()
	r.Train.Precision = "float16"
	_, err = New(r)
	require.ErrorContains(t, err, "train.precision")
}
