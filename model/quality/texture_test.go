package quality

import (
	stdimage "image"
	"image/draw"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

func TestTextureFeatures(t *testing.T) {
	images := pictures(2, 3)
	got := TextureFeatures(images)
	for i, row := range got {
		require.Len(t, row, textureScales*(patternBins+angleBins+1)+sharpnessBins)
		require.InDelta(t, 1, dot(row, row)/float64(len(row)), 1e-9)
		require.Equal(t, got[i:i+1], TextureFeatures(pixelsOf(images, i)), "beside others or alone")
	}
	for _, x := range textures(images) {
		for _, row := range [][]float64{x.patterns, x.edges, x.sharpness} {
			require.InDelta(t, 1, dot(row, row)/float64(len(row)), 1e-9)
		}
	}
	flat := textures(make([]uint8, spec.ImageLen))[0]
	require.InDelta(t, 0, dot(flat.edges[:angleBins], flat.edges[:angleBins]), 0, "no direction")
	require.Panics(t, func() { TextureFeatures(images[1:]) })
}

// metalPieces are pieces of drawn metal, no two of one sheet.
func metalPieces(seed uint64, n int) []uint8 {
	return manyOf(n, func(i int) []uint8 {
		drawn := picture.BrushedMetal(seed, i)
		img := stdimage.NewRGBA(drawn.Rect)
		draw.Draw(img, img.Rect, drawn, stdimage.Point{}, draw.Src)
		return picture.Square(img, spec.Size)
	})
}

// poorest is the lowest coverage and density of candidates among real images.
func poorest(real, candidates []uint8) (covered, density float64) {
	covered, density = 9, 9
	a, b := textures(real), textures(candidates)
	for _, row := range []func(texture) []float64{
		func(x texture) []float64 { return x.patterns },
		func(x texture) []float64 { return x.edges },
		func(x texture) []float64 { return x.sharpness },
	} {
		c, d := coverage(converted(a, row), converted(b, row), nil)
		covered, density = min(covered, c), min(density, d)
	}
	return covered, density
}

func bounds(t *testing.T) (covered, density float64) {
	t.Helper()
	for _, r := range spec.ProductionPolicy().Rules {
		switch r.Measure {
		case spec.MeasureCoverage:
			covered = *r.Min
		case spec.MeasureDensity:
			density = *r.Min
		}
	}
	require.Positive(t, covered)
	require.Positive(t, density)
	return covered, density
}

// visibility demands that harmless changes of other pieces of metal keep
// production's bounds, and that bad ones don't.
func visibility(t *testing.T, real, fresh []uint8, names []string) {
	t.Helper()
	minCovered, minDensity := bounds(t)
	of := map[string]control{}
	for _, c := range controls() {
		of[c.name] = c
	}
	for _, name := range names {
		c, known := of[name]
		require.True(t, known, name)
		set := c.make(rand.New(rand.NewPCG(1, 6)), thirds{fresh: fresh}, realSet{})
		covered, density := poorest(real, set)
		kept := covered >= minCovered && density >= minDensity
		require.Equal(t, c.kind == harmless, kept, "%s, which %s: coverage %.2f, density %.2f", name, c.kind, covered, density)
	}
}

// What nobody sees on clean metal, the harshest case, passes; grids, blur and
// noise that everybody sees don't.
func TestTextureOfMetalIsJudgedAsItIsSeen(t *testing.T) {
	real, fresh := metalPieces(3, 48), metalPieces(5, 48)
	visibility(t, real, fresh, []string{
		"nothing", "noise, sigma 2", "noise, sigma 3", "JPEG, quality 60", "Gaussian blur, sigma 0.5", "shifted by half a pixel",
		"noise, sigma 16", "mean of 5x5", "Gaussian blur, sigma 2", "grid of 2 pixels, 8 levels", "grid of 4 pixels, 8 levels",
	})
	// The features of version 1 let nothing of the kind pass.
	r := rand.New(rand.NewPCG(1, 6))
	noise := manyOf(countImages(fresh), func(i int) []uint8 { return noisy(r, pixelsOf(fresh, i), 3) })
	covered, _ := coverage(SurfaceFeatures(real), SurfaceFeatures(noise), nil)
	minCovered, _ := bounds(t)
	require.Less(t, covered, minCovered)
}

func BenchmarkTexture(b *testing.B) {
	images := pictures(3, 1)
	for b.Loop() {
		textures(images)
	}
}
