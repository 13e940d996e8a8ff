package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// onPaths runs f once per instruction set of this build and machine.
func onPaths(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	onEach(t, sets(), f)
}

// onVariants runs f once per instruction set and way to multiply bfloat16, tile
// registers among them on every machine: where it has none, they are emulated.
func onVariants(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	all := append(paths(), withEmulatedAMX(goPath))
	for _, p := range all {
		if p.variant == "avx512-plain" && all[0].tileAMX == nil {
			all = append(all, withEmulatedAMX(*p))
		}
	}
	onEach(t, all, f)
}

func onEach(t *testing.T, all []*path, f func(t *testing.T)) {
	t.Helper()
	before := active
	defer func() { active = before }()
	for _, p := range all {
		active = p
		t.Run(p.variant, f)
	}
}

// sets are the paths of different names.
func sets() []*path {
	return slices.CompactFunc(paths(), func(a, b *path) bool { return a.name == b.name })
}

func noise(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

const guardSize = 40

// guarded is a slice whose surroundings are watched.
type guarded struct {
	all []float32
	x   []float32
}

const guardValue = 12345.678

// guard makes a slice of n values amid guard cells; its own begin as NaN, so
// that what a kernel forgets to write is seen.
func guard(n int) guarded {
	all := make([]float32, n+2*guardSize)
	for i := range all {
		all[i] = guardValue
	}
	x := all[guardSize : guardSize+n : guardSize+n]
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return guarded{all: all, x: x}
}

func (g guarded) check(t *testing.T) {
	t.Helper()
	n := len(g.all)
	for i := range guardSize {
		if g.all[i] != guardValue || g.all[n-1-i] != guardValue {
			t.Fatalf("a guard cell %d from the slice's ends was written", guardSize-i)
		}
	}
}

// near fails unless got is within tolerance of want, relative to scale, the
// size of the sums behind the values.
func near(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	scale := 1e-30
	for _, w := range want {
		scale = math.Max(scale, math.Abs(w))
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= tolerance*scale) {
			t.Fatalf("%s: value %d is %g, want %g (off by %.2g of the largest)", what, i, got[i], w, d/scale)
		}
	}
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %g with %d threads, %g with one", what, i, got[i], Threads(), want[i])
		}
	}
}

// onThreads computes with 1, 2, 3 and 4 threads and wants the same bits.
func onThreads(t *testing.T, what string, f func() []float32) []float32 {
	t.Helper()
	defer SetThreads(0)
	SetThreads(1)
	first := f()
	for n := 2; n <= 4; n++ {
		SetThreads(n)
		sameBits(t, what, f(), first)
	}
	return first
}

func name(v any) string { return fmt.Sprintf("%+v", v) }
