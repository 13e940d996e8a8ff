package quality

import (
	"context"
	"math"
	"slices"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// Sliced Wasserstein distance after Karras and others (2018), of luminance.
const (
	swdLevels  = 4 // 128, 64, 32 and 16 pixels
	patchSide  = 7
	patchLen   = patchSide * patchSide
	directions = 4 * 128
	// maxPatches bounds the patches of a level: 128 of each image where there
	// are few, fewer of each where there are many.
	maxPatches, patchesPerImage = 4096, 128
)

// projections are the sorted projections of one set's patches: by level, then
// direction.
type projections [swdLevels][][]float32

// project draws patches of the set's images, normalises each level's to mean zero
// and deviation one, and projects them. All sets that are compared must have the
// same number of images and the same seed; draw distinguishes the sets.
func project(images []uint8, seed uint64, draw string) projections {
	n := countImages(images)
	per := min(patchesPerImage, max(maxPatches/max(n, 1), 1))
	var patches [swdLevels][]float32
	for l := range patches {
		patches[l] = make([]float32, n*per*patchLen)
	}
	_ = each(context.Background(), n, func(i int) { // nothing ends it
		for l, level := range pyramid(grey(pixelsOf(images, i))) {
			side := spec.Size >> l
			at := make([]float32, 2*per)
			kernel.NewStream(seed, draw, uint64(i*swdLevels+l)).Uniform(at, 0, float32(side-patchSide+1))
			for k := range per {
				top, left := min(int(at[2*k]), side-patchSide), min(int(at[2*k+1]), side-patchSide)
				dst := patches[l][(i*per+k)*patchLen:][:patchLen]
				for j := range dst {
					dst[j] = float32(level[(top+j/patchSide)*side+left+j%patchSide])
				}
			}
		}
	})
	var out projections
	for l := range out {
		normalise(patches[l])
		out[l] = sortedProjections(patches[l], n*per, seed, l)
	}
	return out
}

// sortedProjections projects rows onto unit directions that depend on seed and
// level alone.
func sortedProjections(patches []float32, rows int, seed uint64, level int) [][]float32 {
	axes := make([]float32, directions*patchLen)
	kernel.NewStream(seed, "swd directions", uint64(level)).Normal(axes)
	for d := range directions {
		axis := axes[d*patchLen : (d+1)*patchLen]
		kernel.Scale(axis, axis, float32(1/kernel.Norm(axis)))
	}
	products := make([]float32, directions*rows)
	kernel.MatMul(products, axes, patches, directions, rows, patchLen, false, true)
	out := make([][]float32, directions)
	_ = each(context.Background(), directions, func(d int) {
		out[d] = products[d*rows : (d+1)*rows]
		sortFloats(out[d])
	})
	return out
}

// sortFloats sorts finite values by their bits, eleven at a time, which takes a
// fifth of the time of comparing them.
func sortFloats(values []float32) {
	const digit, passes = 11, 3
	keys, other := make([]uint32, len(values)), make([]uint32, len(values))
	for i, v := range values {
		// Bits that rise as values do: negative ones inverted, others behind them.
		b := math.Float32bits(v)
		keys[i] = b ^ (uint32(int32(b)>>31) | 1<<31)
	}
	for pass := range passes {
		var start [1<<digit + 1]int
		for _, k := range keys {
			start[k>>(pass*digit)&(1<<digit-1)+1]++
		}
		for d := 1; d <= 1<<digit; d++ {
			start[d] += start[d-1]
		}
		for _, k := range keys {
			d := k >> (pass * digit) & (1<<digit - 1)
			other[start[d]] = k
			start[d]++
		}
		keys, other = other, keys
	}
	for i, k := range keys {
		values[i] = math.Float32frombits(k ^ (^uint32(int32(k)>>31) | 1<<31))
	}
}

func normalise(values []float32) {
	if len(values) == 0 {
		return
	}
	sum, squares := 0.0, 0.0
	for _, v := range values {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(values))
	mean := sum / n
	deviation := math.Sqrt(max(squares/n-mean*mean, 1e-12))
	for i, v := range values {
		values[i] = float32((float64(v) - mean) / deviation)
	}
}

// swd is the distance of two projected sets, times 1000, by level. NaN where they
// hold different numbers of patches, or none.
func swd(a, b projections) (out [swdLevels]float64) {
	for l := range out {
		sum, n := 0.0, 0
		for d := range a[l] {
			if len(a[l][d]) != len(b[l][d]) {
				out[l] = math.NaN()
				return out
			}
			for k, v := range a[l][d] {
				sum += math.Abs(float64(v - b[l][d][k]))
			}
			n += len(a[l][d])
		}
		out[l] = 1000 * sum / float64(n)
	}
	return out
}

// pyramid is the Laplacian pyramid of a picture of 128x128: three levels of what
// the next smaller one lacks, and the smallest itself.
func pyramid(p []float64) [swdLevels][]float64 {
	var out [swdLevels][]float64
	side := spec.Size
	for l := range swdLevels - 1 {
		small := binomialHalf(p, side)
		out[l] = slices.Clone(p)
		for i, v := range binomialDouble(small, side/2) {
			out[l][i] -= v
		}
		p, side = small, side/2
	}
	out[swdLevels-1] = p
	return out
}

var binomial = [5]float64{1.0 / 16, 4.0 / 16, 6.0 / 16, 4.0 / 16, 1.0 / 16}

// reflect mirrors a position about the border pixels.
func reflect(i, n int) int {
	if i < 0 {
		return -i
	}
	if i >= n {
		return 2*(n-1) - i
	}
	return i
}

// binomialHalf smooths and keeps every second pixel of every second row.
func binomialHalf(p []float64, side int) []float64 {
	half := side / 2
	rows := make([]float64, side*half)
	for y := range side {
		for x := range half {
			for k, w := range binomial {
				rows[y*half+x] += w * p[y*side+reflect(2*x+k-2, side)]
			}
		}
	}
	out := make([]float64, half*half)
	for y := range half {
		for k, w := range binomial {
			from := reflect(2*y+k-2, side) * half
			for x := range half {
				out[y*half+x] += w * rows[from+x]
			}
		}
	}
	return out
}

// binomialDouble spreads the pixels to every second place and smooths, keeping
// the mean.
func binomialDouble(p []float64, side int) []float64 {
	double := 2 * side
	rows := make([]float64, side*double)
	for y := range side {
		for x := range double {
			for k, w := range binomial {
				if from := reflect(x+k-2, double); from%2 == 0 {
					rows[y*double+x] += 2 * w * p[y*side+from/2]
				}
			}
		}
	}
	out := make([]float64, double*double)
	for y := range double {
		for k, w := range binomial {
			if from := reflect(y+k-2, double); from%2 == 0 {
				for x := range double {
					out[y*double+x] += 2 * w * rows[from/2*double+x]
				}
			}
		}
	}
	return out
}
