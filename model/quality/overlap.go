package quality

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// ThumbSize is the side of the thumbnails that Overlaps compares: grey, 64x64,
// in rows.
const ThumbSize = 64

const thumbLen = ThumbSize * ThumbSize

// A pair overlaps where its phase correlation peaks high enough and the parts
// that fall on each other at that shift correlate well enough: the sharper the
// peak, the less is asked. Measured over all pairs within each of four classes
// of steel strip images (NEU, 300 of each): pairs that show the same pixels at
// full resolution peak from 0.12 to 0.85 and correlate from 0.7 to 1. In three
// classes next to nothing else peaks that high. Scratches of different strips
// do, straight lines being alike, but correlate below 0.7, at low peaks 0.8.
const (
	minPeak, minCorrelation         = 0.12, 0.8
	highPeak, minCorrelationForHigh = 0.2, 0.7
	// minShared is the smallest part of a thumbnail's area that is compared.
	minShared = 0.1
)

// Pair names two images by index, A < B.
type Pair struct{ A, B int }

// Overlaps finds the pairs of thumbnails that show parts of one scene, one
// shifted against the other by up to about two thirds of the picture: crops of
// one photograph. Brightness may differ, scale and orientation may not. Pairs
// are ordered by A, then B. It compares every thumbnail with every other, at
// about 30 microseconds a pair; progress, if not nil, gets the number of images done.
func Overlaps(ctx context.Context, thumbs [][]uint8, progress func(done, total int)) ([]Pair, error) {
	return overlaps(ctx, thumbs, nil, progress)
}

// overlaps is Overlaps of the pairs that a wanted thumbnail is in; nil wants all.
func overlaps(ctx context.Context, thumbs [][]uint8, wanted []bool, progress func(done, total int)) ([]Pair, error) {
	for i, t := range thumbs {
		if len(t) != thumbLen {
			return nil, fmt.Errorf("find overlaps: thumbnail %d has %d bytes, want %d", i, len(t), thumbLen)
		}
	}
	spectra := make([][]complex64, len(thumbs))
	detail := make([][]float32, len(thumbs))
	err := each(ctx, len(thumbs), func(i int) { spectra[i], detail[i] = spectrum(thumbs[i]), highPass(thumbs[i]) })
	if err != nil {
		return nil, fmt.Errorf("find overlaps: %w", err)
	}
	found := make([][]Pair, len(thumbs))
	var mu sync.Mutex
	done := 0
	err = each(ctx, len(thumbs), func(i int) {
		found[i] = overlapsOf(i, spectra, detail, wanted)
		if progress != nil {
			mu.Lock()
			defer mu.Unlock()
			done++
			progress(done, len(thumbs))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find overlaps: %w", err)
	}
	return slices.Concat(found...), nil
}

// each calls do for 0 to n-1, in parallel, until ctx ends.
func each(ctx context.Context, n int, do func(i int)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			do(i)
			return nil
		})
	}
	return group.Wait()
}

// overlapsOf compares image i with later ones, two at a time: their
// correlations are real, so one is carried as the imaginary part.
func overlapsOf(i int, spectra [][]complex64, detail [][]float32, wanted []bool) []Pair {
	var later []int
	for j := i + 1; j < len(spectra); j++ {
		if wanted == nil || wanted[i] || wanted[j] {
			later = append(later, j)
		}
	}
	var pairs []Pair
	var t transform
	for k := 0; k < len(later); k += 2 {
		j, second := later[k], later[min(k+1, len(later)-1)]
		first, other := spectra[j], spectra[second]
		for k, f := range spectra[i] {
			// The conjugate of the product: a forward transform then does
			// what an inverse one should.
			a, b := conj(f)*first[k], conj(f)*other[k]
			t.data[k] = complex(real(a)+imag(b), imag(a)-real(b))
		}
		t.run()
		at, at2 := 0, 0
		peak, peak2 := float32(0), float32(0)
		for k, v := range t.data {
			if real(v) > peak {
				at, peak = k, real(v)
			}
			if -imag(v) > peak2 {
				at2, peak2 = k, -imag(v)
			}
		}
		if overlap(detail[i], detail[j], at, peak/thumbLen) {
			pairs = append(pairs, Pair{i, j})
		}
		if second > j && overlap(detail[i], detail[second], at2, peak2/thumbLen) {
			pairs = append(pairs, Pair{i, second})
		}
	}
	return pairs
}

