package kernel

import (
	"math/rand/v2"
	"testing"
)

// taps calls f for every product that the convolution is a sum of, with the
// indices into x, w and y.
func taps(c Conv, f func(x, w, y int)) {
	oh, ow := c.OutH(), c.OutW()
	for n := range c.N {
		for o := range c.O {
			for i := range oh {
				for j := range ow {
					y := ((n*c.O+o)*oh+i)*ow + j
					for ch := range c.C {
						for kh := range c.K {
							for kw := range c.K {
								h, w := c.Stride*i+kh-c.Pad, c.Stride*j+kw-c.Pad
								if h < 0 || w < 0 || h >= c.H || w >= c.W {
									continue
								}
								f(((n*c.C+ch)*c.H+h)*c.W+w, ((o*c.C+ch)*c.K+kh)*c.K+kw, y)
							}
						}
					}
				}
			}
		}
	}
}

var convShapes = []Conv{
	{N: 2, C: 3, H: 8, W: 8, O: 5, K: 4, Stride: 2, Pad: 1},
	{N: 3, C: 3, H: 64, W: 64, O: 17, K: 4, Stride: 2, Pad: 1},
	{N: 2, C: 17, H: 32, W: 32, O: 29, K: 4, Stride: 2, Pad: 1},
	{N: 3, C: 33, H: 16, W: 16, O: 31, K: 4, Stride: 2, Pad: 1},
	{N: 5, C: 40, H: 8, W: 8, O: 70, K: 4, Stride: 2, Pad: 1},
	{N: 3, C: 70, H: 4, W: 4, O: 1, K: 4, Stride: 1, Pad: 0},
	{N: 12, C: 19, H: 4, W: 4, O: 100, K: 4, Stride: 1, Pad: 0},
	{N: 1, C: 1, H: 2, W: 2, O: 1, K: 4, Stride: 2, Pad: 1},
	{N: 2, C: 3, H: 11, W: 7, O: 4, K: 4, Stride: 2, Pad: 1},
	{N: 2, C: 2, H: 9, W: 10, O: 3, K: 3, Stride: 1, Pad: 1},
	{N: 1, C: 5, H: 13, W: 17, O: 7, K: 5, Stride: 3, Pad: 2},
	{N: 2, C: 2, H: 7, W: 6, O: 3, K: 3, Stride: 2, Pad: 0},
	{N: 1, C: 3, H: 9, W: 9, O: 2, K: 1, Stride: 2, Pad: 0},
	{N: 1, C: 2, H: 16, W: 48, O: 3, K: 4, Stride: 1, Pad: 3},
	{N: 1, C: 2, H: 12, W: 12, O: 3, K: 4, Stride: 4, Pad: 1},
	{N: 1, C: 2, H: 12, W: 13, O: 3, K: 4, Stride: 2, Pad: 2},
	{N: 1, C: 2, H: 13, W: 12, O: 3, K: 5, Stride: 2, Pad: 3},
	{N: 2, C: 30, H: 6, W: 34, O: 33, K: 4, Stride: 2, Pad: 1},
	{N: 2, C: 280, H: 4, W: 4, O: 290, K: 4, Stride: 2, Pad: 1},
	{N: 33, C: 17, H: 8, W: 8, O: 15, K: 4, Stride: 2, Pad: 1},
	{N: 2, C: 6, H: 16, W: 64, O: 5, K: 4, Stride: 2, Pad: 1},
	{N: 2, C: 3, H: 128, W: 128, O: 16, K: 4, Stride: 2, Pad: 1},
	{N: 2, C: 3, H: 8, W: 8, O: 5, K: 3, Stride: 1, Pad: 1},
	{N: 3, C: 19, H: 16, W: 16, O: 33, K: 3, Stride: 1, Pad: 1},
	{N: 5, C: 40, H: 4, W: 4, O: 70, K: 3, Stride: 1, Pad: 1},
	{N: 1, C: 17, H: 32, W: 20, O: 29, K: 3, Stride: 1, Pad: 1},
	{N: 2, C: 6, H: 12, W: 128, O: 1, K: 3, Stride: 1, Pad: 1},
	{N: 3, C: 140, H: 8, W: 8, O: 70, K: 3, Stride: 1, Pad: 1},
}

// onWays runs f on every path, and where Winograd's way can be taken, on that as
// well.
func onWays(t *testing.T, c Conv, f func(t *testing.T)) {
	t.Helper()
	onPaths(t, f)
	channels, tiles, channels3, tiles3 := winogradChannels, winogradTiles, winograd3Channels, winograd3Tiles
	defer func() {
		winogradChannels, winogradTiles, winograd3Channels, winograd3Tiles = channels, tiles, channels3, tiles3
	}()
	winogradChannels, winogradTiles, winograd3Channels, winograd3Tiles = 0, 1, 0, 1
	if c.winograd() || c.fits3() {
		onPaths(t, f)
	}
}

func convData(c Conv) (x, w, dy []float32) {
	r := rand.New(rand.NewPCG(1, uint64(c.H)))
	return noise(r, c.N*c.C*c.H*c.W), noise(r, c.O*c.C*c.K*c.K), noise(r, c.N*c.O*c.OutH()*c.OutW())
}

// convTolerance is larger where four by four pixels are computed at once.
func convTolerance(c Conv) float64 {
	if c.K == 3 && c.Stride == 1 {
		return 1e-5
	}
	return 2e-6
}

