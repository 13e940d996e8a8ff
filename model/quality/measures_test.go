package quality

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

func TestSortFloats(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 100, 5000} {
		got := make([]float32, n)
		for i := range got {
			got[i] = float32(r.NormFloat64() * math.Exp(10*r.NormFloat64()))
		}
		want := slices.Clone(got)
		slices.Sort(want)
		sortFloats(got)
		require.Equal(t, want, got)
	}
}

func TestWeightedQuantile(t *testing.T) {
	values := []float64{7, 1, 3, 2}
	for _, q := range []float64{0, 0.01, 0.3, 0.5, 0.95, 1} {
		require.InDelta(t, Quantile(values, q), weightedQuantile(values, []float64{0.5, 0.5, 0.5, 0.5}, q), 1e-12, "equal weights, q %v", q)
	}
	// Seventy small values that weigh as one.
	var many, weights []float64
	for i := range 90 {
		many, weights = append(many, float64(i)), append(weights, 1)
		if i < 70 {
			weights[i] = 1.0 / 70
		}
	}
	require.InDelta(t, 79, weightedQuantile(many, weights, 0.5), 1)
	require.True(t, math.IsNaN(weightedQuantile(nil, nil, 0.5)))
}

func TestCopyZ(t *testing.T) {
	// By the formula: 2 of 6 pairs are won and one is tied, so U = 2.5.
	generated, holdout := []float64{1, 3, 4}, []float64{3, 3.5}
	require.InDelta(t, (2.5-3)/math.Sqrt(3*2*6/12.0), CopyZ(generated, holdout, nil), 1e-12)
	require.True(t, math.IsNaN(CopyZ(nil, holdout, nil)))
	require.True(t, math.IsNaN(CopyZ(generated, []float64{math.NaN()}, nil)))
	// A group repeated changes nothing.
	require.InDelta(t, CopyZ(generated, holdout, nil), CopyZ(generated, []float64{3, 3, 3, 3.5}, []string{"a", "a", "a", "b"}), 1e-12)
}

func TestCoverage(t *testing.T) {
	real := normals(1, 200, 6, 0)
	covered, density := coverage(real, normals(2, 200, 6, 0), nil)
	require.InDelta(t, 0.97, covered, 0.03)
	require.InDelta(t, 1, density, 0.15)
	covered, density = coverage(real, normals(3, 200, 6, 9), nil)
	require.Zero(t, covered+density)
	covered, _ = coverage(real, slices.Repeat(real[:1], 200), nil)
	require.Less(t, covered, 0.2, "a single image")
	// Real images in pairs: without groups their balls would reach the twin only.
	pairs, groups := slices.Concat(real[:100], real[:100], real[:100], real[:100], real[:100], real[:100]), []string{}
	for i := range pairs {
		groups = append(groups, strconv.Itoa(i%100))
	}
	alone, _ := coverage(pairs, normals(4, 600, 6, 0), nil)
	grouped, _ := coverage(pairs, normals(4, 600, 6, 0), groups)
	require.Zero(t, alone)
	require.Greater(t, grouped, 0.5)
	covered, density = coverage(real[:5], real, nil)
	require.True(t, math.IsNaN(covered) && math.IsNaN(density))
}

func TestMSSSIM(t *testing.T) {
	images := pictures(1, 3)
	a, b := pixelsOf(images, 0), pixelsOf(images, 1)
	require.InDelta(t, 1, MSSSIM(a, a), 1e-9)
	require.InDelta(t, MSSSIM(a, b), MSSSIM(b, a), 1e-9)
	require.Less(t, MSSSIM(a, b), 0.5)
	faint := noisy(rand.New(rand.NewPCG(1, 1)), a, 5)
	strong := noisy(rand.New(rand.NewPCG(1, 1)), a, 40)
	require.Greater(t, MSSSIM(a, faint), MSSSIM(a, strong))
	require.Greater(t, MSSSIM(a, strong), MSSSIM(a, b))
	// Constant pictures differ in luminance alone, at the last scale:
	// (2xy + C1)/(x^2 + y^2 + C1) to the last weight.
	x, y := slices.Repeat([]uint8{100}, spec.ImageLen), slices.Repeat([]uint8{150}, spec.ImageLen)
	c1 := 2.55 * 2.55
	require.InDelta(t, math.Pow((2*100*150+c1)/(100*100+150*150+c1), 0.1333), MSSSIM(x, y), 1e-9)
}

