package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

type bnCase struct {
	n, c, hw int
	slope    float64
}

var bnCases = []bnCase{{3, 1, 1, 0.2}, {12, 5, 16, 0}, {2, 3, 7, 1}, {4, 2, 33, 0.2}, {3, 17, 64, 0.2}, {2, 2, 4096, 0},
	{1, 1, 129, 0.2}, {5, 4, 100, 0.2}}

const bnEps = 1e-5

// bnReference is the layer in float64.
type bnReference struct{ y, mean, variance, dx, dgamma, dbeta []float64 }

func newBNReference(k bnCase, x, gamma, beta, dy []float32) bnReference {
	size := k.n * k.c * k.hw
	ref := bnReference{make([]float64, size), make([]float64, k.c), make([]float64, k.c),
		make([]float64, size), make([]float64, k.c), make([]float64, k.c)}
	count := float64(k.n * k.hw)
	for ch := range k.c {
		var at []int
		for n := range k.n {
			for p := range k.hw {
				at = append(at, (n*k.c+ch)*k.hw+p)
			}
		}
		for _, i := range at {
			ref.mean[ch] += float64(x[i]) / count
		}
		for _, i := range at {
			ref.variance[ch] += math.Pow(float64(x[i])-ref.mean[ch], 2) / count
		}
		inv := 1 / math.Sqrt(ref.variance[ch]+bnEps)
		hat := func(i int) float64 { return (float64(x[i]) - ref.mean[ch]) * inv }
		dz := make(map[int]float64)
		for _, i := range at {
			z := hat(i)*float64(gamma[ch]) + float64(beta[ch])
			ref.y[i] = leaky(z, k.slope)
			dz[i] = float64(dy[i])
			if z <= 0 {
				dz[i] *= k.slope
			}
			ref.dgamma[ch] += dz[i] * hat(i)
			ref.dbeta[ch] += dz[i]
		}
		for _, i := range at {
			ref.dx[i] = float64(gamma[ch]) * inv * (dz[i] - ref.dbeta[ch]/count - hat(i)*ref.dgamma[ch]/count)
		}
	}
	return ref
}

func TestBatchNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(18, 19))
	for _, k := range bnCases {
		size := k.n * k.c * k.hw
		x, dy, gamma, beta := noise(r, size), noise(r, size), noise(r, k.c), noise(r, k.c)
		for i := range x {
			x[i] = 3 + 0.5*x[i]
		}
		ref := newBNReference(k, x, gamma, beta, dy)
		onPaths(t, func(t *testing.T) {
			var mean, variance guarded
			y := onThreads(t, name(k), func() []float32 {
				y := guard(size)
				mean, variance = guard(k.c), guard(k.c)
				BatchNormForward(y.x, mean.x, variance.x, x, gamma, beta, k.n, k.c, k.hw, bnEps, float32(k.slope))
				y.check(t)
				mean.check(t)
				variance.check(t)
				return y.x
			})
			near(t, "mean", mean.x, ref.mean, 1e-6)
			near(t, "variance", variance.x, ref.variance, 1e-6)
			near(t, name(k), y, ref.y, 4e-6)
			infer := guard(size)
			BatchNormInfer(infer.x, x, gamma, beta, mean.x, variance.x, k.n, k.c, k.hw, bnEps, float32(k.slope))
			infer.check(t)
			near(t, "infer", infer.x, ref.y, 4e-6)
			var dgamma, dbeta guarded
			dx := onThreads(t, name(k), func() []float32 {
				dx := guard(size)
				dgamma, dbeta = guard(k.c), guard(k.c)
				BatchNormBackward(dx.x, dgamma.x, dbeta.x, dy, x, mean.x, variance.x, gamma, beta,
					k.n, k.c, k.hw, bnEps, float32(k.slope))
				dx.check(t)
				dgamma.check(t)
				dbeta.check(t)
				return dx.x
			})
			near(t, "dgamma", dgamma.x, ref.dgamma, 1e-5)
			near(t, "dbeta", dbeta.x, ref.dbeta, 1e-5)
			if k.n*k.hw > 3 {
				near(t, "dx", dx, ref.dx, 1e-5)
			}
		})
	}
}
