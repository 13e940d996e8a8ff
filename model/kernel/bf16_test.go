package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestBfloat16Bits(t *testing.T) {
	for _, k := range []struct{ in, want uint32 }{
		{0x3f800000, 0x3f80}, // 1
		{0x3f807fff, 0x3f80}, // below half of a step
		{0x3f808000, 0x3f80}, // half, to the even neighbour below
		{0x3f818000, 0x3f82}, // half, to the even neighbour above
		{0x3f808001, 0x3f81}, // above half
		{0xbf818000, 0xbf82}, // the same below zero
		{0x7f7fffff, 0x7f80}, // the largest becomes infinite
		{0x7f800000, 0x7f80}, // infinity
		{0xff800000, 0xff80},
		{0x7f800001, 0x7fc0}, // a signalling NaN becomes a quiet one
		{0x807fffff, 0x8000}, // subnormal
		{0x00800000, 0x0080}, // the smallest normal
		{0x80000000, 0x8000},
	} {
		if got := bfloat16Bits(math.Float32frombits(k.in)); got != k.want {
			t.Errorf("%08x becomes %04x, want %04x", k.in, got, k.want)
		}
	}
}

// TestRoundingLoops compares the paths' loops with the plain Go ones, bit by bit.
func TestRoundingLoops(t *testing.T) {
	r := rand.New(rand.NewPCG(40, 41))
	src := make([]float32, 400)
	for i := range src {
		bits := r.Uint32()
		if i%7 == 0 { // no mantissa, and half a step
			bits = bits&0xff800000 | 0x8000
		}
		src[i] = math.Float32frombits(bits)
	}
	onVariants(t, func(t *testing.T) {
		for n := range 70 {
			got, want := guard(n), make([]float32, n)
			active.roundPairs(got.x, src, src[200:])
			roundPairsGo(want, src, src[200:])
			got.check(t)
			sameBits(t, "pairs", got.x, want)
			active.roundNeighbours(got.x, src)
			roundNeighboursGo(want, src)
			got.check(t)
			sameBits(t, "neighbours", got.x, want)
		}
	})
}

func TestTilePairs(t *testing.T) {
	r := rand.New(rand.NewPCG(42, 43))
	words := func(n int) []float32 {
		w := make([]float32, n)
		roundNeighboursGo(w, noise(r, 2*n))
		return w
	}
	onVariants(t, func(t *testing.T) {
		p := active
		width := 2 * p.lanes
		emulated := tilePairsGo(p.lanes)
		for m := 1; m <= p.rows; m++ {
			for k := 1; k < 20; k++ {
				a, b := words(m*k), words(400)
				off := make([]int32, k)
				for i := range off {
					off[i] = int32(r.IntN(300))
				}
				b0, b1 := r.IntN(50), r.IntN(50)
				ldc := width + 3
				c := guard(m * ldc)
				for i := range c.x {
					c.x[i] = float32(i)
				}
				want := append([]float32{}, c.x...)
				emulated(want, ldc, a, m, b, b0, b1, off)
				p.tilePairs(c.x, ldc, a, m, b, b0, b1, off)
				c.check(t)
				near(t, name([]int{m, k}), c.x, doubles(want), 1e-6)
			}
		}
	})
}

func doubles(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// rounded is x in bfloat16, as float32 values.
func rounded(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = math.Float32frombits(bfloat16Bits(v) << 16)
	}
	return y
}

func TestConvBF16(t *testing.T) {
	for _, c := range convShapes {
		c.BF16 = true
		if testing.Short() && c.N*c.O*c.C*c.OutH()*c.OutW() > 1<<18 {
			continue
		}
		x, w, dy := convData(c)
		a, b, d := x, w, dy // what is multiplied
		if !c.full() {
			a, b, d = rounded(x), rounded(w), rounded(dy)
		}
		y, dx, dw := make([]float64, len(dy)), make([]float64, len(x)), make([]float64, len(w))
		taps(c, func(i, k, o int) {
			y[o] += 0.5 * float64(a[i]) * float64(b[k])
			dx[i] += 0.5 * float64(d[o]) * float64(b[k])
			if c.OutW()%2 == 0 {
				dw[k] += 0.5 * float64(d[o]) * float64(a[i])
			} else {
				dw[k] += 0.5 * float64(dy[o]) * float64(x[i])
			}
		})
		onVariants(t, func(t *testing.T) {
			for _, op := range []struct {
				what string
				want []float64
				run  func(out []float32)
			}{
				{"forward", y, func(out []float32) { c.Forward(out, x, w, 0.5) }},
				{"input", dx, func(out []float32) { c.BackwardInput(out, dy, w, 0.5) }},
				{"weights", dw, func(out []float32) { c.BackwardWeights(out, x, dy, 0.5) }},
			} {
				got := onThreads(t, op.what+name(c), func() []float32 {
					g := guard(len(op.want))
					op.run(g.x)
					g.check(t)
					return g.x
				})
				near(t, op.what+name(c), got, op.want, convTolerance(c))
			}
		})
	}
}

// withEmulatedAMX is p with the definition of tileAMX in place of tile registers,
// so that what surrounds it is tested everywhere.
func withEmulatedAMX(p path) *path {
	width := 2 * p.lanes
	p.variant, p.tileAMX = p.name+"-emulated-amx", func(c []float32, ldc int, a []float32, lda, m int, b []float32, k int) {
		for i := range m {
			for j := range width {
				var sum float32
				for t := range 16 * k {
					x0, x1 := wordParts(a[i*lda+t])
					y0, y1 := wordParts(b[t*width+j])
					sum += x1 * y1
					sum += x0 * y0
				}
				c[i*ldc+j] += sum
			}
		}
	}
	return &p
}

// TestTileAMX checks each number of rows against the emulation.
func TestTileAMX(t *testing.T) {
	r := rand.New(rand.NewPCG(44, 45))
	onVariants(t, func(t *testing.T) {
		p := active
		if p.tileAMX == nil {
			return
		}
		width := 2 * p.lanes
		off := make([]int32, 48)
		for i := range off {
			off[i] = int32(width * i)
		}
		for m := 1; m <= amxRows; m++ {
			for k := 1; k <= 3; k++ {
				lda, ldc := 16*k+5, width+3
				a, b := make([]float32, m*lda), make([]float32, 16*k*width)
				roundNeighboursGo(a, noise(r, 2*len(a)))
				roundNeighboursGo(b, noise(r, 2*len(b)))
				columns := make([]float32, 16*k*m) // a as the emulation reads it
				for i := range m {
					for l := range 16 * k {
						columns[l*m+i] = a[i*lda+l]
					}
				}
				c := guard(m * ldc)
				for i := range c.x {
					c.x[i] = float32(i)
				}
				want := append([]float32{}, c.x...)
				tilePairsGo(p.lanes)(want, ldc, columns, m, b, 0, p.lanes, off[:16*k])
				p.tileAMX(c.x, ldc, a, lda, m, b, k)
				c.check(t)
				near(t, name([]int{m, k}), c.x, doubles(want), 1e-6)
			}
		}
	})
}
