package quality

import (
	"context"
	"math"

	"github.com/defectforge/defectforge/model/spec"
)

const (
	textureScales = 3  // 128, 64 and 32 pixels
	patternBins   = 59 // 58 uniform patterns, and all others
	angleBins     = 9  // of gradients, over half a turn
	strengthBins  = 16 // of gradients, on a logarithmic scale
	surfaceBins   = patternBins + angleBins + strengthBins
)

// SurfaceFeatures describes each image, uint8 (n,3,128,128), for telling classes
// apart, down to what nobody sees; TextureFeatures are for judging likeness. They
// are three histograms of its luminance at 128, 64 and 32 pixels: local binary
// patterns of the eight neighbours (Ojala 2002, the uniform ones), directions of
// gradients weighted by their strength (as in HOG, over the whole picture), and
// strengths of gradients. Each value is the root of a share, so that Euclidean
// distance is Hellinger's, scaled so that a row's mean square is one. A row has
// 252 values. Other lengths panic.
func SurfaceFeatures(images []uint8) [][]float64 {
	out := make([][]float64, countImages(images))
	_ = each(context.Background(), len(out), func(i int) { // nothing ends it
		picture, side := grey(pixelsOf(images, i)), spec.Size
		row := make([]float64, 0, textureScales*surfaceBins)
		for range textureScales {
			// Half a grey level: rounding to whole levels makes no texture.
			row = append(row, rooted(patterns(picture, side, 0.5))...)
			angles, strengths := gradients(picture, side)
			row = append(append(row, rooted(angles)...), rooted(strengths)...)
			picture, side = halved(picture, side), side/2
		}
		out[i] = row
	})
	return out
}

// rooted turns counts into roots of shares whose mean square is one. No counts
// at all, which a flat picture gives, become equal shares.
func rooted(counts []float64) []float64 {
	sum := 0.0
	for _, c := range counts {
		sum += c
	}
	for i, c := range counts {
		if sum > 0 {
			counts[i] = math.Sqrt(c / sum * float64(len(counts)))
		} else {
			counts[i] = 1
		}
	}
	return counts
}

// halved averages squares of 2x2 pixels.
func halved(p []float64, side int) []float64 {
	half := side / 2
	out := make([]float64, half*half)
	for y := range half {
		for x := range half {
			at := 2*y*side + 2*x
			out[y*half+x] = (p[at] + p[at+1] + p[at+side] + p[at+side+1]) / 4
		}
	}
	return out
}

// uniform numbers the patterns with at most two changes around the ring; all
// others share the last bin.
var uniform = func() (bin [256]int) {
	next := 0
	for p := range bin {
		changes := 0
		for k := range 8 {
			if p>>k&1 != p>>((k+1)%8)&1 {
				changes++
			}
		}
		bin[p] = patternBins - 1
		if changes <= 2 {
			bin[p] = next
			next++
		}
	}
	return bin
}()

// patterns counts the local binary patterns of all pixels that have eight
// neighbours. A neighbour counts as brighter that is so by at least as many grey
// levels as given.
func patterns(p []float64, side int, by float64) []float64 {
	ring := [8]int{-side - 1, -side, -side + 1, 1, side + 1, side, side - 1, -1}
	counts := make([]float64, patternBins)
	for y := 1; y < side-1; y++ {
		for at := y*side + 1; at < (y+1)*side-1; at++ {
			pattern := 0
			for k, d := range ring {
				if p[at+d] >= p[at]+by {
					pattern |= 1 << k
				}
			}
			counts[uniform[pattern]]++
		}
	}
	return counts
}

// gradients counts central differences, by direction weighted by strength, and
// by strength: bins of half an octave from one grey level on.
func gradients(p []float64, side int) (angles, strengths []float64) {
	angles, strengths = make([]float64, angleBins), make([]float64, strengthBins)
	for y := 1; y < side-1; y++ {
		for at := y*side + 1; at < (y+1)*side-1; at++ {
			dx, dy := p[at+1]-p[at-1], p[at+side]-p[at-side]
			strength := math.Hypot(dx, dy)
			bin := 0
			if strength > 1 {
				bin = min(1+int(2*math.Log2(strength)), strengthBins-1)
			}
			strengths[bin]++
			if strength > 0 {
				turn := math.Atan2(dy, dx) / math.Pi // in (-1,1]; opposite directions are one
				if turn < 0 {
					turn++
				}
				angles[int(turn*angleBins)%angleBins] += strength
			}
		}
	}
	return angles, strengths
}
