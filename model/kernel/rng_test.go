package kernel

import (
	"math"
	"slices"
	"testing"
)

// TestPhiloxKnownAnswers checks against the vectors published with Random123
// (kat_vectors, philox4x32 with 10 rounds).
func TestPhiloxKnownAnswers(t *testing.T) {
	const all = 0xffffffff
	for _, k := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{all, all, all, all}, [2]uint32{all, all}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := philox(k.ctr, k.key); got != k.want {
			t.Errorf("philox(%x, %x) = %x, want %x", k.ctr, k.key, got, k.want)
		}
	}
}

func TestStreamValuesDependOnTheirPlaceOnly(t *testing.T) {
	s := NewStream(7, "weights", 3)
	long := onThreads(t, "normals", func() []float32 {
		x := make([]float32, 3*chunkSize+5)
		s.Normal(x)
		return x
	})
	for _, n := range []int{0, 1, 3, 4, 5, 100, chunkSize + 1} {
		short := make([]float32, n)
		s.Normal(short)
		sameBits(t, "prefix", short, long[:n])
	}
	for _, other := range []Stream{NewStream(8, "weights", 3), NewStream(7, "latents", 3), NewStream(7, "weights", 4)} {
		x := make([]float32, 100)
		other.Normal(x)
		if slices.Equal(x, long[:100]) {
			t.Errorf("stream %+v repeats another", other)
		}
	}
}

func TestNormalMoments(t *testing.T) {
	x := make([]float32, 1<<20)
	NewStream(1, "moments", 0).Normal(x)
	var m [5]float64
	beyond := 0
	for _, v := range x {
		f := float64(v)
		for p := 1; p <= 4; p++ {
			m[p] += math.Pow(f, float64(p)) / float64(len(x))
		}
		if math.Abs(f) > 1.959964 {
			beyond++
		}
	}
	// Bounds of about five standard errors.
	for p, bound := range map[int][2]float64{1: {0, .005}, 2: {1, .007}, 3: {0, .019}, 4: {3, .048}} {
		if math.Abs(m[p]-bound[0]) > bound[1] {
			t.Errorf("moment %d is %g, want %g", p, m[p], bound[0])
		}
	}
	if share := float64(beyond) / float64(len(x)); math.Abs(share-.05) > .0011 {
		t.Errorf("%g of the values lie beyond 1.96 deviations, want 0.05", share)
	}
}

func TestUniform(t *testing.T) {
	x := make([]float32, 1<<18)
	NewStream(1, "uniform", 0).Uniform(x, -0.25, 0.75)
	lo, hi, sum := x[0], x[0], 0.0
	for _, v := range x {
		lo, hi, sum = min(lo, v), max(hi, v), sum+float64(v)
	}
	if lo < -0.25 || hi >= 0.75 || lo > -0.2499 || hi < 0.7499 || math.Abs(sum/float64(len(x))-0.25) > 0.003 {
		t.Errorf("range [%g, %g], mean %g", lo, hi, sum/float64(len(x)))
	}
}

func TestPerm(t *testing.T) {
	counts := make([]int, 25)
	for i := range uint64(5000) {
		p := NewStream(1, "perm", i).Perm(5)
		sorted := slices.Clone(p)
		slices.Sort(sorted)
		if !slices.Equal(sorted, []int{0, 1, 2, 3, 4}) {
			t.Fatalf("%v is no permutation", p)
		}
		for at, v := range p {
			counts[at*5+v]++
		}
	}
	for i, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("value %d stands at place %d %d times of 5000", i%5, i/5, n)
		}
	}
	if len(NewStream(1, "perm", 0).Perm(0)) != 0 {
		t.Error("a permutation of nothing has elements")
	}
}
