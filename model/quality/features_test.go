package quality

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

// normals are n rows of d values from N(mean, 1).
func normals(seed uint64, n, d int, mean float64) [][]float64 {
	r := rand.New(rand.NewPCG(seed, 5))
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, d)
		for j := range out[i] {
			out[i][j] = mean + r.NormFloat64()
		}
	}
	return out
}

// kidByDefinition writes the estimate's sums out, each over all ordered pairs.
func kidByDefinition(x, y [][]float64) float64 {
	kernel := func(a, b []float64) float64 {
		s := 0.0
		for i := range a {
			s += a[i] * b[i]
		}
		return math.Pow(s/float64(len(a))+1, 3)
	}
	mean := func(p, q [][]float64, same bool) float64 {
		sum, pairs := 0.0, 0.0
		for i := range p {
			for j := range q {
				if !same || i != j {
					sum += kernel(p[i], q[j])
					pairs++
				}
			}
		}
		return sum / pairs
	}
	return mean(x, x, true) + mean(y, y, true) - 2*mean(x, y, false)
}

func TestKID(t *testing.T) {
	x, y := normals(1, 13, 7, 0), normals(2, 9, 7, 0.5)
	require.InDelta(t, kidByDefinition(x, y), KID(x, y), 1e-9)
	require.InDelta(t, KID(y, x), KID(x, y), 1e-9)
	require.True(t, math.IsNaN(KID(x[:1], y)))
	require.True(t, math.IsNaN(KID(x, nil)))
	// Unbiased: about as often below zero as above where both are drawn alike.
	below := 0
	for seed := range uint64(100) {
		if KID(normals(2*seed+10, 20, 8, 0), normals(2*seed+11, 20, 8, 0)) < 0 {
			below++
		}
	}
	require.InDelta(t, 55, below, 20)
	require.Greater(t, KID(normals(1, 50, 8, 0), normals(2, 50, 8, 1)), 1.0)
}

func TestSpread(t *testing.T) {
	require.InDelta(t, (5.0+5+6)/3, Spread([][]float64{{0, 0}, {3, 4}, {-3, 4}}), 1e-12)
	require.True(t, math.IsNaN(Spread([][]float64{{1}})))
}

// pictures are grey noise images (n,3,128,128), smoothed along the rows.
func pictures(seed uint64, n int) []uint8 {
	r := rand.New(rand.NewPCG(seed, 6))
	out := make([]uint8, n*spec.ImageLen)
	for i := range n {
		v := 128.0
		for p := range PlaneLen {
			v += 0.05*(128-v) + 12*r.NormFloat64()
			for c := range spec.Channels {
				out[i*spec.ImageLen+c*PlaneLen+p] = uint8(min(max(v, 0), 255))
			}
		}
	}
	return out
}

func TestPixelSpace(t *testing.T) {
	images := pictures(1, 30)
	s := FitPixels(images, 16)
	got := s.Features(images)
	require.Len(t, got, 30)
	require.Equal(t, got, FitPixels(images, 16).Features(images))
	variance := make([]float64, 16)
	for k := range 16 {
		mean := 0.0
		for _, row := range got {
			mean += row[k] / 30
			variance[k] += row[k] * row[k] / 30
		}
		require.InDelta(t, 0, mean, 1e-9)
	}
	require.True(t, slices.IsSortedFunc(variance, func(a, b float64) int {
		if a > b {
			return -1
		}
		return 1
	}), "falling variances: %v", variance)
	sum := 0.0
	for _, v := range variance {
		sum += v
	}
	require.InDelta(t, 16, sum, 1e-6)

	// With all components, distances are those of the down-sampled pictures.
	all := FitPixels(images, 64)
	require.Len(t, all.components, 29, "one less than images")
	full := all.Features(images)
	require.InDelta(t, all.scale*euclid(smallGrey(pixelsOf(images, 2)), smallGrey(pixelsOf(images, 7))), euclid(full[2], full[7]), 1e-6)

	flat := FitPixels(make([]uint8, 3*spec.ImageLen), 4)
	require.Empty(t, flat.Features(images)[0])
	require.True(t, math.IsNaN(KID(flat.Features(images), flat.Features(images))))
	require.Panics(t, func() { FitPixels(images[1:], 4) })
}

func TestSurfaceFeatures(t *testing.T) {
	images := pictures(2, 3)
	got := SurfaceFeatures(images)
	require.Len(t, got[0], 252)
	for _, row := range got {
		require.InDelta(t, 1, dot(row, row)/float64(len(row)), 1e-9)
	}
	// Brighter is no other texture; along the columns is.
	other := slices.Clone(pixelsOf(images, 0))
	for i, v := range other {
		other[i] = uint8(min(int(v)+3, 255))
	}
	turned := slices.Clone(other)
	for i := range turned {
		c, p := i/PlaneLen, i%PlaneLen
		turned[i] = images[c*PlaneLen+p%spec.Size*spec.Size+p/spec.Size]
	}
	brighter := euclid(got[0], SurfaceFeatures(other)[0])
	require.Less(t, brighter, euclid(got[0], got[1]))
	require.Greater(t, euclid(got[0], SurfaceFeatures(turned)[0]), 2*euclid(got[0], got[1]))
	require.InDelta(t, 1, SurfaceFeatures(make([]uint8, spec.ImageLen))[0][patternBins], 0, "flat")
}
