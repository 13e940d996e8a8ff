package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestTransposed(t *testing.T) {
	r := rand.New(rand.NewPCG(30, 31))
	for _, c := range convShapes {
		y, w, x := convData(c)
		for i := range x { // so that tanh is not flat
			x[i] /= 64
		}
		scale, shift := noise(r, c.C), noise(r, c.C)
		plain := make([]float64, len(y))
		taps(c, func(i, k, o int) { plain[i] += float64(x[o]) * float64(w[k]) })
		for what, f := range map[string]*Finish{
			"nothing":    nil,
			"activation": {Slope: 0.2},
			"batch norm": {Scale: scale, Shift: shift, Slope: 0},
			"tanh":       {Slope: 1, Tanh: true},
			"all":        {Scale: scale, Shift: shift, Slope: 0.2, Tanh: true},
		} {
			want := finished(c, plain, f)
			onWays(t, c, func(t *testing.T) {
				layer := c.NewTransposed(w)
				got := onThreads(t, what+name(c), func() []float32 {
					g := guard(len(y))
					layer.Run(g.x, x, f)
					g.check(t)
					return g.x
				})
				near(t, what+name(c), got, want, 2*convTolerance(c))
			})
		}
	}
}

// finished is Finish's definition.
func finished(c Conv, v []float64, f *Finish) []float64 {
	out := append([]float64{}, v...)
	for i, z := range out {
		if f == nil {
			break
		}
		if ch := i / (c.H * c.W) % c.C; f.Scale != nil {
			z = z*float64(f.Scale[ch]) + float64(f.Shift[ch])
		}
		switch {
		case f.Tanh:
			z = math.Tanh(z)
		case z < 0:
			z *= float64(f.Slope)
		}
		out[i] = z
	}
	return out
}

// TestTransposedIsBackwardInput wants the same bits, so that evaluation agrees
// with the operations that training is made of.
func TestTransposedIsBackwardInput(t *testing.T) {
	for _, c := range []Conv{
		{N: 3, C: 20, H: 16, W: 16, O: 30, K: 4, Stride: 2, Pad: 1},
		{N: 2, C: 64, H: 64, W: 64, O: 64, K: 4, Stride: 2, Pad: 1},
		{N: 8, C: 40, H: 4, W: 4, O: 100, K: 4, Stride: 1, Pad: 0},
	} {
		want, w, x := convData(c)
		onPaths(t, func(t *testing.T) {
			c.BackwardInput(want, x, w, 1)
			got := guard(len(want))
			c.NewTransposed(w).Run(got.x, x, nil)
			sameBits(t, name(c), got.x, want)
		})
	}
}

func TestFoldBatchNorm(t *testing.T) {
	const n, c, hw = 3, 5, 16
	r := rand.New(rand.NewPCG(32, 33))
	x, gamma, beta, mean := noise(r, n*c*hw), noise(r, c), noise(r, c), noise(r, c)
	variance := []float32{0.5, 1, 2, 3, 4}
	scale, shift := make([]float32, c), make([]float32, c)
	FoldBatchNorm(scale, shift, gamma, beta, mean, variance, bnEps)
	onPaths(t, func(t *testing.T) {
		want, got := make([]float32, len(x)), append([]float32{}, x...)
		BatchNormInfer(want, x, gamma, beta, mean, variance, n, c, hw, bnEps, 0.2)
		finishPlanes(got, c, hw, &Finish{Scale: scale, Shift: shift, Slope: 0.2})
		sameBits(t, "folded batch norm", got, want)
	})
}

func TestTransposedRefusesWrongShapes(t *testing.T) {
	c := Conv{N: 1, C: 2, H: 8, W: 8, O: 3, K: 4, Stride: 2, Pad: 1}
	y, w, x := convData(c)
	for what, f := range map[string]func(){
		"short weights": func() { c.NewTransposed(w[1:]) },
		"short input":   func() { c.NewTransposed(w).Run(y, x[1:], nil) },
		"one factor":    func() { c.NewTransposed(w).Run(y, x, &Finish{Scale: w[:1], Shift: w[:1]}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			f()
		}()
	}
}
