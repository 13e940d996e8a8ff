package quality

import "math"

// KID is the kernel distance of two sets of features, one row per image: the
// unbiased estimate of the squared maximum mean discrepancy with the kernel
// k(x,y) = (x'y/d + 1)^3 (Binkowski and others, 2018, with these features in
// place of Inception's). About zero, and as often below as above, where both
// sets are drawn alike. NaN where a set has fewer than two rows or the rows
// have no values.
func KID(x, y [][]float64) float64 {
	if len(x) < 2 || len(y) < 2 || len(x[0]) == 0 {
		return math.NaN()
	}
	m, n := float64(len(x)), float64(len(y))
	cross := 0.0
	for _, a := range x {
		for _, b := range y {
			cross += cubic(a, b)
		}
	}
	return mutualKernel(x)/(m*(m-1)) + mutualKernel(y)/(n*(n-1)) - 2*cross/(m*n)
}

// mutualKernel sums the kernel over all ordered pairs of different rows.
func mutualKernel(x [][]float64) float64 {
	sum := 0.0
	for i, a := range x {
		for _, b := range x[:i] {
			sum += 2 * cubic(a, b)
		}
	}
	return sum
}

func cubic(a, b []float64) float64 {
	k := dot(a, b)/float64(len(a)) + 1
	return k * k * k
}

// Spread is the mean Euclidean distance of all pairs of rows; NaN for fewer than
// two.
func Spread(features [][]float64) float64 {
	if len(features) < 2 {
		return math.NaN()
	}
	sum, pairs := 0.0, 0
	for i, a := range features {
		for _, b := range features[:i] {
			sum += euclid(a, b)
			pairs++
		}
	}
	return sum / float64(pairs)
}

func euclid(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += (v - b[i]) * (v - b[i])
	}
	return math.Sqrt(sum)
}
