package quality

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

// tinted gives each image of grey planes a cast of its own: the channels' factors, and
// how far chance moves them.
func tinted(planes []uint8, seed uint64, cast [3]float64, spread float64) []uint8 {
	r := rand.New(rand.NewPCG(seed, 1))
	var out []uint8
	for plane := range slices.Chunk(planes, PlaneLen) {
		for _, by := range cast {
			by += spread * r.NormFloat64()
			for _, v := range plane {
				out = append(out, uint8(min(max(by*float64(v), 0), 255)))
			}
		}
	}
	return out
}

func colourRatio(t *testing.T, real, candidates []uint8) float64 {
	t.Helper()
	half := len(real) / spec.ImageLen / 2 * spec.ImageLen
	var m Measures
	require.NoError(t, m.AddLikeness(t.Context(), LikenessInput{Training: real[:half], Holdout: real[half:], Candidates: candidates, TailAt: 1, Seed: 1}))
	return m.Taken[spec.MeasureColourRatio].Value
}

// A cast that real images do not have fails by its colour alone, on grey images and on
// coloured ones; images of the same colours pass.
func TestColoursAreJudged(t *testing.T) {
	most := 0.0
	for _, r := range spec.ProductionPolicy().Rules {
		if r.Measure == spec.MeasureColourRatio {
			most = *r.Max
		}
	}
	require.NotZero(t, most)
	grey := tinted(metalPlanes(0, 32), 1, [3]float64{1, 1, 1}, 0)
	require.InDelta(t, 1, colourRatio(t, grey, tinted(metalPlanes(100, 16), 2, [3]float64{1, 1, 1}, 0)), 0)
	require.Greater(t, colourRatio(t, grey, tinted(metalPlanes(100, 16), 2, [3]float64{1.1, 0.97, 0.85}, 0)), most, "orange on grey steel")
	require.Less(t, colourRatio(t, grey, tinted(metalPlanes(100, 16), 2, [3]float64{1, 1, 0.99}, 0)), most, "a hundredth is not seen")

	copper := [3]float64{1, 0.7, 0.5}
	real := tinted(metalPlanes(0, 32), 1, copper, 0.03)
	require.Less(t, colourRatio(t, real, tinted(metalPlanes(100, 16), 2, copper, 0.03)), most)
	require.Greater(t, colourRatio(t, real, tinted(metalPlanes(100, 16), 2, [3]float64{0.7, 0.7, 0.7}, 0)), most, "grey in place of copper")

	grid := tinted(metalPlanes(100, 16), 2, [3]float64{1, 1, 1}, 0)
	for i := range grid {
		if channel, x := i/PlaneLen%3, i%spec.Size; (x/2+channel)%3 == 0 {
			grid[i] = uint8(min(int(grid[i])+25, 255))
		}
	}
	require.Greater(t, colourRatio(t, grey, grid), most, "a coloured grid")
}
