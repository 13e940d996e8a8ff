package classifier

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Gain is a mean paired difference with its 95% interval.
type Gain struct {
	Mean, Low, High float64
}

// CorrectedInterval is the mean of paired differences of S trainings and its 95%
// interval with the variance of Nadeau and Bengio (2003), which allows for
// trainings that share images:
//
//	mean +- t(0.975, S-1) * s * sqrt(1/S + ratio)
//
// s is the differences' standard deviation, ratio that of test to training
// images. Fewer than two differences give infinite bounds.
func CorrectedInterval(differences []float64, ratio float64) Gain {
	n := float64(len(differences))
	mean, deviation := stat.MeanStdDev(differences, nil)
	if n < 2 {
		return Gain{Mean: mean, Low: math.Inf(-1), High: math.Inf(1)}
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975)
	half := t * deviation * math.Sqrt(1/n+ratio)
	return Gain{Mean: mean, Low: mean - half, High: mean + half}
}

// F1 gives each class's F1, 2TP/(2TP+FP+FN), 0 where the class was neither there
// nor said, and the mean over the classes.
func F1(want, got []int, classes int) (each []float64, macro float64) {
	hit, said, there := make([]float64, classes), make([]float64, classes), make([]float64, classes)
	for i, w := range want {
		there[w]++
		said[got[i]]++
		if got[i] == w {
			hit[w]++
		}
	}
	each = make([]float64, classes)
	for c := range each {
		if sum := said[c] + there[c]; sum > 0 {
			each[c] = 2 * hit[c] / sum
		}
		macro += each[c] / float64(classes)
	}
	return each, macro
}
