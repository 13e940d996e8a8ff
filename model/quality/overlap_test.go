package quality

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// scene is smooth noise, 192 pixels wide and high.
func scene(seed uint64) func(x, y int) uint8 {
	r := rand.New(rand.NewPCG(seed, 7))
	const side = 192
	raw := make([]float64, side*side)
	for i := range raw {
		raw[i] = r.Float64() * 255
	}
	return func(x, y int) uint8 {
		sum := 0.0
		for dy := range 3 {
			for dx := range 3 {
				sum += raw[(y+dy)%side*side+(x+dx)%side]
			}
		}
		return uint8(sum / 9)
	}
}

func crop(at func(x, y int) uint8, left, top, brighter int) []uint8 {
	t := make([]uint8, thumbLen)
	for i := range t {
		t[i] = uint8(min(int(at(left+i%ThumbSize, top+i/ThumbSize))+brighter, 255))
	}
	return t
}

func TestOverlaps(t *testing.T) {
	a, b := scene(1), scene(2)
	flat := make([]uint8, thumbLen)
	thumbs := [][]uint8{
		crop(a, 60, 60, 0),
		crop(b, 60, 60, 0),
		crop(a, 60, 60, 25),  // brighter
		crop(a, 90, 60, 0),   // half of it, to the right
		crop(b, 40, 84, 0),   // to the left and down
		crop(a, 120, 120, 0), // next to nothing of the first
		flat, flat,           // nothing to be seen is no overlap
		crop(a, 110, 130, 10), // of the one before these
		crop(b, 66, 34, 0),    // upwards
	}
	calls := 0
	got, err := Overlaps(t.Context(), thumbs, func(done, total int) {
		calls++
		require.Equal(t, calls, done)
		require.Equal(t, len(thumbs), total)
	})
	require.NoError(t, err)
	require.Equal(t, len(thumbs), calls)
	require.Equal(t, []Pair{{0, 2}, {0, 3}, {1, 4}, {1, 9}, {2, 3}, {5, 8}}, got)
	_, err = Overlaps(t.Context(), [][]uint8{{1}}, nil)
	require.ErrorContains(t, err, "thumbnail 0")
}

func TestOverlapsOddAndEven(t *testing.T) {
	for n := range 5 {
		var thumbs [][]uint8
		var want []Pair
		for i := range n {
			thumbs = append(thumbs, crop(scene(9), 60, 60, i))
			for j := i + 1; j < n; j++ {
				want = append(want, Pair{i, j})
			}
		}
		got, err := Overlaps(t.Context(), thumbs, nil)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(got))
	}
}

func TestTransformAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var in [thumbLen]complex128
	var tr transform
	for i := range in {
		in[i] = complex(r.NormFloat64(), r.NormFloat64())
		tr.data[i] = complex64(in[i])
	}
	tr.run()
	for _, at := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {5, 63}, {32, 17}, {63, 62}, {48, 16}} {
		fy, fx := at[0], at[1]
		sum := complex128(0)
		for y := range ThumbSize {
			for x := range ThumbSize {
				sum += in[y*ThumbSize+x] * cmplx.Rect(1, -2*math.Pi*float64(fy*y+fx*x)/ThumbSize)
			}
		}
		require.InDelta(t, 0, cmplx.Abs(sum-complex128(tr.data[fx*ThumbSize+fy])), 1e-3, "frequency %v", at)
	}
}

func BenchmarkOverlaps(b *testing.B) {
	var thumbs [][]uint8
	for i := range 60 {
		thumbs = append(thumbs, crop(scene(uint64(i)), 60, 60, 0))
	}
	for b.Loop() {
		if _, err := Overlaps(b.Context(), thumbs, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(60*59/2), "ns/pair")
}
