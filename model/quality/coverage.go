package quality

import (
	"math"
	"slices"
)

// nearestCount is the k of density and coverage.
const nearestCount = 5

// Coverage and density (Naeem and others, 2020, k = 5) of generated among real
// features, one row per image. With r_i the distance of real image i to its k-th
// nearest real image of another group, coverage is the share of real images with
// a generated one nearer than r_i, and density the mean number of such balls that
// a generated image lies in, over k. Leaving out an image's own group, which is
// empty where groups is nil, makes the balls those of independent images. Alike
// sets of equal size give about 0.97 and 1. NaN where there are too few images.
func coverage(real, generated [][]float64, groups []string) (covered, density float64) {
	n, m := len(real), len(generated)
	if n <= nearestCount || m == 0 || len(real[0]) == 0 {
		return math.NaN(), math.NaN()
	}
	inside, hit := 0, 0
	for i, a := range real {
		var others []float64
		for j, b := range real {
			if i != j && (groups == nil || groups[i] != groups[j]) {
				others = append(others, euclid(a, b))
			}
		}
		if len(others) < nearestCount {
			return math.NaN(), math.NaN()
		}
		slices.Sort(others)
		before := inside
		for _, g := range generated {
			if euclid(a, g) < others[nearestCount-1] {
				inside++
			}
		}
		if inside > before {
			hit++
		}
	}
	return float64(hit) / float64(n), float64(inside) / float64(nearestCount*m)
}
