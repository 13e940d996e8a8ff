package graph

import (
	"math"

	"gorgonia.org/gorgonia"

	"github.com/defectforge/defectforge/model/kernel"
)

// Terms say what a batch is judged against, and what is done to it before.
type Terms struct {
	// Label of the cross entropy, in [0,1].
	Label float64
	LeCam LeCam
	// Augment holds one augmentation for each image, where the trainer was
	// built with augmentations.
	Augment []kernel.Augmentation
}

// LeCam is the regulariser Weight * mean(relu(s*(x-Anchor))^2) of logits x, with
// s = 1 where Above is set and -1 elsewhere (Tseng et al., "Regularizing
// generative adversarial networks under limited data", 2021).
type LeCam struct {
	Weight, Anchor float64
	Above          bool
}

// excess is relu(s*(x-Anchor)), and s.
func (l LeCam) excess(x float64) (excess, sign float64) {
	sign = -1
	if l.Above {
		sign = 1
	}
	return max(sign*(x-l.Anchor), 0), sign
}

// Outcome is a discriminator's judgement of a batch: means of the cross entropy
// against the label, of the probability of being real, of the logits, of their
// signs, and of LeCam's regulariser with its weight.
type Outcome struct{ Loss, Mean, Logit, Sign, Penalty float64 }

func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

// judge is the loss of logits, in float64. The cross entropy is max(x,0) - x*label
// + log(1+exp(-|x|)).
func (t *Terms) judge(logits []float32) Outcome {
	var sum Outcome
	for _, l := range logits {
		x := float64(l)
		sum.Loss += max(x, 0) - x*t.Label + math.Log1p(math.Exp(-math.Abs(x)))
		sum.Mean += sigmoid(x)
		sum.Logit += x
		if x != 0 {
			sum.Sign += math.Copysign(1, x)
		}
		if t.LeCam.Weight != 0 {
			excess, _ := t.LeCam.excess(x)
			sum.Penalty += t.LeCam.Weight * excess * excess
		}
	}
	n := float64(len(logits))
	return Outcome{
		Loss: sum.Loss / n, Mean: sum.Mean / n, Logit: sum.Logit / n, Sign: sum.Sign / n, Penalty: sum.Penalty / n,
	}
}

// slopes sets dx to the loss's gradient by n logits:
// (sigmoid(x) - label + 2*Weight*s*relu(s*(x-Anchor)))/n.
func (t *Terms) slopes(dx, logits []float32) {
	for i, l := range logits {
		x := float64(l)
		slope := sigmoid(x) - t.Label
		if t.LeCam.Weight != 0 {
			excess, sign := t.LeCam.excess(x)
			slope += 2 * t.LeCam.Weight * sign * excess
		}
		dx[i] = float32(slope / float64(len(logits)))
	}
}

// crossEntropy is the mean binary cross entropy of logits against one label, and
// LeCam's regulariser, a scalar. It works on logits, and so stays exact where
// the sigmoid saturates in float32 and PyTorch's BCELoss loses its gradient.
// Input: logits (n,1,1,1). Label and regulariser stand in terms at the time of a
// run.
type crossEntropy struct {
	frame
	value   *gorgonia.F32
	ws      *Workspace
	terms   *Terms
	outcome Outcome // of the last run
}

func newCrossEntropy(ws *Workspace, terms *Terms) *crossEntropy {
	return &crossEntropy{
		frame: frame{backend: ws.backend, name: "loss", dims: []int{4}},
		value: gorgonia.NewF32(0), ws: ws, terms: terms,
	}
}

func (o *crossEntropy) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	var err error
	o.outcome, err = o.backend.Loss(o.terms, buffer(in[0]))
	*o.value = gorgonia.F32(o.outcome.Loss + o.outcome.Penalty)
	return o.value, err
}

func (o *crossEntropy) DiffWRT(int) []bool { return all(1) }

func (o *crossEntropy) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	op := &crossEntropyByInput{newFrame(o.ws, "loss.dx", in[0].Shape(), 0, 4), o.terms}
	dx, err := gorgonia.ApplyOp(op, dy, in[0])
	return gorgonia.Nodes{dx}, err
}

// crossEntropyByInput is the gradient by the logits. Inputs: the loss's own
// gradient, which is one, and the logits.
type crossEntropyByInput struct {
	frame
	terms *Terms
}

func (o *crossEntropyByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	o.backend.LossByInput(o.terms, o.out.Buffer, buffer(in[1]))
	return o.out, nil
}
