package kernel

import (
	"math"
	"testing"
)

// farFrom is |got-want|/|want|.
func farFrom(got []float32, want []float64) float64 {
	var off, size float64
	for i, w := range want {
		d := float64(got[i]) - w
		off += d * d
		size += w * w
	}
	return math.Sqrt(off / size)
}

// What Winograd's way costs in accuracy, beside the direct sum: see NOTES.md. Inputs
// are as behind a ReLU.
func TestAccuracyOfWinogradForThreeByThree(t *testing.T) {
	channels, tiles := winograd3Channels, winograd3Tiles
	defer func() { winograd3Channels, winograd3Tiles = channels, tiles }()
	for _, c := range []Conv{
		{N: 4, C: 16, H: 32, W: 32, O: 16, K: 3, Stride: 1, Pad: 1},
		{N: 1, C: 64, H: 32, W: 32, O: 32, K: 3, Stride: 1, Pad: 1},
		{N: 2, C: 256, H: 8, W: 8, O: 64, K: 3, Stride: 1, Pad: 1},
	} {
		x, w, dy := convData(c)
		LeakyReLU(x, x, 0)
		wantY, wantX, wantW := make([]float64, len(dy)), make([]float64, len(x)), make([]float64, len(w))
		taps(c, func(i, k, o int) {
			wantY[o] += float64(x[i]) * float64(w[k])
			wantX[i] += float64(dy[o]) * float64(w[k])
			wantW[k] += float64(dy[o]) * float64(x[i])
		})
		y, dx, dw := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(w))
		errors := func(least int) [3]float64 {
			winograd3Channels, winograd3Tiles = least, 1
			if c.fits3() != (least == 0) {
				t.Fatalf("%s: not the way that is to be measured", name(c))
			}
			c.Forward(y, x, w, 1)
			c.BackwardInput(dx, dy, w, 1)
			c.BackwardWeights(dw, x, dy, 1)
			return [3]float64{farFrom(y, wantY), farFrom(dx, wantX), farFrom(dw, wantW)}
		}
		onPaths(t, func(t *testing.T) {
			direct, winograd := errors(math.MaxInt), errors(0)
			t.Logf("%s: forward, by input, by weights: direct %.1e, Winograd %.1e", name(c), direct, winograd)
			for i, pass := range []string{"forward", "by input", "by weights"} {
				if !(winograd[i] <= 12*direct[i]) || !(winograd[i] <= 3e-6) {
					t.Errorf("%s: %s is off by %.2g, directly by %.2g", name(c), pass, winograd[i], direct[i])
				}
			}
		})
	}
}
