package quality

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

const (
	// MaxShift is the largest shift, in pixels along each axis, of a transformed
	// neighbour.
	MaxShift = 8
	// inner is the side of the part of a candidate that is compared: at every
	// shift it lies within the real image.
	inner = spec.Size - 2*MaxShift

	// The search goes over averages of 8x8 pixels, for the real image at every
	// fourth pixel, which finds a shift to within two pixels.
	cell, stride = 8, 4
	cells        = inner / cell
	cellLen      = cells * cells
	steps        = 2*MaxShift/stride + 1
	// ranked is how many real images, in the orientation that suits best, are
	// compared at full size after the search.
	ranked = 8
	// searchBlock is how many real images are searched at a time, candidateBlock
	// how many candidates are held at once: of these, all orientations, 128 KiB each,
	// and the products with one block of real images, 100 KiB each.
	searchBlock    = 128
	candidateBlock = 1024
)

// Orientations is the number of ways in which a square lies on itself: four
// turns, each also mirrored.
const Orientations = 8

// Transformed is the real image that is nearest to a candidate when the
// candidate may be mirrored, turned by quarters and shifted.
type Transformed struct {
	Index       int // as in Neighbour; -1 where there was none to compare with
	Orientation int // 0 to 3: quarter turns; 4 to 7: the same after mirroring
	DX, DY      int // shift in pixels after that, at most MaxShift either way
	// Distance is Euclidean over the candidate's inner 112x112 pixels in [-1,1],
	// scaled up to the whole plane's 128x128: +Inf where Index is -1.
	Distance float64
}

// Words says how the candidate was laid on the real image.
func (t Transformed) Words() string {
	text := []string{asItIs, "turned by 90 degrees", "turned by 180 degrees", "turned by 270 degrees",
		"mirrored", "mirrored and turned by 90 degrees", "mirrored and turned by 180 degrees",
		"mirrored and turned by 270 degrees"}[t.Orientation]
	if t.DX != 0 || t.DY != 0 {
		text += fmt.Sprintf(", shifted by %d and %d pixels", t.DX, t.DY)
	}
	return text
}

// NearestTransformed finds each candidate's nearest real image over all
// orientations and shifts. candidates are planes (n,128,128). The search is by
// down-sampled pictures; the best eight are compared at full size at every shift
// within three pixels of the one found, so that distances are exact for the place they
// are given for. skip, if not nil, leaves out pairs of candidate and real image.
// Real images are loaded twice, shard by shard.
func NearestTransformed(
	ctx context.Context, candidates []uint8, reals Source, skip func(candidate, real int) bool, progress func(done, total int),
) ([]Transformed, error) {
	if len(candidates)%PlaneLen != 0 {
		return nil, fmt.Errorf("find transformed neighbours: %d bytes are no whole number of 128x128 planes", len(candidates))
	}
	var out []Transformed
	total := len(candidates) / PlaneLen
	blocks := (total + candidateBlock - 1) / candidateBlock
	for block := range blocks {
		from, end := block*candidateBlock, min((block+1)*candidateBlock, total)
		s := newSearch(candidates[from*PlaneLen : end*PlaneLen])
		if skip != nil {
			s.skip = func(c, r int) bool { return skip(from+c, r) }
		}
		for pass, do := range []func([]uint8, int){s.search, s.refine} {
			first := 0
			for i := range reals.Shards {
				planes, err := reals.load(ctx, i)
				if err != nil {
					return nil, fmt.Errorf("find transformed neighbours: %w", err)
				}
				do(planes, first)
				first += len(planes) / PlaneLen
				if progress != nil {
					progress((2*block+pass)*reals.Shards+i+1, 2*blocks*reals.Shards)
				}
			}
		}
		out = append(out, s.best...)
	}
	return out, nil
}

// search is the state of one block of candidates.
type search struct {
	n       int
	turned  [][]uint8 // by candidate, then orientation
	small   []float32 // (n*Orientations, cellLen): averages of the inner part
	squares []float32 // of small's rows
	ranks   [][]place
	best    []Transformed
	least   []int64 // sums of squares of best
	skip    func(candidate, real int) bool

	// What one block of real images takes.
	windows, windowSquares, products []float32
}

// place is a real image in one orientation, at the shift that suits best.
type place struct {
	square       float32
	index        int
	orientation  int
	stepX, stepY int
}

func newSearch(candidates []uint8) *search {
	s := &search{n: len(candidates) / PlaneLen}
	s.turned = make([][]uint8, s.n*Orientations)
	s.small = make([]float32, s.n*Orientations*cellLen)
	s.squares = make([]float32, s.n*Orientations)
	s.ranks = make([][]place, s.n)
	_ = each(context.Background(), s.n, func(i int) { // nothing ends it
		for o := range Orientations {
			row := i*Orientations + o
			s.turned[row] = oriented(candidates[i*PlaneLen:(i+1)*PlaneLen], o)
			small := s.small[row*cellLen:][:cellLen]
			averages(small, integral(s.turned[row]), MaxShift, MaxShift)
			s.squares[row] = float32(kernel.Dot(small, small))
		}
	})
	for range s.n {
		s.best = append(s.best, Transformed{Index: -1, Distance: math.Inf(1)})
		s.least = append(s.least, math.MaxInt64)
	}
	return s
}

// oriented is the plane in one of its orientations.
func oriented(plane []uint8, orientation int) []uint8 { return orient(plane, spec.Size, orientation) }

