// Package quality measures sets of images: nearest real images and how near
// real images are to each other, which images show overlapping parts of one
// scene, quantiles.
package quality

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

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

// candidateBlock bounds how many candidates are held packed at once.
const candidateBlock = 1024

// Nearest finds each candidate's k nearest real images, nearest first, equal
// distances by index; fewer where there are fewer real images. candidates are
// planes (n,128,128). Distances are exact up to the last rounding of a square
// root. progress, if not nil, is told the number of shards compared.
func Nearest(ctx context.Context, candidates []uint8, reals Source, k int, progress func(done, total int)) ([][]Neighbour, error) {
	if len(candidates)%PlaneLen != 0 {
		return nil, fmt.Errorf("find neighbours: %d bytes are no whole number of 128x128 planes", len(candidates))
	}
	if k < 1 {
		return nil, fmt.Errorf("find neighbours: k = %d; at least 1 is needed", k)
	}
	total := len(candidates) / PlaneLen
	out := make([][]Neighbour, 0, total)
	blocks := (total + candidateBlock - 1) / candidateBlock
	for block := range blocks {
		from := block * candidateBlock
		a := pack(candidates[from*PlaneLen : min(from+candidateBlock, total)*PlaneLen])
		best := make([][]found, a.n)
		first := 0
		for i := range reals.Shards {
			planes, err := reals.load(ctx, i)
			if err != nil {
				return nil, fmt.Errorf("find neighbours: %w", err)
			}
			b := packReversed(planes)
			squares(a, b, func(row int, sums []int64) {
				for j, s := range sums {
					best[row] = insert(best[row], found{s, first + j}, k)
				}
			})
			first += b.n
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

// insert keeps the k smallest of list and f, in order.
func insert(list []found, f found, k int) []found {
	if len(list) == k && f.square >= list[k-1].square {
		return list // of equal distances, the earlier index stays
	}
	at, _ := slices.BinarySearchFunc(list, f, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.square, b.square), cmp.Compare(a.index, b.index))
	})
	list = slices.Insert(list, at, f)
	return list[:min(len(list), k)]
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
// progress, if not nil, is told the number of shard pairs compared.
func LeaveOneOut(ctx context.Context, reals Source, progress func(done, total int)) ([]float64, error) {
	var nearest []int64
	var starts []int
	done, total := 0, reals.Shards*(reals.Shards+1)/2
	for i := range reals.Shards {
		planes, err := reals.load(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("compare real images: %w", err)
		}
		a := pack(planes)
		for j := i; j < reals.Shards; j++ {
			if j > i {
				if planes, err = reals.load(ctx, j); err != nil {
					return nil, fmt.Errorf("compare real images: %w", err)
				}
			}
			b := packReversed(planes)
			if i == 0 {
				starts = append(starts, len(nearest))
				nearest = append(nearest, slices.Repeat([]int64{math.MaxInt64}, b.n)...)
			}
			mutual(nearest[starts[i]:], nearest[starts[j]:], a, b, i == j)
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

// mutual lowers the nearest squares of a's rows and of b's rows to those
// between the two; same says that both are one shard.
func mutual(ofA, ofB []int64, a, b planes, same bool) {
	var mu sync.Mutex
	squares(a, b, func(row int, sums []int64) {
		mu.Lock()
		defer mu.Unlock()
		for j, s := range sums {
			if same && j == row {
				continue
			}
			ofA[row] = min(ofA[row], s)
			ofB[j] = min(ofB[j], s)
		}
	})
}

// squares computes the sum of squared differences of every row of a with every
// row of b, in parallel over a's rows. visit gets one row's sums, which it may
// not keep; it is called once for each row, from several goroutines.
func squares(a, b planes, visit func(row int, sums []int64)) {
	const block = 16 // rows of a at a time: they stay in the cache while b passes by
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < a.n; from += block {
		group.Go(func() error {
			end := min(from+block, a.n)
			sums := make([]int64, block*b.n)
			for j := 0; j < b.n; j += 2 {
				j1 := min(j+1, b.n-1)
				for i := from; i < end; i += 2 {
					i1 := min(i+1, end-1)
					p00, p01, p10, p11 := products(&a.rows[i], &a.rows[i1], &b.rows[j], &b.rows[j1])
					sums[(i-from)*b.n+j] = a.squares[i] + b.squares[j] - 2*p00
					sums[(i-from)*b.n+j1] = a.squares[i] + b.squares[j1] - 2*p01
					sums[(i1-from)*b.n+j] = a.squares[i1] + b.squares[j] - 2*p10
					sums[(i1-from)*b.n+j1] = a.squares[i1] + b.squares[j1] - 2*p11
				}
			}
			for i := from; i < end; i++ {
				visit(i, sums[(i-from)*b.n:(i-from+1)*b.n])
			}
			return nil
		})
	}
	_ = group.Wait() // nothing above fails
}
