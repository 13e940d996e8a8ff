package quality

import (
	"math"
	"slices"
	"strconv"

	"github.com/defectforge/defectforge/model/kernel"
)

const resamples = 200

// Subsample draws limit of the numbers below n without replacement, in rising
// order, or all of them where there are no more. Equal seeds and purposes draw alike.
func Subsample(n, limit int, seed uint64, purpose string) []int {
	if n <= limit {
		return Spaced(n, n)
	}
	out := kernel.NewStream(seed, purpose, 0).Perm(n)[:limit]
	slices.Sort(out)
	return out
}

// resampler draws n numbers below n with replacement, whole groups where groups
// is not nil, and returns how often each was drawn.
type resampler struct {
	n      int
	groups [][]int
	seed   uint64
	what   string
}

func newResampler(n int, groups []string, seed uint64, what string) resampler {
	return resampler{n, members(n, groups), seed, what}
}

// members lists the numbers below n by group, in order of first appearance.
func members(n int, groups []string) [][]int {
	var out [][]int
	at := map[string]int{}
	for i := range n {
		name := strconv.Itoa(i)
		if groups != nil {
			name = groups[i]
		}
		if _, ok := at[name]; !ok {
			at[name] = len(out)
			out = append(out, nil)
		}
		out[at[name]] = append(out[at[name]], i)
	}
	return out
}

func (r resampler) draw(index int) []float64 {
	u := make([]float32, len(r.groups))
	kernel.NewStream(r.seed, r.what, uint64(index)).Uniform(u, 0, 1)
	weights := make([]float64, r.n)
	for _, v := range u {
		g := min(int(v*float32(len(r.groups))), len(r.groups)-1)
		for _, i := range r.groups[g] {
			weights[i]++
		}
	}
	return weights
}

// kidInterval is KID with a 95% bootstrap interval: images are redrawn with
// replacement, real ones by groups, and pairs of one image with itself are left
// out as in the estimate. The interval is the estimate's own spread about it
// (basic bootstrap).
func kidInterval(real, generated [][]float64, groups []string, seed uint64) (value, low, high float64) {
	value = KID(real, generated)
	if math.IsNaN(value) {
		return value, value, value
	}
	rr, gg, rg := kernelMatrix(real, real), kernelMatrix(generated, generated), kernelMatrix(real, generated)
	a := newResampler(len(real), groups, seed, "kid real")
	b := newResampler(len(generated), nil, seed, "kid generated")
	var drawn []float64
	for k := range resamples {
		w, v := a.draw(k), b.draw(k)
		estimate := weighted(rr, w, w, true) + weighted(gg, v, v, true) - 2*weighted(rg, w, v, false)
		if !math.IsNaN(estimate) {
			drawn = append(drawn, estimate)
		}
	}
	// Left-out pairs of equal images shift the resampled estimates; their mean is
	// moved back onto the estimate.
	mean := 0.0
	for _, d := range drawn {
		mean += d / float64(len(drawn))
	}
	return value, value - (Quantile(drawn, 0.975) - mean), value + (mean - Quantile(drawn, 0.025))
}

func kernelMatrix(x, y [][]float64) [][]float64 {
	out := make([][]float64, len(x))
	for i, a := range x {
		out[i] = make([]float64, len(y))
		for j, b := range y {
			out[i][j] = cubic(a, b)
		}
	}
	return out
}

// weighted is the mean of the matrix under the weights of rows and columns,
// without the diagonal where same.
func weighted(matrix [][]float64, rows, columns []float64, same bool) float64 {
	sum, total := 0.0, 0.0
	for i, w := range rows {
		if w == 0 {
			continue
		}
		for j, v := range columns {
			if v != 0 && !(same && i == j) {
				sum += w * v * matrix[i][j]
				total += w * v
			}
		}
	}
	return sum / total
}

// meanAndError is the mean of values and its bootstrap standard error.
func meanAndError(values []float64, seed uint64, what string) (mean, se float64) {
	n := len(values)
	if n < 2 {
		return math.NaN(), math.NaN()
	}
	for _, v := range values {
		mean += v / float64(n)
	}
	r := newResampler(n, nil, seed, what)
	sum := 0.0
	for k := range resamples {
		drawn := 0.0
		for i, w := range r.draw(k) {
			drawn += w * values[i] / float64(n)
		}
		sum += (drawn - mean) * (drawn - mean)
	}
	return mean, math.Sqrt(sum / resamples)
}