// orient is a square of any side in one of its orientations.
func orient[T any](square []T, side, orientation int) []T {
	last := side - 1
	out := make([]T, len(square))
	for i := range out {
		y, x := i/side, i%side
		for range orientation % 4 {
			y, x = x, last-y
		}
		if orientation >= 4 {
			x = last - x
		}
		out[i] = square[y*side+x]
	}
	return out
}

// integral sums the pixels above and left of each corner, (129,129).
func integral(plane []uint8) []int32 {
	const side = spec.Size + 1
	out := make([]int32, side*side)
	for y := range spec.Size {
		row := int32(0)
		for x := range spec.Size {
			row += int32(plane[y*spec.Size+x])
			out[(y+1)*side+x+1] = out[y*side+x+1] + row
		}
	}
	return out
}

// averages are the means of 14x14 cells whose first corner is (top,left), less
// 128.
func averages(dst []float32, sums []int32, top, left int) {
	const side = spec.Size + 1
	for i := range dst {
		y, x := top+i/cells*cell, left+i%cells*cell
		sum := sums[(y+cell)*side+x+cell] - sums[y*side+x+cell] - sums[(y+cell)*side+x] + sums[y*side+x]
		dst[i] = float32(sum)/(cell*cell) - 128
	}
}

// search compares the down-sampled candidates with those of real images, of
// which first is the number of the first.
func (s *search) search(planes []uint8, first int) {
	n := len(planes) / PlaneLen
	for from := 0; from < n; from += searchBlock {
		count := min(searchBlock, n-from)
		squares := resized(&s.windowSquares, count*steps*steps)
		windows := resized(&s.windows, len(squares)*cellLen)
		_ = each(context.Background(), count, func(j int) {
			sums := integral(planes[(from+j)*PlaneLen : (from+j+1)*PlaneLen])
			for k := range steps * steps {
				row := j*steps*steps + k
				window := windows[row*cellLen:][:cellLen]
				averages(window, sums, k/steps*stride, k%steps*stride)
				squares[row] = float32(kernel.Dot(window, window))
			}
		})
		products := resized(&s.products, s.n*Orientations*len(squares))
		kernel.MatMul(products, s.small, windows, s.n*Orientations, len(squares), cellLen, false, true)
		_ = each(context.Background(), s.n, func(i int) { s.rank(i, first+from, products, squares) })
	}
}

// resized is n floats of *memory, which grows for them.
func resized(memory *[]float32, n int) []float32 {
	*memory = slices.Grow((*memory)[:0], n)[:n]
	return *memory
}

// rank keeps candidate i's best places among the real images of one block.
func (s *search) rank(i, first int, products, squares []float32) {
	width := len(squares)
	for j := range width / (steps * steps) {
		if s.skip != nil && s.skip(i, first+j) {
			continue
		}
		for o := range Orientations {
			row := i*Orientations + o
			p := place{square: math.MaxFloat32, index: first + j, orientation: o}
			for k := range steps * steps {
				at := j*steps*steps + k
				if v := s.squares[row] + squares[at] - 2*products[row*width+at]; v < p.square {
					p.square, p.stepY, p.stepX = v, k/steps, k%steps
				}
			}
			s.keep(i, p)
		}
	}
}

// keep inserts p into candidate i's list, ordered by square, of equal ones the
// earlier first.
func (s *search) keep(i int, p place) {
	list := s.ranks[i]
	if len(list) == ranked && p.square >= list[ranked-1].square {
		return
	}
	at, _ := slices.BinarySearchFunc(list, p, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.square, b.square), -1) // behind equal ones
	})
	list = slices.Insert(list, at, p)
	s.ranks[i] = list[:min(len(list), ranked)]
}

// refine compares ranked places at full size, of the real images from first on.
func (s *search) refine(planes []uint8, first int) {
	n := len(planes) / PlaneLen
	_ = each(context.Background(), s.n, func(i int) {
		for _, p := range s.ranks[i] {
			if p.index >= first && p.index < first+n {
				at := p.index - first
				s.compare(i, p, planes[at*PlaneLen:(at+1)*PlaneLen])
			}
		}
	})
}

// compare tries every shift within a stride of the place.
func (s *search) compare(i int, p place, real []uint8) {
	turned := s.turned[i*Orientations+p.orientation]
	for top := max(0, p.stepY*stride-stride+1); top <= min(2*MaxShift, p.stepY*stride+stride-1); top++ {
		for left := max(0, p.stepX*stride-stride+1); left <= min(2*MaxShift, p.stepX*stride+stride-1); left++ {
			square := innerSquare(turned, real, top, left, s.least[i])
			if square < s.least[i] {
				s.least[i] = square
				s.best[i] = Transformed{Index: p.index, Orientation: p.orientation, DX: left - MaxShift, DY: top - MaxShift,
					Distance: distance(square) * spec.Size / inner}
			}
		}
	}
}

// innerSquare sums the squared differences of the candidate's inner part and the
// real image's part whose first corner is (top,left), or of its first rows where
// these alone reach limit.
func innerSquare(candidate, real []uint8, top, left int, limit int64) int64 {
	var total int64
	for y := range inner {
		a := candidate[(y+MaxShift)*spec.Size+MaxShift:][:inner]
		if total += kernel.SquaredDifference(a, real[(y+top)*spec.Size+left:][:inner]); total >= limit {
			break
		}
	}
	return total
}
