package classifier

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"
)

const (
	// ridge is the weight of half the squared coefficients in a logistic's loss.
	ridge = 0.01
	// logisticSteps is the number of iterations, the same for every arm.
	logisticSteps = 100
)

// logistic is a multinomial logistic regression over standardised features.
type logistic struct {
	classes     int
	mean, scale []float64
	weights     []float64 // (classes, features+1), the last of each row the bias
}

// fitLogistic minimises the mean cross entropy over rows with a ridge penalty, by
// L-BFGS from zero. The same rows give the same bits.
func fitLogistic(rows [][]float64, labels []int, classes int) (*logistic, error) {
	l := &logistic{classes: classes}
	l.standardise(rows)
	x := make([][]float64, len(rows))
	for i, row := range rows {
		x[i] = l.standard(row)
	}
	width := len(rows[0]) + 1
	logits := make([]float64, classes)
	problem := optimize.Problem{
		Func: func(w []float64) float64 { return l.loss(w, nil, x, labels, logits) },
		Grad: func(grad, w []float64) { l.loss(w, grad, x, labels, logits) },
	}
	found, err := optimize.Minimize(problem, make([]float64, classes*width),
		&optimize.Settings{MajorIterations: logisticSteps, GradientThreshold: 1e-6, Converger: optimize.NeverTerminate{}}, &optimize.LBFGS{})
	if err != nil && found == nil {
		return nil, fmt.Errorf("fit logistic regression: %w", err)
	}
	l.weights = found.X // a line search that ends early leaves the best so far
	return l, nil
}

// standardise takes each feature's mean and deviation over rows; one that does not
// vary counts as it is.
func (l *logistic) standardise(rows [][]float64) {
	width, n := len(rows[0]), float64(len(rows))
	l.mean, l.scale = make([]float64, width), make([]float64, width)
	for _, row := range rows {
		floats.AddScaled(l.mean, 1/n, row)
	}
	for _, row := range rows {
		for j, v := range row {
			l.scale[j] += (v - l.mean[j]) * (v - l.mean[j]) / n
		}
	}
	for j, v := range l.scale {
		if l.scale[j] = math.Sqrt(v); l.scale[j] < 1e-6 {
			l.scale[j] = 1
		}
	}
}

func (l *logistic) standard(row []float64) []float64 {
	out := make([]float64, len(row)+1)
	for j, v := range row {
		out[j] = (v - l.mean[j]) / l.scale[j]
	}
	out[len(row)] = 1
	return out
}

// loss is the penalised mean cross entropy by w, whose gradient it fills in where
// grad is not nil.
func (l *logistic) loss(w, grad []float64, x [][]float64, labels []int, logits []float64) float64 {
	width, n, sum := len(x[0]), float64(len(x)), 0.0
	if grad != nil {
		for i, v := range w {
			grad[i] = ridge * v
		}
	}
	for i, row := range x {
		for c := range logits {
			logits[c] = floats.Dot(w[c*width:(c+1)*width], row)
		}
		top := floats.LogSumExp(logits)
		sum += (top - logits[labels[i]]) / n
		if grad == nil {
			continue
		}
		for c, v := range logits {
			d := math.Exp(v - top)
			if c == labels[i] {
				d--
			}
			floats.AddScaled(grad[c*width:(c+1)*width], d/n, row)
		}
	}
	return sum + ridge/2*floats.Dot(w, w)
}

// predict gives each row's most likely class.
func (l *logistic) predict(rows [][]float64) []int {
	out := make([]int, len(rows))
	logits := make([]float64, l.classes)
	for i, row := range rows {
		x := l.standard(row)
		for c := range logits {
			logits[c] = floats.Dot(l.weights[c*len(x):(c+1)*len(x)], x)
		}
		out[i] = floats.MaxIdx(logits)
	}
	return out
}