func TestSWD(t *testing.T) {
	same := swd(project(pictures(1, 24), 1, "a"), project(pictures(1, 24), 1, "a"))
	require.Zero(t, same[0]+same[3])
	floor := swd(project(pictures(1, 24), 1, "a"), project(pictures(2, 24), 1, "b"))
	turned := eachPlane(pictures(2, 24), func(p []uint8) []uint8 { return oriented(p, 1) })
	far := swd(project(pictures(1, 24), 1, "a"), project(turned, 1, "b"))
	require.Greater(t, far[0], 3*floor[0])
	require.True(t, math.IsNaN(swd(project(pictures(1, 24), 1, "a"), project(pictures(1, 40), 1, "a"))[0]))
	// The pyramid's levels add up to the picture again.
	p := grey(pictures(1, 1))
	levels := pyramid(p)
	back, side := levels[3], 16
	for l := 2; l >= 0; l-- {
		back, side = binomialDouble(back, side), 2*side
		for i := range back {
			back[i] += levels[l][i]
		}
	}
	require.InDeltaSlice(t, p, back, 1e-9)
}

func TestLevelDistance(t *testing.T) {
	a, b := slices.Repeat([]uint8{10}, spec.ImageLen), slices.Repeat([]uint8{30}, spec.ImageLen)
	require.InDelta(t, 20, levelDistance(histogram(a), histogram(b)), 1e-9)
	require.InDelta(t, 10, levelDistance(histogram(a), histogram(append(slices.Clone(a), b...))), 1e-9)
}

func TestKIDInterval(t *testing.T) {
	// The interval holds zero for sets drawn alike, nearly always, and not for others.
	missed := 0
	for seed := range uint64(40) {
		_, low, high := kidInterval(normals(3*seed+100, 40, 8, 0), normals(3*seed+101, 40, 8, 0), nil, 1)
		if low > 0 || high < 0 {
			missed++
		}
	}
	require.LessOrEqual(t, missed, 6)
	value, low, high := kidInterval(normals(1, 40, 8, 0), normals(2, 40, 8, 1), nil, 1)
	require.True(t, 0 < low && low < value && value < high)
	again, _, _ := kidInterval(normals(1, 40, 8, 0), normals(2, 40, 8, 1), nil, 1)
	require.Equal(t, value, again)
}

func TestNearestTransformed(t *testing.T) {
	reals := pictures(5, 9)
	source := oneShard(reals)
	for orientation := range Orientations {
		dx, dy := orientation-4, 8-2*orientation
		// Shifting the real image makes the candidate; laying it back is its inverse.
		made := oriented(shifted(FirstChannels(pixelsOf(reals, 4)), dx, dy), orientation)
		got, err := NearestTransformed(t.Context(), made, source, nil, nil)
		require.NoError(t, err)
		require.Equal(t, 4, got[0].Index, "orientation %d", orientation)
		require.Zero(t, got[0].Distance)
		require.Equal(t, []int{dx, dy}, []int{got[0].DX, got[0].DY}, "orientation %d", orientation)
		got, err = NearestTransformed(t.Context(), made, source, func(_, real int) bool { return real == 4 }, nil)
		require.NoError(t, err)
		require.NotEqual(t, 4, got[0].Index)
		require.Positive(t, got[0].Distance)
	}
	// The distance is that of the inner pixels, by definition.
	far := FirstChannels(pictures(6, 1))
	got, err := NearestTransformed(t.Context(), far, oneShard(pixelsOf(reals, 2)), nil, nil)
	require.NoError(t, err)
	turned, sum := oriented(far, got[0].Orientation), 0.0
	for y := MaxShift; y < spec.Size-MaxShift; y++ {
		for x := MaxShift; x < spec.Size-MaxShift; x++ {
			d := (float64(turned[y*spec.Size+x]) - float64(reals[2*spec.ImageLen+(y+got[0].DY)*spec.Size+x+got[0].DX])) / 127.5
			sum += d * d
		}
	}
	require.InDelta(t, math.Sqrt(sum)*128/112, got[0].Distance, 1e-9)
	none, err := NearestTransformed(t.Context(), far, Source{}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, -1, none[0].Index)
}
