// Package quality measures sets of images: nearest real images and how near
// real images are to each other, which images show overlapping parts of one
// scene, quantiles.
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

// PlaneLen is the number of pixels of one image's channel.
const PlaneLen = spec.Size * spec.Size

// FirstChannels copies the first channel of each image: from uint8
// (n,3,128,128) to (n,128,128). It panics where images is no whole number of
// images.
func FirstChannels(images []uint8) []uint8 {
	if len(images)%spec.ImageLen != 0 {
		panic("quality: not a whole number of images")
	}
	n := len(images) / spec.ImageLen
	planes := make([]uint8, n*PlaneLen)
	for i := range n {
		copy(planes[i*PlaneLen:(i+1)*PlaneLen], images[i*spec.ImageLen:])
	}
	return planes
}

// Source gives the real images' first channels shard by shard, so that no more
// than two shards are in memory.
type Source struct {
	Shards int
	// Images is the number of images in all; 0 means that it is not known, and
	// shards are loaded to count them where it is needed.
	Images int
	// Load returns shard i as planes (n,128,128). It is called again for the
	// same shard and must return the same.
	Load func(ctx context.Context, i int) ([]uint8, error)
}

func (s Source) load(ctx context.Context, i int) ([]uint8, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	planes, err := s.Load(ctx, i)
	if err != nil {
		return nil, fmt.Errorf("load shard %d: %w", i, err)
	}
	if len(planes)%PlaneLen != 0 {
		return nil, fmt.Errorf("load shard %d: %d bytes are no whole number of 128x128 planes", i, len(planes))
	}
	return planes, nil
}

// Neighbour is a real image near a candidate.
type Neighbour struct {
	// Index counts the real images over all shards, in order.
	Index int
	// Distance is Euclidean over the plane's pixels in [-1,1].
	Distance float64
}

// found is a neighbour before its distance is scaled. Pixels are whole
// numbers, so sums of squares compare exactly.
type found struct {
	square int64
	index  int
}

const (
	// nearestBlock is how many candidates are held packed at once, of 16 to 32 KiB
	// each; for more the real images are loaded again.
	nearestBlock = 2048
	// realBlock is how many real images they are multiplied with at a time.
	realBlock = 512
)

// Nearest finds each candidate's k nearest real images, nearest first, equal
// distances by index; fewer where there are fewer real images. candidates are
// planes (n,128,128). progress, if not nil, gets the number of shards compared.
//
// Squared distances are |x|^2 + |y|^2 - 2xy in whole numbers, nothing of which is
// rounded, so that even one grey level's difference from a copy is seen: there is
// no list of near ones to be ranked again by exact distances. Only the square root
// is rounded in the end.
func Nearest(ctx context.Context, candidates []uint8, reals Source, k int, progress func(done, total int)) ([][]Neighbour, error) {
	return nearest(ctx, candidates, reals, k, nil, progress)
}

// nearest is Nearest without the pairs that skip, if not nil, leaves out.
func nearest(
	ctx context.Context, candidates []uint8, reals Source, k int, skip func(candidate, real int) bool, progress func(done, total int),
) ([][]Neighbour, error) {
	if len(candidates)%PlaneLen != 0 {
		return nil, fmt.Errorf("find neighbours: %d bytes are no whole number of 128x128 planes", len(candidates))
	}
	if k < 1 {
		return nil, fmt.Errorf("find neighbours: k = %d; at least 1 is needed", k)
	}
	total := len(candidates) / PlaneLen
	out := make([][]Neighbour, 0, total)
	blocks := (total + nearestBlock - 1) / nearestBlock
	var p packedPlanes
	for block := range blocks {
		from := block * nearestBlock
		p.pack(candidates[from*PlaneLen : min(from+nearestBlock, total)*PlaneLen])
		best := make([][]found, p.rows.Len())
		first := 0
		for i := range reals.Shards {
			planes, err := reals.load(ctx, i)
			if err != nil {
				return nil, fmt.Errorf("find neighbours: %w", err)
			}
			p.against(planes, func(at, n int) {
				eachRun(p.rows.Len(), func(row int) {
					p.collect(&best[row], row, n, k, first+at, func(real int) bool { return skip != nil && skip(from+row, real) })
				})
			})
			first += len(planes) / PlaneLen
			if progress != nil {
				progress(block*reals.Shards+i+1, blocks*reals.Shards)
			}
		}
		for _, list := range best {
			out = append(out, scaled(list))
		}
	}
	return out, nil
}

// packedPlanes is one set of planes, and memory to compare it with others.
type packedPlanes struct {
	rows     kernel.ByteRows
	squares  []int64 // each row's sum of squared pixels
	others   []int64 // the same of those compared with
	products []int32
}

