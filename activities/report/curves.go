package report

// maxPoints bounds a curve: more than a screen's pixels cannot be seen.
const maxPoints = 320

// Curves are the values of every training step.
type Curves struct {
	LossReal, LossFake, LossG, DReal, DFake []float32
}

// steps is the length that all curves reach.
func (c Curves) steps() int {
	return min(len(c.LossReal), len(c.LossFake), len(c.LossG), len(c.DReal), len(c.DFake))
}

// Sampled returns the curves as at most maxPoints means over equally many
// steps, the last over what remains, and the number of steps of one mean.
func (c Curves) Sampled() (points []Point, pointSteps int) {
	n := c.steps()
	if n == 0 {
		return []Point{}, 0
	}
	pointSteps = (n + maxPoints - 1) / maxPoints
	points = make([]Point, 0, maxPoints)
	for from := 0; from < n; from += pointSteps {
		to := min(from+pointSteps, n)
		points = append(points, Point{
			Step:     to,
			LossReal: mean(c.LossReal[from:to]),
			LossFake: mean(c.LossFake[from:to]),
			LossG:    mean(c.LossG[from:to]),
			DReal:    mean(c.DReal[from:to]),
			DFake:    mean(c.DFake[from:to]),
		})
	}
	return points, pointSteps
}

// Follow fills in t's curves, and the number of steps that they have.
func (t *Training) Follow(c Curves, stepsPerEpoch int) {
	t.StepsPerEpoch = stepsPerEpoch
	t.Points, t.PointSteps = c.Sampled()
	if n := c.steps(); n > 0 {
		t.Steps = int64(n)
	}
}

func mean(v []float32) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x)
	}
	return sum / float64(len(v))
}
