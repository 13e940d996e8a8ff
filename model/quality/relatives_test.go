package quality

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"
)

// window is a source whose shards are made when they are asked for, and not kept:
// it counts how often each is loaded, and how many there are at a time.
type window struct {
	sizes  []int
	fill   func(dst []uint8, image int)
	loads  []int
	loaded []weak.Pointer[uint8]
	most   int
}

func newWindow(fill func(dst []uint8, image int), sizes ...int) *window {
	return &window{sizes: sizes, fill: fill, loads: make([]int, len(sizes))}
}

func (w *window) source() Source {
	images := 0
	for _, n := range w.sizes {
		images += n
	}
	return Source{Shards: len(w.sizes), Images: images, Load: w.load}
}

func (w *window) load(_ context.Context, shard int) ([]uint8, error) {
	runtime.GC()
	w.loaded = slices.DeleteFunc(w.loaded, func(p weak.Pointer[uint8]) bool { return p.Value() == nil })
	planes := make([]uint8, w.sizes[shard]*PlaneLen)
	first := 0
	for _, n := range w.sizes[:shard] {
		first += n
	}
	for i := range w.sizes[shard] {
		w.fill(plane(planes, i), first+i)
	}
	w.loads[shard]++
	w.loaded = append(w.loaded, weak.Make(&planes[0]))
	w.most = max(w.most, len(w.loaded))
	return planes, nil
}

// crops fills planes with parts of scenes, each of which several images show.
func crops(seed uint64, perScene int) func(dst []uint8, image int) {
	return func(dst []uint8, image int) {
		at := scene(seed + uint64(image/perScene))
		r := rand.New(rand.NewPCG(seed, uint64(image)))
		left, top := r.IntN(40), r.IntN(40)
		for i := range dst {
			dst[i] = at(left+i%128, top+i/128)
		}
	}
}

// TestFindCopiesReadsShardsThroughAWindow: however many shards and groups there
// are, two shards at a time are in memory, and each is loaded a stated number of
// times.
func TestFindCopiesReadsShardsThroughAWindow(t *testing.T) {
	const perScene = 3
	for _, shards := range []int{4, 12} {
		training := newWindow(crops(1, perScene), slices.Repeat([]int{5}, shards)...)
		holdout := newWindow(crops(900, perScene), slices.Repeat([]int{4}, shards/2)...)
		groups := make([]string, 5*shards)
		for i := range groups {
			groups[i] = fmt.Sprint("scene ", i/perScene)
		}
		c, err := FindCopies(t.Context(), CopyInput{
			Candidates: noise(3, 8), Training: training.source(), Holdout: holdout.source(),
			Groups: groups, HoldoutGroups: slices.Repeat([]string{"held"}, 4*shards/2),
			RejectQuantile: 0.01, TailQuantile: 0.05, Neighbours: 2,
		})
		require.NoError(t, err)
		require.Len(t, c.Null, len(groups))
		require.Len(t, c.Holdout, 4*shards/2)
		require.Empty(t, c.Notes)
		require.LessOrEqual(t, training.most, 2, "training shards in memory at a time")
		require.LessOrEqual(t, holdout.most, 2, "held-out shards in memory at a time")
		// Candidates: 1, transformed 2; hold-out 1; thumbnails of all groups 1, rows 1,
		// null 1, transformed 2.
		require.Equal(t, slices.Repeat([]int{9}, shards), training.loads)
		// Candidates: 1, transformed 2; rows 1.
		require.Equal(t, slices.Repeat([]int{4}, shards/2), holdout.loads)
	}
}