func (p *packedPlanes) pack(planes []uint8) {
	n := len(planes) / PlaneLen
	p.rows.Pack(planes, n, PlaneLen)
	p.squares = slices.Grow(p.squares[:0], n)[:n]
	kernel.ByteSquares(p.squares, planes, PlaneLen)
}

// against multiplies the rows with a number of planes at a time, n from at on, of
// which visit may then ask square.
func (p *packedPlanes) against(planes []uint8, visit func(at, n int)) {
	total := len(planes) / PlaneLen
	for at := 0; at < total; at += realBlock {
		n := min(realBlock, total-at)
		part := planes[at*PlaneLen : (at+n)*PlaneLen]
		p.others = slices.Grow(p.others[:0], n)[:n]
		kernel.ByteSquares(p.others, part, PlaneLen)
		p.products = slices.Grow(p.products[:0], n*p.rows.Len())[:n*p.rows.Len()]
		p.rows.Products(p.products, part, n)
		visit(at, n)
	}
}

// square is the sum of squared differences of row i and plane j of n.
func (p *packedPlanes) square(i, j, n int) int64 {
	return p.squares[i] + p.others[j] - 2*int64(p.products[i*n+j])
}

// collect adds those of n planes to the k nearest of row, first being the number
// of the first.
func (p *packedPlanes) collect(best *[]found, row, n, k, first int, skip func(real int) bool) {
	list, limit := *best, int64(math.MaxInt64)
	if len(list) == k {
		limit = list[k-1].square
	}
	products, own := p.products[row*n:(row+1)*n], p.squares[row]
	for j, other := range p.others[:n] {
		// Of equal distances, the earlier index stays.
		if s := own + other - 2*int64(products[j]); s < limit && !skip(first+j) {
			list = insert(list, found{s, first + j}, k)
			if len(list) == k {
				limit = list[k-1].square
			}
		}
	}
	*best = list
}

// insert keeps the k smallest of list and f, in order.
func insert(list []found, f found, k int) []found {
	at, _ := slices.BinarySearchFunc(list, f, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.square, b.square), cmp.Compare(a.index, b.index))
	})
	list = slices.Insert(list, at, f)
	return list[:min(len(list), k)]
}

// eachRun calls do for 0 to n-1, in parallel, several in a row.
func eachRun(n int, do func(i int)) {
	const run = 16
	_ = each(context.Background(), (n+run-1)/run, func(part int) { // nothing ends it
		for i := part * run; i < min((part+1)*run, n); i++ {
			do(i)
		}
	})
}

func scaled(list []found) []Neighbour {
	out := make([]Neighbour, len(list))
	for i, f := range list {
		out[i] = Neighbour{f.index, distance(f.square)}
	}
	return out
}

// distance scales a sum of squares of grey levels to pixels in [-1,1].
func distance(square int64) float64 { return math.Sqrt(float64(square)) / 127.5 }

// LeaveOneOut is each real image's distance to the nearest other one, in order
// of shards and rows: +Inf for a lone image. Distances are those of Nearest.
// Each pair of shards is compared once, for which shards are loaded repeatedly.
// progress, if not nil, gets the number of shard pairs compared.
func LeaveOneOut(ctx context.Context, reals Source, progress func(done, total int)) ([]float64, error) {
	var nearest []int64
	var starts []int
	var p packedPlanes
	done, total := 0, reals.Shards*(reals.Shards+1)/2
	for i := range reals.Shards {
		planes, err := reals.load(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("compare real images: %w", err)
		}
		p.pack(planes)
		for j := i; j < reals.Shards; j++ {
			if j > i {
				if planes, err = reals.load(ctx, j); err != nil {
					return nil, fmt.Errorf("compare real images: %w", err)
				}
			}
			if i == 0 {
				starts = append(starts, len(nearest))
				nearest = append(nearest, slices.Repeat([]int64{math.MaxInt64}, len(planes)/PlaneLen)...)
			}
			p.against(planes, func(at, n int) { p.mutual(nearest[starts[i]:], nearest[starts[j]+at:], at, n, i == j) })
			done++
			if progress != nil {
				progress(done, total)
			}
		}
	}
	out := make([]float64, len(nearest))
	for i, s := range nearest {
		out[i] = distance(s)
		if s == math.MaxInt64 {
			out[i] = math.Inf(1)
		}
	}
	return out, nil
}

// mutual lowers the nearest squares of the rows and of the n planes to those
// between the two; same says that the planes are the rows from at on.
func (p *packedPlanes) mutual(ofRows, ofPlanes []int64, at, n int, same bool) {
	eachRun(p.rows.Len(), func(i int) {
		for j := range n {
			if !same || at+j != i {
				ofRows[i] = min(ofRows[i], p.square(i, j, n))
			}
		}
	})
	eachRun(n, func(j int) {
		for i := range p.rows.Len() {
			if !same || at+j != i {
				ofPlanes[j] = min(ofPlanes[j], p.square(i, j, n))
			}
		}
	})
}
