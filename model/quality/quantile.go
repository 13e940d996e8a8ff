package quality

import (
	"cmp"
	"math"
	"slices"
)

// Quantile is the q-quantile of values, q in [0,1]: of the sorted values, the
// one at position q (n-1), linearly interpolated between its neighbours
// (Hyndman and Fan's type 7, the default of numpy and R). NaN for no values.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 || math.IsNaN(q) {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := min(max(q, 0), 1) * float64(len(sorted)-1)
	low := int(at)
	if low == len(sorted)-1 || sorted[low] == sorted[low+1] {
		return sorted[low]
	}
	return sorted[low] + float64((at-float64(low))*(sorted[low+1]-sorted[low]))
}

// weightedQuantile is the q-quantile of values with weights above 0. Of the sorted
// values, each is as far from the one before as the mean of their weights, which
// for equal weights is Quantile.
func weightedQuantile(values, weights []float64, q float64) float64 {
	n := len(values)
	if n == 0 || math.IsNaN(q) {
		return math.NaN()
	}
	order := Spaced(n, n)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	step := func(k int) float64 { return (weights[order[k]] + weights[order[k+1]]) / 2 }
	total := 0.0
	for k := range n - 1 {
		total += step(k)
	}
	left := min(max(q, 0), 1) * total
	for k := range n - 1 {
		low, high, width := values[order[k]], values[order[k+1]], step(k)
		if left < width {
			if low == high {
				return low
			}
			return low + float64(left/width*(high-low))
		}
		left -= width
	}
	return values[order[n-1]]
}

// ShareBelow is the share of values smaller than at, 0 for no values.
func ShareBelow(values []float64, at float64) float64 {
	if len(values) == 0 {
		return 0
	}
	n := 0
	for _, v := range values {
		if v < at {
			n++
		}
	}
	return float64(n) / float64(len(values))
}
