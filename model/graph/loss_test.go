package graph

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"
)

// costOf is a criterion's definition in float64, with its slope.
func costOf(x float64, i int, terms Terms) (cost, slope float64) {
	soft := func(x float64) float64 { // log(1+e^x) in two forms, each exact on its side
		if x > 0 {
			return x + math.Log1p(math.Exp(-x))
		}
		return math.Log1p(math.Exp(x))
	}
	sign := map[float64]float64{0: -1, 1: 1}[terms.Label]
	switch terms.Criterion {
	case Hinge:
		if cost = 1 - sign*x; cost <= 0 {
			return 0, 0
		}
		return cost, -sign
	case Critic:
		return -sign * x, -sign
	case Weighed: // two logits for each of three images
		return terms.Weights[i/2] * x, terms.Weights[i/2]
	case Paired:
		apart := sign * (float64(terms.Against.Host[i]) - x)
		return soft(apart), -sign / (1 + math.Exp(-apart))
	}
	return soft(x) - x*terms.Label, 1/(1+math.Exp(-x)) - terms.Label
}

// outcomeOf is a loss's definition in float64, and its gradient.
func outcomeOf(logits []float64, terms Terms) (want Outcome, gradient []float64) {
	for i, x := range logits {
		s := 1 / (1 + math.Exp(-x))
		cost, slope := costOf(x, i, terms)
		excess := x - terms.LeCam.Anchor
		if !terms.LeCam.Above {
			excess = -excess
		}
		if excess > 0 {
			want.Penalty += terms.LeCam.Weight * excess * excess
			slope += terms.LeCam.Weight * 2 * (x - terms.LeCam.Anchor)
		}
		want.Loss += cost
		want.Mean += s
		want.Logit += x
		want.Sign += map[bool]float64{true: 1, false: -1}[x > 0]
		gradient = append(gradient, slope)
	}
	n := float64(len(logits))
	for _, v := range []*float64{&want.Loss, &want.Mean, &want.Logit, &want.Sign, &want.Penalty} {
		*v /= n
	}
	for i := range gradient {
		gradient[i] /= n
	}
	return want, gradient
}

func TestLossAndItsGradient(t *testing.T) {
	logits := []float32{-40, -3, -0.1, 0.2, 5, 60}
	against := CPU{}.Adopt([]float32{7, -2, 0.3, 0.2, 6, -9})
	for _, terms := range []Terms{
		{}, {Label: 1}, {Label: 0.9},
		{Label: 1, LeCam: LeCam{Weight: 0.3, Anchor: -0.5, Above: true}},
		{LeCam: LeCam{Weight: 2, Anchor: 0.1}},
		{Criterion: Hinge, Label: 1}, {Criterion: Hinge}, {Criterion: Hinge, LeCam: LeCam{Weight: 2, Anchor: 0.1}},
		{Criterion: Critic, Label: 1}, {Criterion: Critic}, {Criterion: Weighed, Weights: []float64{3, 0, -0.5}},
		{Criterion: Paired, Label: 1, Against: against}, {Criterion: Paired, Against: against},
	} {
		p := newProgram(NewWorkspace(CPU{}))
		x, err := p.input("logits", hostArray(logits, 6, 1, 1, 1))
		require.NoError(t, err)
		op := newLoss(NewWorkspace(CPU{}), &terms)
		loss, err := gorgonia.ApplyOp(op, x)
		require.NoError(t, err)
		grads, err := gorgonia.Grad(loss, x)
		require.NoError(t, err)
		require.NoError(t, p.compile())
		require.NoError(t, p.run())

		want, gradient := outcomeOf(widen(logits), terms)
		require.InEpsilon(t, want.Loss, op.outcomes[0].Loss, 1e-12)
		require.InEpsilon(t, want.Mean, op.outcomes[0].Mean, 1e-12)
		require.InEpsilon(t, want.Logit, op.outcomes[0].Logit, 1e-12)
		require.InDelta(t, want.Sign, op.outcomes[0].Sign, 1e-12)
		require.InDelta(t, want.Penalty, op.outcomes[0].Penalty, 1e-9)
		require.InEpsilon(t, want.Loss+want.Penalty, float64(*loss.Value().(*gorgonia.F32)), 1e-6)
		requireClose(t, gradient, data(grads[0].Value()), 1e-6, "gradient")
		p.close()
	}
}
