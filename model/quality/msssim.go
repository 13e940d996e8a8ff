package quality

import (
	"context"
	"math"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// ssimWeights are the exponents of the five scales, 128 to 8 pixels (Wang and
// others, 2003).
var ssimWeights = [5]float64{0.0448, 0.2856, 0.3001, 0.2363, 0.1333}

// maxPairs bounds the pairs whose MS-SSIM is taken.
const maxPairs = 160

// MSSSIM is the multi-scale structural similarity of two images' luminance, each
// uint8 (3,128,128): 1 for equal ones. Windows are Gaussian, 11 pixels wide with
// deviation 1.5, shrunk where a scale is smaller; K1 = 0.01, K2 = 0.03. Negative
// contrast terms count as zero.
func MSSSIM(a, b []uint8) float64 {
	x, y, side := grey(a), grey(b), spec.Size
	product := 1.0
	for scale, weight := range ssimWeights {
		full, contrast := ssim(x, y, side)
		if scale == len(ssimWeights)-1 {
			return product * math.Pow(max(full, 0), weight)
		}
		product *= math.Pow(max(contrast, 0), weight)
		x, y, side = halved(x, side), halved(y, side), side/2
	}
	return product
}

// ssim is the mean over all windows of the structural similarity, and of its
// contrast and structure part alone.
func ssim(x, y []float64, side int) (full, contrast float64) {
	const c1, c2 = (0.01 * 255) * (0.01 * 255), (0.03 * 255) * (0.03 * 255)
	window := gaussian(min(11, side))
	xx, yy, xy := make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(x))
	for i := range x {
		xx[i], yy[i], xy[i] = x[i]*x[i], y[i]*y[i], x[i]*y[i]
	}
	mx, my := smooth(x, side, window), smooth(y, side, window)
	sxx, syy, sxy := smooth(xx, side, window), smooth(yy, side, window), smooth(xy, side, window)
	for i := range mx {
		vx, vy, cov := sxx[i]-mx[i]*mx[i], syy[i]-my[i]*my[i], sxy[i]-mx[i]*my[i]
		cs := (2*cov + c2) / (vx + vy + c2)
		contrast += cs
		full += cs * (2*mx[i]*my[i] + c1) / (mx[i]*mx[i] + my[i]*my[i] + c1)
	}
	n := float64(len(mx))
	return full / n, contrast / n
}

func gaussian(size int) []float64 {
	sigma := 1.5 * float64(size) / 11
	out, sum := make([]float64, size), 0.0
	for i := range out {
		d := (float64(i) - float64(size-1)/2) / sigma
		out[i] = math.Exp(-d * d / 2)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// smooth is the weighted mean of every whole window, (side-size+1) squared.
func smooth(p []float64, side int, window []float64) []float64 {
	out := side - len(window) + 1
	rows := make([]float64, side*out)
	for y := range side {
		for x := range out {
			rows[y*out+x] = dot(window, p[y*side+x:])
		}
	}
	done := make([]float64, out*out)
	for y := range out {
		to := done[y*out : (y+1)*out]
		for k, w := range window {
			for x, v := range rows[(y+k)*out : (y+k+1)*out] {
				to[x] += w * v
			}
		}
	}
	return done
}

// pairSimilarities is the MS-SSIM of up to 160 random pairs of different images,
// each image in as few pairs as possible.
func pairSimilarities(images []uint8, seed uint64, what string) []float64 {
	n := countImages(images)
	if n < 2 {
		return nil
	}
	type pair struct{ a, b int }
	var pairs []pair
	want := min(maxPairs, n*(n-1)/2)
	for round := uint64(0); len(pairs) < want; round++ {
		order := kernel.NewStream(seed, what, round).Perm(n)
		for i := 0; i+1 < n && len(pairs) < want; i += 2 {
			pairs = append(pairs, pair{order[i], order[i+1]})
		}
	}
	out := make([]float64, len(pairs))
	_ = each(context.Background(), len(pairs), func(i int) { // nothing ends it
		out[i] = MSSSIM(pixelsOf(images, pairs[i].a), pixelsOf(images, pairs[i].b))
	})
	return out
}