func TestRelativesOfSomeAreThoseOfAll(t *testing.T) {
	const n = 30
	w := newWindow(crops(40, 6), 7, 11, 12)
	groups := make([]string, n)
	for i := range groups {
		groups[i] = fmt.Sprint("group ", i%2) // of several scenes, not in a row
	}
	all := Spaced(n, n)
	got, err := relatives(t.Context(), w.source(), groups, all, n)
	require.NoError(t, err)
	planes, err := w.source().rows(t.Context(), all)
	require.NoError(t, err)
	found := 0
	for i, list := range got {
		var want []int
		for j := range n {
			if i == j || groups[i] != groups[j] {
				continue
			}
			a, b := min(i, j), max(i, j)
			pairs, err := Overlaps(t.Context(), [][]uint8{thumbOf(plane(planes, a)), thumbOf(plane(planes, b))}, nil)
			require.NoError(t, err)
			if len(pairs) > 0 {
				want = append(want, j)
			}
		}
		require.Equal(t, want, list, "image %d", i)
		found += len(list)
	}
	require.Greater(t, found, n, "the images have relatives")

	some := []int{2, 3, 17, 29}
	few, err := relatives(t.Context(), w.source(), groups, some, n)
	require.NoError(t, err)
	for k, i := range some {
		require.Equal(t, got[i], few[k])
	}
	none, err := relatives(t.Context(), w.source(), nil, some, n)
	require.NoError(t, err)
	require.Equal(t, make([][]int, len(some)), none)
}

// TestRelativesNeedFewThumbnails: of more images than thumbnails are held at a
// time the shards are read again, once for every so many.
func TestRelativesNeedFewThumbnails(t *testing.T) {
	const n, perGroup, shards = 60, 4, 6
	w := newWindow(func(dst []uint8, image int) { dst[0] = uint8(image) }, slices.Repeat([]int{n / shards}, shards)...)
	groups := make([]string, n)
	for i := range groups {
		groups[i] = fmt.Sprint(i / perGroup)
	}
	for _, k := range []struct {
		rows   []int
		atOnce int
		loads  []int
	}{
		{Spaced(n, n), n, []int{1, 1, 1, 1, 1, 1}},
		{Spaced(n, n), n - 1, []int{2, 2, 2, 2, 2, 2}},
		{Spaced(n, n), perGroup * 5, []int{3, 3, 2, 2, 1, 1}},
		{Spaced(n, n), 1, []int{15, 13, 10, 8, 5, 3}}, // a group at a time
		{[]int{0, 13}, n, []int{1, 1, 0, 0, 0, 0}},    // no further than the last of the groups
	} {
		clear(w.loads)
		_, err := relatives(t.Context(), w.source(), groups, k.rows, k.atOnce)
		require.NoError(t, err)
		require.Equal(t, k.loads, w.loads)
	}
}

func TestRowsBeyondTheEnd(t *testing.T) {
	_, err := shards(noise(3, 1), 3).rows(t.Context(), []int{1, 3})
	require.ErrorContains(t, err, "image 3: there are 3")
}

// TestHoldoutIsSampled: of many held-out images evenly spaced ones are compared.
func TestHoldoutIsSampled(t *testing.T) {
	const n = maxNull + 512
	reals := noise(5, 3)
	held := newWindow(func(dst []uint8, image int) {
		copy(dst, plane(reals, image%5))
		dst[0] += uint8(image % 7)
	}, n/2, n/2)
	groups := make([]string, n)
	for i := range groups {
		groups[i] = fmt.Sprint(i)
	}
	c := Copies{}
	require.NoError(t, c.findHoldout(t.Context(), CopyInput{Training: shards(reals, 5), Holdout: held.source(), HoldoutGroups: groups}))
	require.Len(t, c.Holdout, maxNull)
	for k, i := range Spaced(n, maxNull) {
		require.Equal(t, fmt.Sprint(i), c.HoldoutGroups[k])
		d := float64(uint8(plane(reals, i%5)[0]+uint8(i%7))) - float64(plane(reals, i%5)[0])
		require.InDelta(t, max(d, -d)/127.5, c.Holdout[k], 1e-12)
	}
	require.Equal(t, []string{"how near held-out images are to training images: 2048 of 2560 held-out images, evenly spaced, against all"}, c.Notes)
	require.ErrorContains(t, c.findHoldout(t.Context(), CopyInput{Holdout: held.source(), HoldoutGroups: groups[1:]}), "2559 groups of 2560")
}
