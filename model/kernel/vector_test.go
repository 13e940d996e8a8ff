package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// lengths holds every small length and some around a chunk's end.
func lengths() []int {
	var all []int
	for n := range 70 {
		all = append(all, n)
	}
	return append(all, 127, 1000, chunkSize-1, chunkSize, chunkSize+1, 3*chunkSize+17)
}

func leaky(x, slope float64) float64 {
	if x > 0 {
		return x
	}
	return slope * x
}

// vectorCases are kernels of two inputs and one output.
var vectorCases = map[string]struct {
	run  func(d, x, y []float32)
	want func(d, x, y float64) float64
}{
	"add":   {func(d, x, y []float32) { Add(d, x, y) }, func(_, x, y float64) float64 { return x + y }},
	"scale": {func(d, x, _ []float32) { Scale(d, x, -2.5) }, func(_, x, _ float64) float64 { return -2.5 * x }},
	"axpy":  {func(d, x, _ []float32) { Axpy(d, x, 0.7) }, func(d, x, _ float64) float64 { return d + 0.7*x }},
	"leaky": {func(d, x, _ []float32) { LeakyReLU(d, x, 0.2) }, func(_, x, _ float64) float64 { return leaky(x, 0.2) }},
	"leakyBack": {func(d, x, y []float32) { LeakyReLUBackward(d, y, x, 0.2) }, func(_, x, y float64) float64 {
		if x > 0 {
			return y
		}
		return 0.2 * y
	}},
	"tanh":     {func(d, x, _ []float32) { Tanh(d, x) }, func(_, x, _ float64) float64 { return math.Tanh(x) }},
	"tanhBack": {func(d, x, y []float32) { TanhBackward(d, y, x) }, func(_, x, y float64) float64 { return y * (1 - x*x) }},
}

func TestVectorKernels(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 13))
	onPaths(t, func(t *testing.T) {
		for what, k := range vectorCases {
			for _, n := range lengths() {
				x, y, d := noise(r, n), noise(r, n), noise(r, n)
				if n > 3 {
					x[n/2] = 0
				}
				want := make([]float64, n)
				for i := range want {
					want[i] = k.want(float64(d[i]), float64(x[i]), float64(y[i]))
				}
				got := onThreads(t, what, func() []float32 {
					g := guard(n)
					copy(g.x, d)
					k.run(g.x, x, y)
					g.check(t)
					return g.x
				})
				near(t, what, got, want, 2e-6)
			}
		}
	})
}

func TestTanhAccuracy(t *testing.T) {
	onPaths(t, func(t *testing.T) {
		var x []float32
		for v := -12.0; v <= 12; v += 0.00137 {
			x = append(x, float32(v), float32(v*1e-3), float32(v*1e-8))
		}
		x = append(x, 0, 88, -88, 1e30, float32(math.Inf(1)), float32(math.Inf(-1)))
		y := make([]float32, len(x))
		Tanh(y, x)
		for i, v := range x {
			w := math.Tanh(float64(v))
			if d := math.Abs(float64(y[i]) - w); !(d <= 4e-7*math.Abs(w)) {
				t.Fatalf("tanh(%g) = %g, want %g", v, y[i], w)
			}
		}
	})
}

func TestReductions(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 15))
	onPaths(t, func(t *testing.T) {
		for _, n := range lengths() {
			a, b := noise(r, n), noise(r, n)
			dot, squares := 0.0, 0.0
			for i := range a {
				dot += float64(a[i]) * float64(b[i])
				squares += float64(a[i]) * float64(a[i])
			}
			onThreads(t, "dot", func() []float32 {
				got, norm := Dot(a, b), Norm(a)
				if math.Abs(got-dot) > 1e-12*float64(n+1) || math.Abs(norm-math.Sqrt(squares)) > 1e-12*float64(n+1) {
					t.Fatalf("length %d: dot %g, norm %g, want %g, %g", n, got, norm, dot, math.Sqrt(squares))
				}
				return []float32{float32(got), float32(norm)}
			})
			if !AllFinite(a) {
				t.Fatalf("length %d: finite values are not seen as such", n)
			}
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				if n == 0 {
					continue
				}
				i := r.IntN(n)
				keep := a[i]
				a[i] = float32(bad)
				if AllFinite(a) {
					t.Fatalf("length %d: %g at %d is not seen", n, bad, i)
				}
				a[i] = keep
			}
		}
	})
}

func TestAdam(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 17))
	const lr, b1, b2, eps = 4e-4, 0.5, 0.999, 1e-8
	onPaths(t, func(t *testing.T) {
		for _, n := range lengths() {
			for _, step := range []int64{1, 2, 1000} {
				p, m, v, g := noise(r, n), noise(r, n), noise(r, n), noise(r, n)
				wantP, wantM, wantV := make([]float64, n), make([]float64, n), make([]float64, n)
				for i := range v {
					v[i] *= v[i]
					d := float64(g[i])
					wantM[i] = b1*float64(m[i]) + (1-b1)*d
					wantV[i] = b2*float64(v[i]) + (1-b2)*d*d
					denominator := math.Sqrt(wantV[i])/math.Sqrt(1-math.Pow(b2, float64(step))) + eps
					wantP[i] = float64(p[i]) - lr/(1-math.Pow(b1, float64(step)))*wantM[i]/denominator
				}
				var lastM, lastV []float32
				got := onThreads(t, "adam", func() []float32 {
					gp, gm, gv := guard(n), guard(n), guard(n)
					copy(gp.x, p)
					copy(gm.x, m)
					copy(gv.x, v)
					Adam(gp.x, gm.x, gv.x, g, lr, b1, b2, step, eps)
					gp.check(t)
					gm.check(t)
					gv.check(t)
					lastM, lastV = gm.x, gv.x
					return gp.x
				})
				near(t, "p", got, wantP, 1e-6)
				near(t, "m", lastM, wantM, 1e-6)
				near(t, "v", lastV, wantV, 1e-6)
			}
		}
	})
}
