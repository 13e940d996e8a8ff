package model

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

func sampler(t *testing.T, g *GAN, r spec.Recipe) *Sampler {
	s, err := NewSampler(g, r)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func images(t *testing.T, s *Sampler, first, count int) []uint8 {
	out, err := s.Images(first, count)
	require.NoError(t, err)
	require.Len(t, out, count*spec.ImageLen)
	return out
}

func TestAnImageDoesNotDependOnHowItIsAskedFor(t *testing.T) {
	g := newGAN(t, tiny())
	train(t, g, 0, 3)
	s := sampler(t, g, tiny())
	all := images(t, s, 0, 19)
	for _, part := range [][2]int{{0, 1}, {7, 2}, {3, 11}, {18, 1}, {8, 8}, {5, 0}} {
		want := all[part[0]*spec.ImageLen : (part[0]+part[1])*spec.ImageLen]
		require.True(t, bytes.Equal(want, images(t, s, part[0], part[1])), "images %d to %d", part[0], part[0]+part[1])
	}
	require.False(t, bytes.Equal(all[:spec.ImageLen], all[spec.ImageLen:2*spec.ImageLen]), "two latents give one image")
}

func TestSamplersOfOneStateAgree(t *testing.T) {
	r := tiny()
	g := newGAN(t, r)
	train(t, g, 0, 3)
	raw := saved(t, g)
	want := images(t, sampler(t, g, r), 0, 2)
	require.True(t, bytes.Equal(raw, saved(t, g)), "sampling has changed the GAN")

	fromFile, err := LoadSampler(bytes.NewReader(raw), int64(len(raw)), r)
	require.NoError(t, err)
	defer fromFile.Close()
	require.True(t, bytes.Equal(want, images(t, fromFile, 0, 2)))

	before := sampler(t, g, r)
	train(t, g, 3, 5)
	require.True(t, bytes.Equal(want, images(t, before, 0, 2)), "a sampler keeps the state that it was made of")
	require.False(t, bytes.Equal(want, images(t, sampler(t, g, r), 0, 2)))
}

func TestStatisticsAreEstimatedAnew(t *testing.T) {
	r := tiny()
	g := newGAN(t, r)
	train(t, g, 0, 2)
	running := r
	running.Sample.StatisticsBatches = 0
	kept, fresh := sampler(t, g, running), sampler(t, g, r)
	ours, theirs := g.generator.net.Buffers(), kept.net.Buffers()
	for i := range ours {
		require.Equal(t, ours[i].Data, theirs[i].Data, ours[i].Name)
	}
	// After two steps the running statistics are still mostly their first
	// values; the estimated ones are not.
	for i, b := range fresh.net.Buffers() {
		require.NotEqual(t, theirs[i].Data, b.Data, b.Name)
	}
	for _, c := range fresh.net.Counters() {
		require.EqualValues(t, r.Sample.StatisticsBatches, c.Value[0], c.Name)
	}
	require.False(t, bytes.Equal(images(t, kept, 0, 1), images(t, fresh, 0, 1)))
}

func TestSamplerRefusesAnotherRecipe(t *testing.T) {
	g := newGAN(t, tiny())
	r := tiny()
	r.Seed++
	_, err := NewSampler(g, r)
	require.ErrorIs(t, err, ErrForeign)
	raw := saved(t, g)
	_, err = LoadSampler(bytes.NewReader(raw), int64(len(raw)), r)
	require.ErrorIs(t, err, ErrForeign)
}

func TestBatchesAreAShuffledPartition(t *testing.T) {
	r := tiny()
	for images, sizes := range map[int][]int{
		0: {}, 2: {}, 3: {3}, 4: {4}, 8: {4, 4}, 9: {4, 4}, 10: {4, 4}, 11: {4, 4, 3},
	} {
		got := []int{}
		seen := map[int]bool{}
		for _, b := range Batches(r, images, 5) {
			got = append(got, len(b))
			for _, i := range b {
				require.False(t, seen[i], "image %d twice", i)
				require.True(t, i >= 0 && i < images)
				seen[i] = true
			}
		}
		require.Equal(t, sizes, got, "%d images", images)
	}
	require.Equal(t, Batches(r, 40, 1), Batches(r, 40, 1))
	require.NotEqual(t, Batches(r, 40, 1), Batches(r, 40, 2))
	other := r
	other.Seed++
	require.NotEqual(t, Batches(r, 40, 1), Batches(other, 40, 1))
}

func TestGreyLevelsSurviveTheWayThere(t *testing.T) {
	levels := make([]uint8, 256)
	for i := range levels {
		levels[i] = uint8(i)
	}
	x, back := make([]float32, 256), make([]uint8, 256)
	ToFloat(x, levels)
	require.EqualValues(t, -1, x[0])
	require.EqualValues(t, 1, x[255])
	require.InDelta(t, 0, x[127]+x[128], 1e-6)
	ToUint8(back, x)
	require.Equal(t, levels, back)

	odd := []float32{-3, 3, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0.001}
	ToUint8(back[:6], odd)
	require.Equal(t, []uint8{0, 255, 0, 255, 0, 128}, back[:6])
}

// Mirrored images are those that the generator draws, each one way round of four, and
// the same whenever they are asked for.
func TestMirroredImages(t *testing.T) {
	r := tiny()
	g := newGAN(t, r)
	train(t, g, 0, 3)
	plain := images(t, sampler(t, g, r), 0, 24)
	r.Sample.Mirror = true
	mirrored := r
	got := images(t, sampler(t, g, mirrored), 0, 24)
	require.True(t, bytes.Equal(got[9*spec.ImageLen:11*spec.ImageLen], images(t, sampler(t, g, mirrored), 9, 2)))
	ways := map[int]int{}
	for i := range 24 {
		was, is := plain[i*spec.ImageLen:(i+1)*spec.ImageLen], got[i*spec.ImageLen:(i+1)*spec.ImageLen]
		found := -1
		for way := range 4 {
			same := true
			for k := range was {
				c, y, x := k/(spec.Size*spec.Size), k/spec.Size%spec.Size, k%spec.Size
				if way&1 != 0 {
					x = spec.Size - 1 - x
				}
				if way&2 != 0 {
					y = spec.Size - 1 - y
				}
				same = same && is[k] == was[(c*spec.Size+y)*spec.Size+x]
			}
			if same {
				found = way
			}
		}
		require.NotEqual(t, -1, found, "image %d is another one", i)
		ways[found]++
	}
	require.Len(t, ways, 4)
}
