package quality

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

func noise(n int, seed uint64) []uint8 {
	r := rand.New(rand.NewPCG(seed, 1))
	p := make([]uint8, n*PlaneLen)
	for i := range p {
		p[i] = uint8(r.Uint32())
	}
	return p
}

// shards splits planes into shards of the given sizes.
func shards(planes []uint8, sizes ...int) Source {
	var parts [][]uint8
	for _, n := range sizes {
		parts = append(parts, planes[:n*PlaneLen])
		planes = planes[n*PlaneLen:]
	}
	return Source{Shards: len(parts), Load: func(_ context.Context, i int) ([]uint8, error) { return parts[i], nil }}
}

// brute is the definition: every distance in float64 over pixels in [-1,1].
func brute(a, b []uint8) float64 {
	sum := 0.0
	for i := range a {
		d := (float64(a[i])/127.5 - 1) - (float64(b[i])/127.5 - 1)
		sum += d * d
	}
	return math.Sqrt(sum)
}

func plane(planes []uint8, i int) []uint8 { return planes[i*PlaneLen : (i+1)*PlaneLen] }

func TestNearestAgainstDefinition(t *testing.T) {
	reals, candidates := noise(23, 1), noise(19, 2)
	// The largest sums, and ties.
	for i := range PlaneLen {
		plane(reals, 3)[i], plane(reals, 4)[i], plane(candidates, 18)[i] = 255, 255, 255
	}
	for _, k := range []int{1, 5, 40} {
		got, err := Nearest(t.Context(), candidates, shards(reals, 10, 1, 12), k, nil)
		require.NoError(t, err)
		require.Len(t, got, 19)
		for i, list := range got {
			var want []Neighbour
			for j := range 23 {
				want = append(want, Neighbour{j, brute(plane(candidates, i), plane(reals, j))})
			}
			slices.SortStableFunc(want, func(a, b Neighbour) int { return cmp.Compare(a.Distance, b.Distance) })
			want = want[:min(k, 23)]
			require.Len(t, list, len(want))
			for r := range want {
				require.Equal(t, want[r].Index, list[r].Index, "candidate %d, rank %d", i, r)
				require.InDelta(t, want[r].Distance, list[r].Distance, 1e-9)
			}
		}
	}
	got, err := Nearest(t.Context(), candidates, shards(reals, 23), 2, nil)
	require.NoError(t, err)
	require.Equal(t, []Neighbour{{3, 0}, {4, 0}}, got[18], "equal distances by index")
}

func TestLeaveOneOutAgainstDefinition(t *testing.T) {
	reals := noise(11, 3)
	copy(plane(reals, 9), plane(reals, 2))
	plane(reals, 9)[77] ^= 1
	calls := 0
	got, err := LeaveOneOut(t.Context(), shards(reals, 4, 5, 2), func(done, total int) {
		calls++
		require.Equal(t, calls, done)
		require.Equal(t, 6, total)
	})
	require.NoError(t, err)
	require.Equal(t, 6, calls)
	for i := range 11 {
		want := math.Inf(1)
		for j := range 11 {
			if i != j {
				want = min(want, brute(plane(reals, i), plane(reals, j)))
			}
		}
		require.InDelta(t, want, got[i], 1e-9, "image %d", i)
	}
	require.InDelta(t, 1/127.5, got[2], 1e-12)
	again, err := LeaveOneOut(t.Context(), shards(reals, 11), nil)
	require.NoError(t, err)
	require.Equal(t, got, again, "shards make no difference")

	lone, err := LeaveOneOut(t.Context(), shards(reals, 1), nil)
	require.NoError(t, err)
	require.Equal(t, []float64{math.Inf(1)}, lone)
}

