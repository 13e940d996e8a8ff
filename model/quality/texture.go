package quality

import (
	"context"
	"hash/fnv"
	"math"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// The texture of a picture, as far as somebody sees it. Images that differ by
// what nobody sees must lie near each other, and images that look different must
// not. Three things see to that:
//   - Before neighbours are compared, grain is added (dither), twice as strong as
//     what is hard to see. Noise of a few levels and rounding drown in it, while a
//     grid, which is the same all over the picture, still shows in the counts.
//   - Each picture's fine detail is first made weaker or stronger by up to
//     detailReach, by chance. Among pictures that differ by as much as that in
//     sharpness, one more that does lies near some.
//   - Contrast counts from the levels on that are seen (visible).
// What is drawn by chance follows from the picture itself, so that equal pictures
// have equal features, whoever computes them and in whatever order.

// TextureVersion goes up whenever the same images give other TextureFeatures;
// what is remembered of them belongs to one version. The first, up to 2026, took
// local patterns from half a grey level on, which SurfaceFeatures still do.
const TextureVersion = 2

const (
	// grainSigma is the deviation of the added grain, in grey levels at 128 pixels.
	grainSigma = 6
	// detailReach is by how many octaves the strength of fine detail is changed
	// at most.
	detailReach = 0.7
	// sharpnessBins are half octaves of fine over coarse contrast, from 1/16 on.
	sharpnessBins  = 13
	sharpnessStart = -4
	sharpnessStep  = 0.5
	// sharpnessFrom is the coarse contrast from which on sharpness counts, in grey
	// levels.
	sharpnessFrom = 4
	// sharpnessFloor is added to fine and coarse contrast, in grey levels, so that
	// noise that nobody sees makes nothing sharper.
	sharpnessFloor = 2
)

// visible is the local contrast from which on directions count, in grey levels at
// 128, 64 and 32 pixels.
var visible = [textureScales]float64{4, 3, 2}

// texture is what one picture is like wherever its parts lie: three rows of
// roots of shares, each of mean square one, so that Euclidean distance is
// Hellinger's.
type texture struct {
	// patterns counts local binary patterns (Ojala 2002, the uniform ones) at
	// three scales. They see grain, weave and grids.
	patterns []float64
	// edges counts directions of visible gradients, and pixels without one, at
	// three scales. They see lines, their directions, and contrast.
	edges []float64
	// sharpness counts ratios of fine contrast to that at twice the scale,
	// weighted by the latter where it is visible. It sees blur, whatever the
	// contrast and however little of the picture there is to blur.
	sharpness []float64
}

// textures describes each image, uint8 (n,3,128,128). Other lengths panic.
func textures(images []uint8) []texture {
	out := make([]texture, countImages(images))
	_ = each(context.Background(), len(out), func(i int) { // nothing ends it
		out[i] = describe(grey(pixelsOf(images, i)))
	})
	return out
}

// TextureFeatures describes each image, uint8 (n,3,128,128), by one row of
// patterns, edges and sharpness, of equal weight; its mean square is one. Other
// lengths panic.
func TextureFeatures(images []uint8) [][]float64 {
	out := make([][]float64, countImages(images))
	for i, t := range textures(images) {
		out[i] = t.row()
	}
	return out
}

func (t texture) row() []float64 {
	parts := [][]float64{t.patterns, t.edges, t.sharpness}
	n := len(t.patterns) + len(t.edges) + len(t.sharpness)
	row := make([]float64, 0, n)
	for _, part := range parts {
		scale := math.Sqrt(float64(n) / float64(len(parts)*len(part)))
		for _, v := range part {
			row = append(row, scale*v)
		}
	}
	return row
}

func describe(picture []float64) texture {
	name := digest(picture)
	picture = detailed(picture, kernel.NewStream(name, "texture detail", 0))
	t := texture{sharpness: rooted(sharpness(picture))}
	for k, side := 0, spec.Size; k < textureScales; k, side = k+1, side/2 {
		t.patterns = append(t.patterns, rooted(grainedPatterns(picture, side, kernel.NewStream(name, "texture grain", uint64(k))))...)
		t.edges = append(t.edges, rooted(edges(picture, side, 2*visible[k]))...)
		picture = halved(picture, side)
	}
	return t
}

// grainedPatterns counts local binary patterns in grain as it is at the picture's
// side. A smaller picture is counted several times, in grain drawn anew, so that
// as many pixels are counted at each scale and chance weighs alike.
func grainedPatterns(p []float64, side int, chance kernel.Stream) []float64 {
	scale := spec.Size / side
	grain := make([]float32, scale*scale*len(p))
	chance.Normal(grain)
	counts, grained := make([]float64, patternBins), make([]float64, len(p))
	for ; len(grain) > 0; grain = grain[len(p):] {
		for i, v := range p {
			grained[i] = v + grainSigma/float64(scale)*float64(grain[i])
		}
		for bin, n := range patterns(grained, side, 0) {
			counts[bin] += n
		}
	}
	return counts
}

// digest names a picture by its rounded grey levels.
func digest(picture []float64) uint64 {
	levels := make([]byte, len(picture))
	for i, v := range picture {
		levels[i] = uint8(v + 0.5)
	}
	h := fnv.New64a()
	h.Write(levels)
	return h.Sum64()
}

// detailed makes what smoothing takes away weaker or stronger.
func detailed(p []float64, chance kernel.Stream) []float64 {
	var octaves [1]float32
	chance.Uniform(octaves[:], -detailReach, detailReach)
	gain := math.Exp2(float64(octaves[0]))
	out := smoothed5(p, spec.Size)
	for i, low := range out {
		out[i] = low + gain*(p[i]-low)
	}
	return out
}
