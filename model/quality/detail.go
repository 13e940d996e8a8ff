package quality

import (
	"math"

	"github.com/defectforge/defectforge/model/spec"
)

// edges counts the pixels with neighbours all around by the direction of
// their gradient, after Sobel, as grey levels over two pixels: up to the least
// strength they count as without direction, above it ever less so.
func edges(p []float64, side int, least float64) []float64 {
	counts := make([]float64, angleBins+1)
	for y := 1; y < side-1; y++ {
		for at := y*side + 1; at < (y+1)*side-1; at++ {
			dx := (p[at+1-side] - p[at-1-side] + 2*(p[at+1]-p[at-1]) + p[at+1+side] - p[at-1+side]) / 4
			dy := (p[at+side-1] - p[at-side-1] + 2*(p[at+side]-p[at-side]) + p[at+side+1] - p[at-side+1]) / 4
			share := 0.0
			if strength := math.Sqrt(dx*dx + dy*dy); strength > least {
				turn := math.Atan2(dy, dx) / math.Pi // in (-1,1]; opposite directions are one
				if turn < 0 {
					turn++
				}
				share = 1 - least/strength
				counts[int(turn*angleBins)%angleBins] += share
			}
			counts[angleBins] += 1 - share
		}
	}
	return counts
}

// sharpness is the histogram of local fine over coarse contrast of a picture of
// 128x128, in octaves. Fine detail is looked at without the very finest, which a
// blur that nobody sees and a file's compression take away.
func sharpness(p []float64) []float64 {
	fine := halved(contrast(softened(p, spec.Size), spec.Size), spec.Size)
	coarse := contrast(halved(p, spec.Size), spec.Size/2)
	counts := make([]float64, sharpnessBins)
	for i, c := range coarse {
		weight := math.Sqrt(c) - sharpnessFrom
		if weight <= 0 {
			continue
		}
		const floor = sharpnessFloor * sharpnessFloor
		octaves := math.Log2((fine[i]+floor)/(c+floor)) / 2
		spread(counts, (octaves-sharpnessStart)/sharpnessStep, weight)
	}
	return counts
}

// spread adds weight to the three bins next to at, by a quadratic B-spline, so
// that a histogram changes as little as what it counts.
func spread(bins []float64, at, weight float64) {
	last := len(bins) - 1
	at = min(max(at, 0), float64(last))
	middle := int(at + 0.5)
	off := at - float64(middle)
	bins[max(middle-1, 0)] += weight * (0.5 - off) * (0.5 - off) / 2
	bins[middle] += weight * (0.75 - off*off)
	bins[min(middle+1, last)] += weight * (0.5 + off) * (0.5 + off) / 2
}

// contrast is the local mean square of what smoothing takes away.
func contrast(p []float64, side int) []float64 {
	squares := smoothed5(p, side)
	for i, low := range squares {
		squares[i] = (p[i] - low) * (p[i] - low)
	}
	return smoothed5(squares, side)
}

// smoothed5 weighs five pixels along rows and columns by binomials.
func smoothed5(p []float64, side int) []float64 { return weighed(p, side, binomial[:]) }

// softened weighs three pixels along rows and columns by binomials.
func softened(p []float64, side int) []float64 { return weighed(p, side, []float64{0.25, 0.5, 0.25}) }

// weighed filters along rows and columns by an odd number of weights, mirrored
// about the border pixels.
func weighed(p []float64, side int, weights []float64) []float64 {
	reach := len(weights) / 2
	rows, out := make([]float64, len(p)), make([]float64, len(p))
	for at := 0; at < len(p); at += side {
		from, to := p[at:at+side], rows[at:at+side]
		for k, w := range weights {
			step := k - reach
			for x := range to {
				if i := x + step; i < 0 || i >= side {
					to[x] += w * from[reflect(i, side)]
				}
			}
			inside := to[max(-step, 0):]
			for x, v := range from[max(step, 0) : side+min(step, 0)] {
				inside[x] += w * v
			}
		}
	}
	for y := range side {
		to := out[y*side : (y+1)*side]
		for k, w := range weights {
			for x, v := range rows[reflect(y+k-reach, side)*side:][:side] {
				to[x] += w * v
			}
		}
	}
	return out
}
