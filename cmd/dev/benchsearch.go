package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/defectforge/defectforge/model/quality"
)

const (
	searchK     = 5   // neighbours of each candidate, as in every recipe
	searchShard = 512 // images of a shard, as preprocessing stores them
)

// searchRun is what one side prints of a search: by candidate, the images found,
// nearest first.
type searchRun struct {
	Seconds    float64   `json:"seconds"`
	Neighbours [][]int   `json:"neighbours"`
	Squares    [][]int64 `json:"squares"` // ours alone: of the differences of grey levels
}

// search compares the search for the nearest real images with each peer. Peers
// have all images as float32 in memory before their time begins, and ours as bytes.
func (b *benchmark) search(ctx context.Context) ([]ratio, error) {
	var peers []string
	for _, p := range []string{scikitLearn, faiss} {
		if b.has(p) {
			peers = append(peers, p)
		}
	}
	if len(peers) == 0 {
		return nil, nil
	}
	data := searchData(b.reals, b.candidates)
	if err := data.write(b.dir); err != nil {
		return nil, err
	}
	own, of, err := b.searches(ctx, peers)
	if err != nil {
		return nil, err
	}
	var rows []ratio
	seconds := func(r searchRun) float64 { return r.Seconds }
	for _, p := range peers {
		rows = append(rows, less(fmt.Sprintf("kNN, %d among %d", b.candidates, b.reals), "s",
			medianOf(own, seconds), medianOf(of[p], seconds), b.versions[p]))
	}
	for _, p := range peers {
		a, err := data.agree(own[0], of[p][0].Neighbours)
		if err != nil {
			return nil, fmt.Errorf("neighbours by %s: %w", b.versions[p], err)
		}
		rows = append(rows, more("kNN, right neighbours", fmt.Sprintf("of %d", a.all()), float64(a.all()),
			float64(a.same+a.tied), b.versions[p]+a.remark()))
	}
	return rows, nil
}

// searches runs every round of our own search and of each peer's.
func (b *benchmark) searches(ctx context.Context, peers []string) (own []searchRun, of map[string][]searchRun, err error) {
	of = map[string][]searchRun{}
	for round := range b.rounds {
		b.progress("kNN", round)
		run, err := ours[searchRun](ctx, b, "search", b.dir)
		if err != nil {
			return nil, nil, err
		}
		own = append(own, run)
		for _, p := range peers {
			run, err := measure[searchRun](ctx, b, b.python,
				[]string{b.scriptPath(), "search", p, b.dir, strconv.Itoa(searchK), strconv.Itoa(b.threads)})
			if err != nil {
				return nil, nil, err
			}
			of[p] = append(of[p], run)
		}
	}
	return own, of, nil
}

// imageSets are planes (n,128,128) of bytes.
type imageSets struct{ real, candidate []uint8 }

// searchData draws images in 64 families, so that neighbours are much nearer than
// other images. Every hundredth real image is one before it again: a tie. Of ten
// candidates one is a copy, and one differs from a real image by a grey level in
// three pixels.
func searchData(reals, candidates int) imageSets {
	r := rand.New(rand.NewPCG(20, 26))
	var families [64][quality.PlaneLen]uint8
	for i := range families {
		noise(r, families[i][:])
	}
	draw := func(dst []uint8, family int) {
		noise(r, dst)
		for i, v := range families[family] {
			dst[i] = uint8((3*int(v) + int(dst[i])) / 4)
		}
	}
	s := imageSets{make([]uint8, reals*quality.PlaneLen), make([]uint8, candidates*quality.PlaneLen)}
	for i := range reals {
		if i%100 == 99 {
			copy(plane(s.real, i), plane(s.real, i-1-r.IntN(min(i, 99))))
		} else {
			draw(plane(s.real, i), i%len(families))
		}
	}
	for i := range candidates {
		c := plane(s.candidate, i)
		draw(c, i%len(families))
		if i%10 < 2 {
			copy(c, plane(s.real, r.IntN(reals)))
		}
		if i%10 == 1 {
			for range 3 {
				c[r.IntN(len(c))] ^= 1
			}
		}
	}
	return s
}

// noise fills dst, whose length is a multiple of 8.
func noise(r *rand.Rand, dst []uint8) {
	for i := 0; i < len(dst); i += 8 {
		v := r.Uint64()
		for j := range 8 {
			dst[i+j] = uint8(v >> (8 * j))
		}
	}
}

func plane(images []uint8, i int) []uint8 {
	return images[i*quality.PlaneLen : (i+1)*quality.PlaneLen]
}

const (
	realFile      = "real.u8"
	candidateFile = "candidate.u8"
)

func (s imageSets) write(dir string) error {
	for name, data := range map[string][]uint8{realFile: s.real, candidateFile: s.candidate} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("write images for the search: %w", err)
		}
	}
	return nil
}

func readImageSets(dir string) (s imageSets, err error) {
	for name, data := range map[string]*[]uint8{realFile: &s.real, candidateFile: &s.candidate} {
		if *data, err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return s, fmt.Errorf("read images for the search: %w", err)
		}
	}
	return s, nil
}