// TestShardsMakeNoDifference has more images than are multiplied at a time.
func TestShardsMakeNoDifference(t *testing.T) {
	reals, candidates := noise(realBlock+90, 4), noise(70, 5)
	copy(plane(candidates, 50), plane(reals, realBlock+1))
	whole, parts := shards(reals, realBlock+90), shards(reals, 1, 300, realBlock-211)
	want, err := Nearest(t.Context(), candidates, whole, 3, nil)
	require.NoError(t, err)
	require.Equal(t, Neighbour{realBlock + 1, 0}, want[50][0])
	got, err := Nearest(t.Context(), candidates, parts, 3, nil)
	require.NoError(t, err)
	require.Equal(t, want, got)
	if testing.Short() {
		return // 180,000 pairs more, which take plain Go some seconds
	}
	alone, err := LeaveOneOut(t.Context(), whole, nil)
	require.NoError(t, err)
	again, err := LeaveOneOut(t.Context(), parts, nil)
	require.NoError(t, err)
	require.Equal(t, alone, again)
	all, err := Nearest(t.Context(), reals, whole, 2, nil)
	require.NoError(t, err)
	for i, list := range all {
		require.Equal(t, Neighbour{i, 0}, list[0])
		require.Equal(t, alone[i], list[1].Distance)
	}
}

// TestNearestSeesOneGreyLevel: bright images, whose squares are large, differ by
// the least there is; in single precision both distances would be lost.
func TestNearestSeesOneGreyLevel(t *testing.T) {
	reals := slices.Repeat([]uint8{254}, 3*PlaneLen)
	candidate := slices.Clone(plane(reals, 0))
	plane(reals, 0)[5], plane(reals, 0)[6] = 255, 255
	plane(reals, 1)[9] = 255
	plane(reals, 2)[1] = 252
	got, err := Nearest(t.Context(), candidate, shards(reals, 3), 3, nil)
	require.NoError(t, err)
	require.Equal(t, [][]Neighbour{{{1, 1 / 127.5}, {0, math.Sqrt2 / 127.5}, {2, 2 / 127.5}}}, got)
}

func TestNearestFails(t *testing.T) {
	broken := errors.New("broken")
	source := Source{Shards: 1, Load: func(context.Context, int) ([]uint8, error) { return nil, broken }}
	_, err := Nearest(t.Context(), noise(1, 1), source, 1, nil)
	require.ErrorIs(t, err, broken)
	_, err = LeaveOneOut(t.Context(), source, nil)
	require.ErrorIs(t, err, broken)
	odd := Source{Shards: 1, Load: func(context.Context, int) ([]uint8, error) { return make([]uint8, 5), nil }}
	_, err = Nearest(t.Context(), noise(1, 1), odd, 1, nil)
	require.ErrorContains(t, err, "shard 0")
	_, err = Nearest(t.Context(), noise(1, 1), odd, 0, nil)
	require.ErrorContains(t, err, "k = 0")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Nearest(ctx, noise(1, 1), shards(noise(1, 1), 1), 1, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestFirstChannels(t *testing.T) {
	images := make([]uint8, 2*spec.ImageLen)
	images[0], images[PlaneLen-1], images[PlaneLen], images[spec.ImageLen] = 1, 2, 3, 4
	got := FirstChannels(images)
	require.Len(t, got, 2*PlaneLen)
	require.Equal(t, []uint8{1, 2, 4}, []uint8{got[0], got[PlaneLen-1], got[PlaneLen]})
	require.Panics(t, func() { FirstChannels(images[1:]) })
}

func TestQuantile(t *testing.T) {
	// Values of numpy.quantile.
	v := []float64{7, 1, 3, 2}
	require.InDelta(t, 1.0, Quantile(v, 0), 0)
	require.InDelta(t, 1.03, Quantile(v, 0.01), 1e-12)
	require.InDelta(t, 2.5, Quantile(v, 0.5), 1e-12)
	require.InDelta(t, 6.4, Quantile(v, 0.95), 1e-12)
	require.InDelta(t, 7.0, Quantile(v, 1), 0)
	require.Equal(t, []float64{7, 1, 3, 2}, v)
	require.True(t, math.IsNaN(Quantile(nil, 0.5)))
	require.True(t, math.IsInf(Quantile([]float64{math.Inf(1), math.Inf(1)}, 0.5), 1))
	require.InDelta(t, 0.25, ShareBelow(v, 2), 0)
	require.Zero(t, ShareBelow(nil, 1))
}

func BenchmarkNearest(b *testing.B) {
	reals, candidates := noise(512, 1), noise(128, 2)
	for b.Loop() {
		if _, err := Nearest(b.Context(), candidates, shards(reals, 512), 5, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(512*128), "ns/pair")
}