func TestConvForward(t *testing.T) {
	const scale = 0.37
	for _, c := range convShapes {
		x, w, dy := convData(c)
		want := make([]float64, len(dy))
		taps(c, func(i, k, o int) { want[o] += scale * float64(x[i]) * float64(w[k]) })
		onWays(t, c, func(t *testing.T) {
			got := onThreads(t, name(c), func() []float32 {
				g := guard(len(dy))
				c.Forward(g.x, x, w, scale)
				g.check(t)
				return g.x
			})
			near(t, name(c), got, want, convTolerance(c))
		})
	}
}

func TestConvBackwardInput(t *testing.T) {
	const scale = -1.7
	for _, c := range convShapes {
		x, w, dy := convData(c)
		want := make([]float64, len(x))
		taps(c, func(i, k, o int) { want[i] += scale * float64(dy[o]) * float64(w[k]) })
		onWays(t, c, func(t *testing.T) {
			got := onThreads(t, name(c), func() []float32 {
				g := guard(len(x))
				c.BackwardInput(g.x, dy, w, scale)
				g.check(t)
				return g.x
			})
			near(t, name(c), got, want, convTolerance(c))
		})
	}
}

func TestConvBackwardWeights(t *testing.T) {
	const scale = 0.9
	for _, c := range convShapes {
		x, w, dy := convData(c)
		want := make([]float64, len(w))
		taps(c, func(i, k, o int) { want[k] += scale * float64(dy[o]) * float64(x[i]) })
		onWays(t, c, func(t *testing.T) {
			got := onThreads(t, name(c), func() []float32 {
				g := guard(len(w))
				c.BackwardWeights(g.x, x, dy, scale)
				g.check(t)
				return g.x
			})
			near(t, name(c), got, want, convTolerance(c))
		})
	}
}

func TestConvRefusesWrongShapes(t *testing.T) {
	c := Conv{N: 1, C: 2, H: 8, W: 8, O: 3, K: 4, Stride: 2, Pad: 1}
	x, w, y := convData(c)
	for what, f := range map[string]func(){
		"short input":     func() { c.Forward(y, x[1:], w, 1) },
		"short weights":   func() { c.BackwardInput(x, y, w[1:], 1) },
		"short output":    func() { c.BackwardWeights(w, x, y[1:], 1) },
		"padding too big": func() { c := c; c.Pad = 4; c.Forward(y, x, w, 1) },
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

func TestWarmCallsAllocateNothing(t *testing.T) {
	runs := 10
	if testing.Short() {
		runs = 3
	}
	for _, c := range []Conv{
		{N: 4, C: 20, H: 16, W: 16, O: 30, K: 4, Stride: 2, Pad: 1},
		{N: 2, C: 64, H: 32, W: 32, O: 64, K: 4, Stride: 2, Pad: 1}, // by Winograd's way
		{N: 4, C: 20, H: 4, W: 4, O: 30, K: 4, Stride: 1, Pad: 0},
		{N: 4, C: 20, H: 16, W: 16, O: 32, K: 4, Stride: 2, Pad: 1, BF16: true},
	} {
		x, w, y := convData(c)
		v := make([]float32, len(w))
		p := make([]float32, 6*c.C)
		layer := c.NewTransposed(w)
		var byteRows ByteRows
		pixels, products, squares := make([]uint8, 40*37), make([]int32, 20*40), make([]int64, 40)
		finish := &Finish{Scale: p[4*c.C:][:c.C], Shift: p[5*c.C:], Slope: 0.2}
		step := func() {
			c.Forward(y, x, w, 1)
			c.BackwardInput(x, y, w, 1)
			c.BackwardWeights(v, x, y, 1)
			Scale(x, x, 0.01)
			Adam(w, v, v, w, 1e-4, 0.5, 0.999, 1, 1e-8)
			Dot(x, x)
			BatchNormForward(x, p[:c.C], p[c.C:][:c.C], x, p[2*c.C:][:c.C], p[3*c.C:][:c.C], c.N, c.C, c.H*c.W, 1e-5, 0.2)
			BatchNormInfer(x, x, p[2*c.C:][:c.C], p[3*c.C:][:c.C], p[:c.C], p[c.C:][:c.C], c.N, c.C, c.H*c.W, 1e-5, 0.2)
			BatchNormBackward(x, p[:c.C], p[c.C:][:c.C], x, x, p[2*c.C:][:c.C], p[3*c.C:][:c.C], p[4*c.C:][:c.C],
				p[5*c.C:], c.N, c.C, c.H*c.W, 1e-5, 0.2)
			FoldBatchNorm(finish.Scale, finish.Shift, p[:c.C], p[c.C:][:c.C], p[2*c.C:][:c.C], p[3*c.C:][:c.C], 1)
			layer.Run(x, y, finish)
			MatTVec(p[:c.C], w[:c.C], p[c.C:][:1], 1, c.C)
			MatVec(p[:1], w[:c.C], p[c.C:][:c.C], 1, c.C)
			MatMul(v[:16], w[:4*c.C], w[:4*c.C], 4, 4, c.C, false, true)
			SquaredDistances(v[:16], w[:4*c.C], w[:4*c.C], 4, 4, c.C)
			byteRows.Pack(pixels[:20*37], 20, 37)
			byteRows.Products(products, pixels, 40)
			ByteSquares(squares, pixels, 37)
			SquaredDifference(pixels, pixels)
			Add(x, x, x)
			Axpy(x, x, 0.5)
			Norm(x)
			AllFinite(x)
			LeakyReLU(x, x, 0.2)
			LeakyReLUBackward(x, x, x, 0.2)
			Tanh(x, x)
			TanhBackward(x, x, x)
		}
		for range runs {
			step()
		}
		if n := testing.AllocsPerRun(runs, step); n > 0 {
			t.Errorf("%+v: a warm step allocates %g objects", c, n)
		}
	}
}