// benchSearch is our side of the search.
func benchSearch(dir string) (searchRun, error) {
	s, err := readImageSets(dir)
	if err != nil {
		return searchRun{}, err
	}
	shards := slices.Collect(slices.Chunk(s.real, searchShard*quality.PlaneLen))
	find := func(shards [][]uint8) ([][]quality.Neighbour, error) {
		load := func(_ context.Context, i int) ([]uint8, error) { return shards[i], nil }
		return quality.Nearest(context.Background(), s.candidate, quality.Source{Shards: len(shards), Load: load}, searchK, nil)
	}
	if _, err := find(shards[:1]); err != nil { // to warm up
		return searchRun{}, err
	}
	start := time.Now()
	found, err := find(shards)
	if err != nil {
		return searchRun{}, err
	}
	run := searchRun{Seconds: time.Since(start).Seconds()}
	for _, list := range found {
		var images []int
		var squares []int64
		for _, n := range list {
			images = append(images, n.Index)
			squares = append(squares, int64(math.Round(n.Distance*n.Distance*127.5*127.5)))
		}
		run.Neighbours, run.Squares = append(run.Neighbours, images), append(run.Squares, squares)
	}
	return run, nil
}

// agreement counts places in lists of neighbours: where a peer has the same image
// as ours, another one at the same distance, and one that is further away by no
// more than float32's error.
type agreement struct{ same, tied, near int }

func (a agreement) all() int { return a.same + a.tied + a.near }

func (a agreement) remark() string {
	if a.near == 0 {
		return ""
	}
	return fmt.Sprintf("; %d others are further by less than float32's error", a.near)
}

// agree compares a peer's neighbours with ours, by exact distances: both lists are
// put in the order of these, equal ones by index. It is an error if ours are not
// what we said, if the peer found something nearer, or if it missed an image by
// more than rounding explains.
func (s imageSets) agree(own searchRun, peer [][]int) (a agreement, err error) {
	candidates, reals := len(s.candidate)/quality.PlaneLen, len(s.real)/quality.PlaneLen
	if len(own.Neighbours) != candidates || len(own.Squares) != candidates || len(peer) != candidates {
		return a, fmt.Errorf("neighbours of %d and %d candidates, want %d", len(own.Neighbours), len(peer), candidates)
	}
	for i := range candidates {
		mine, err := s.ranked(i, own.Neighbours[i], reals)
		if err != nil {
			return a, fmt.Errorf("ours: %w", err)
		}
		for r, m := range mine {
			if m.image != own.Neighbours[i][r] || m.square != own.Squares[i][r] {
				return a, fmt.Errorf("ours: neighbour %d of candidate %d is image %d at %d, should be %d at %d",
					r, i, own.Neighbours[i][r], own.Squares[i][r], m.image, m.square)
			}
		}
		theirs, err := s.ranked(i, peer[i], reals)
		if err != nil {
			return a, err
		}
		for r, m := range mine {
			t := theirs[r]
			switch slack := s.rounding(i, m.image); {
			case t.image == m.image:
				a.same++
			case t.square == m.square:
				a.tied++
			case t.square > m.square && float64(t.square-m.square) <= slack:
				a.near++
			default:
				return a, fmt.Errorf("neighbour %d of candidate %d is image %d at %d, by ours %d at %d; float32 explains a difference of %.0f",
					r, i, t.image, t.square, m.image, m.square, slack)
			}
		}
	}
	return a, nil
}

// exact is an image at an exact squared distance.
type exact struct {
	image  int
	square int64
}

// ranked are the images of a list in the order of their exact distances to
// candidate i.
func (s imageSets) ranked(i int, images []int, reals int) ([]exact, error) {
	if len(images) != searchK {
		return nil, fmt.Errorf("candidate %d has %d neighbours, want %d", i, len(images), searchK)
	}
	out := make([]exact, len(images))
	for r, image := range images {
		if image < 0 || image >= reals || slices.Contains(images[:r], image) {
			return nil, fmt.Errorf("candidate %d: neighbours %v are not %d of %d images", i, images, searchK, reals)
		}
		out[r].image = image
		x := plane(s.candidate, i)
		for p, y := range plane(s.real, image) {
			d := int64(x[p]) - int64(y)
			out[r].square += d * d
		}
	}
	slices.SortFunc(out, func(a, b exact) int {
		return cmp.Or(cmp.Compare(a.square, b.square), cmp.Compare(a.image, b.image))
	})
	return out, nil
}

// rounding is how far a squared distance may be off that was put together in
// float32 from squares and a product of n values: with rounding errors that
// are independent, they are about sqrt(n) halves of a last place of the terms (Higham and Mary, 2019).
func (s imageSets) rounding(candidate, real int) float64 {
	sum := 0.0
	for _, v := range plane(s.candidate, candidate) {
		sum += float64(v) * float64(v)
	}
	for _, v := range plane(s.real, real) {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(quality.PlaneLen) * 0x1p-24 * sum
}