func conj(v complex64) complex64 { return complex(real(v), -imag(v)) }

// overlap reports whether the parts of a and b that share a place when b is
// shifted by the peak's position correlate. A position on the ring stands for
// a shift to either side, and is exact to a pixel.
func overlap(a, b []float32, at int, peak float32) bool {
	needed := minCorrelation
	switch {
	case peak < minPeak:
		return false
	case peak >= highPeak:
		needed = minCorrelationForHigh
	}
	y, x := at/ThumbSize, at%ThumbSize
	for _, dy := range []int{y, y - ThumbSize} {
		for _, dx := range []int{x, x - ThumbSize} {
			if float64((ThumbSize-abs(dx))*(ThumbSize-abs(dy))) < minShared*thumbLen {
				continue
			}
			for ey := -1; ey <= 1; ey++ {
				for ex := -1; ex <= 1; ex++ {
					if correlation(a, b, dx+ex, dy+ey) >= needed {
						return true
					}
				}
			}
		}
	}
	return false
}

// correlation is Pearson's, of a at (x,y) with b at (x-dx, y-dy) where both are.
func correlation(a, b []float32, dx, dy int) float64 {
	y0, y1 := max(0, dy), min(ThumbSize, ThumbSize+dy)
	x0, x1 := max(0, dx), min(ThumbSize, ThumbSize+dx)
	if y1 <= y0 || x1 <= x0 {
		return 0
	}
	var sa, sb, saa, sbb, sab float64
	for y := y0; y < y1; y++ {
		ra := a[y*ThumbSize+x0 : y*ThumbSize+x1]
		rb := b[(y-dy)*ThumbSize+x0-dx:][:len(ra)]
		for k, v := range ra {
			p, q := float64(v), float64(rb[k])
			sa += p
			sb += q
			saa += p * p
			sbb += q * q
			sab += p * q
		}
	}
	n := float64((y1 - y0) * (x1 - x0))
	va, vb := saa-sa*sa/n, sbb-sb*sb/n
	if va < n || vb < n { // less than one grey level of detail: nothing to see
		return 0
	}
	return (sab - sa*sb/n) / math.Sqrt(va*vb)
}

// spectrum is the thumbnail's Fourier transform with every magnitude made one,
// as transform leaves it. A window lets the picture fade at its border, which would
// correlate by itself.
func spectrum(thumb []uint8) []complex64 {
	mean := 0.0
	for _, v := range thumb {
		mean += float64(v) / thumbLen
	}
	var window [ThumbSize]float64
	for i := range window {
		window[i] = math.Sqrt(0.5 - 0.5*math.Cos(2*math.Pi*float64(i+1)/(ThumbSize+1)))
	}
	var t transform
	for i, v := range thumb {
		t.data[i] = complex(float32((float64(v)-mean)*window[i/ThumbSize]*window[i%ThumbSize]), 0)
	}
	t.run()
	out := make([]complex64, thumbLen)
	for i, v := range t.data {
		const floor = 1e-3 // keeps empty frequencies at nothing
		size := math.Hypot(float64(real(v)), float64(imag(v))) + floor
		out[i] = complex(float32(float64(real(v))/size), float32(float64(imag(v))/size))
	}
	return out
}

// highPass takes the mean of the 7x7 pixels around each pixel from it.
func highPass(thumb []uint8) []float32 {
	const radius = 3
	out := make([]float32, thumbLen)
	for y := range ThumbSize {
		for x := range ThumbSize {
			sum := 0
			for dy := -radius; dy <= radius; dy++ {
				for dx := -radius; dx <= radius; dx++ {
					sy, sx := min(max(y+dy, 0), ThumbSize-1), min(max(x+dx, 0), ThumbSize-1)
					sum += int(thumb[sy*ThumbSize+sx])
				}
			}
			out[y*ThumbSize+x] = float32(thumb[y*ThumbSize+x]) - float32(sum)/((2*radius+1)*(2*radius+1))
		}
	}
	return out
}

func abs(v int) int { return max(v, -v) }
