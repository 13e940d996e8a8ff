package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestLoops compares each path's loops with the plain Go ones at every small
// length, with guard cells around what they write.
func TestLoops(t *testing.T) {
	const most, row = 40, 50
	r := rand.New(rand.NewPCG(20, 21))
	src := noise(r, 37*row)
	cases := map[string]struct {
		size int // of the output for n values
		run  func(l *loops, dst []float32, n int)
	}{
		"pairs":   {2 * row, func(l *loops, dst []float32, n int) { l.pairs(dst[:n], dst[row:][:n], src[:2*n]) }},
		"zip":     {2 * most, func(l *loops, dst []float32, n int) { l.zip(dst[:2*n], src[:n], src[row:][:n], 1.5) }},
		"zipLine": {2 * most, func(l *loops, dst []float32, n int) { l.zipLine(dst[:2*n], src[:n], src[row:][:n], 1.5, -0.2, 0.1) }},
		"winogradRows": {8 * row, func(l *loops, dst []float32, n int) {
			if n > 0 {
				l.winogradRows(dst, 4*row, src, row, n, -1, -0.3, 0.1, 0.2)
			}
		}},
		"winogradInput": {9 * row, func(l *loops, dst []float32, n int) {
			if n > 0 {
				l.winogradInput(dst, row, src, 3*row, row, n)
			}
		}},
		"winogradAdjoint": {25 * row, func(l *loops, dst []float32, n int) {
			if n > 0 {
				l.winogradAdjoint(dst, row, src, 3*row, row, n)
			}
		}},
		"winogradPixels": {9 * row, func(l *loops, dst []float32, n int) {
			if n > 0 {
				l.winogradPixels(dst, row, src, row, n)
			}
		}},
		"winograd3Input": {36 * row, func(l *loops, dst []float32, n int) {
			if n > 0 {
				l.winograd3Input(dst, row, src, 4*row, row, n)
			}
		}},
		"winograd3Output": {16 * row, func(l *loops, dst []float32, n int) {
			if n > 0 {
				l.winograd3Output(dst, 4*row, src, row, n, -0.3)
			}
		}},
		"winograd3Pixels": {36 * row, func(l *loops, dst []float32, n int) {
			if n > 0 {
				l.winograd3Pixels(dst, row, src, 4*row, row, n)
			}
		}},
		"winograd3Taps": {9 * row, func(l *loops, dst []float32, n int) {
			if n > 0 {
				l.winograd3Taps(dst, row, src, row, n, -0.3)
			}
		}},
		"winogradOutput": {4 * row, func(l *loops, dst []float32, n int) {
			if n > 0 {
				l.winogradOutput(dst, 2*row, src, row, n, -0.3)
			}
		}},
	}
	onPaths(t, func(t *testing.T) {
		for what, k := range cases {
			for n := range most + 1 {
				got, want := guard(k.size), make([]float32, k.size)
				for i := range want {
					got.x[i], want[i] = -9, -9
				}
				k.run(active.loops, got.x, n)
				k.run(&goLoops, want, n)
				got.check(t)
				for i := range want {
					if d := got.x[i] - want[i]; d > 1e-4 || d < -1e-4 {
						t.Fatalf("%s of %d: value %d is %g, want %g", what, n, i, got.x[i], want[i])
					}
				}
			}
		}
	})
}

func TestWinogradWeights(t *testing.T) {
	taps := noise(rand.New(rand.NewPCG(22, 23)), 256)
	onPaths(t, func(t *testing.T) {
		for h := 1; h <= active.rows; h++ {
			const point = 4*16 + 16
			got, want := guard(points*point), make([]float32, points*point)
			active.winogradWeights(got.x, point, h, taps, h)
			got.check(t)
			winogradWeightsGo(want, point, h, taps, h)
			for p := range points {
				for i := range 4 * h {
					if got.x[p*point+i] != want[p*point+i] {
						t.Fatalf("height %d: point %d, value %d is %g, want %g", h, p, i, got.x[p*point+i], want[p*point+i])
					}
				}
			}
		}
	})
}

func TestWinograd3Weights(t *testing.T) {
	taps := noise(rand.New(rand.NewPCG(26, 27)), 9*16)
	onPaths(t, func(t *testing.T) {
		for h := 1; h <= active.rows; h++ {
			const point = 20
			got, want := guard(points3*point), make([]float32, points3*point)
			active.winograd3Weights(got.x, point, taps, h)
			got.check(t)
			winograd3WeightsGo(want, point, taps, h)
			for p := range points3 {
				for i := range h {
					if d := got.x[p*point+i] - want[p*point+i]; !(d < 1e-5 && d > -1e-5) {
						t.Fatalf("height %d: point %d, value %d is %g, want %g", h, p, i, got.x[p*point+i], want[p*point+i])
					}
				}
			}
		}
	})
}

func TestGather(t *testing.T) {
	r := rand.New(rand.NewPCG(24, 25))
	src := noise(r, 500)
	onPaths(t, func(t *testing.T) {
		width := 2 * active.lanes
		for _, run := range []int{4, 8} {
			for k := 1; k < 20; k++ {
				var base [8]int
				off := make([]int32, k)
				for j := range base {
					base[j] = r.IntN(200)
				}
				for i := range off {
					off[i] = int32(r.IntN(200))
				}
				dst := guard(k * width)
				active.gather(dst.x, src, &base, run, off)
				dst.check(t)
				for i, v := range dst.x {
					j := i % width
					if want := src[base[j/run]+int(off[i/width])+j%run]; v != want {
						t.Fatalf("runs of %d, depth %d: value %d is %g, want %g", run, k, i, v, want)
					}
				}
			}
		}
	})
}
