package graph

import (
	"math"

	"gorgonia.org/gorgonia"

	"github.com/defectforge/defectforge/model/kernel"
)

// Criterion is what a logit costs.
type Criterion int

const (
	// CrossEntropy is that of the logit's probability against the label.
	CrossEntropy Criterion = iota
	// Hinge is relu(1-x) for the label 1 and relu(1+x) for 0.
	Hinge
	// Critic is -x for the label 1 and x for 0.
	Critic
	// Paired is softplus(-(x-a)) for the label 1 and softplus(x-a) for 0, with a
	// the logit of Against that has the same number.
	Paired
	// Weighed is a weight for each image times x: Weights.
	Weighed
)

// Terms say what a batch is judged against, and what is done to it before.
type Terms struct {
	Criterion Criterion
	// Label is 1 for what is to be taken as real, 0 for what is not; the cross
	// entropy's may be anything between.
	Label float64
	// Against are the logits of the other images, where the criterion is Paired.
	Against Buffer
	// Weights of the images, where the criterion is Weighed.
	Weights []float64
	LeCam   LeCam
	// Augment holds one augmentation for each image, where the trainer was
	// built with augmentations.
	Augment []kernel.Augmentation
}

// sign is 1 for the label 1 and -1 for 0.
func (t *Terms) sign() float64 { return 2*t.Label - 1 }

// cost is what logit x, the i-th of n, costs by itself, and the cost's slope.
func (t *Terms) cost(i, n int, x float64) (cost, slope float64) {
	switch t.Criterion {
	case Hinge:
		if s := t.sign(); !(s*x >= 1) { // NaN costs NaN
			return 1 - s*x, -s
		}
		return 0, 0
	case Weighed:
		w := t.Weights[i*len(t.Weights)/n]
		return w * x, w
	case Critic:
		return -t.sign() * x, -t.sign()
	case Paired:
		s := t.sign()
		apart := s * (x - float64(t.Against.Host[i]))
		return softplus(-apart), -s * sigmoid(-apart)
	}
	return max(x, 0) - x*t.Label + math.Log1p(math.Exp(-math.Abs(x))), sigmoid(x) - t.Label
}

// softplus is log(1+e^x).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

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

// Outcome is a discriminator's judgement of a batch: means of the cost by the
// criterion, of the probability of being real, of the logits, of their
// signs, and of LeCam's regulariser with its weight.
type Outcome struct{ Loss, Mean, Logit, Sign, Penalty float64 }

func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

// judge is the loss of logits, in float64.
func (t *Terms) judge(logits []float32) Outcome {
	var sum Outcome
	for i, l := range logits {
		x := float64(l)
		cost, _ := t.cost(i, len(logits), x)
		sum.Loss += cost
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
// (cost's slope + 2*Weight*s*relu(s*(x-Anchor)))/n.
func (t *Terms) slopes(dx, logits []float32) {
	for i, l := range logits {
		x := float64(l)
		_, slope := t.cost(i, len(logits), x)
		if t.LeCam.Weight != 0 {
			excess, sign := t.LeCam.excess(x)
			slope += 2 * t.LeCam.Weight * sign * excess
		}
		dx[i] = float32(slope / float64(len(logits)))
	}
}

// loss is the mean cost of logits and LeCam's regulariser, a scalar. The logits are
// parted evenly among the terms, which are one, or two where real and generated
// images are paired, each against the other: the pairs' loss is then shared evenly
// among the outcomes. It works on logits,
// and so the cross entropy stays exact where the sigmoid saturates in float32 and
// PyTorch's BCELoss loses its gradient. Input: logits (n,1,h,w). What stands in
// terms counts at the time of a run.
type loss struct {
	frame
	value    *gorgonia.F32
	ws       *Workspace
	terms    []*Terms
	outcomes []Outcome // of the last run, for each of the terms
}

func newLoss(ws *Workspace, terms ...*Terms) *loss {
	return &loss{
		frame: frame{backend: ws.backend, name: "loss", dims: []int{4}},
		value: gorgonia.NewF32(0), ws: ws, terms: terms, outcomes: make([]Outcome, len(terms)),
	}
}

// part is the i-th of equal parts of b.
func (o *loss) part(b Buffer, i int) Buffer {
	n := b.Len / len(o.terms)
	return b.from(i * n).first(n)
}

func (o *loss) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	logits, sum := buffer(in[0]), 0.0
	if len(o.terms) == 2 {
		o.terms[0].Against, o.terms[1].Against = o.part(logits, 1), o.part(logits, 0)
	}
	for i, t := range o.terms {
		var err error
		if o.outcomes[i], err = o.backend.Loss(t, o.part(logits, i)); err != nil {
			return nil, err
		}
		o.outcomes[i].Loss /= float64(len(o.terms))
		sum += o.outcomes[i].Loss + o.outcomes[i].Penalty
	}
	*o.value = gorgonia.F32(sum)
	return o.value, nil
}

func (o *loss) DiffWRT(int) []bool { return all(1) }

func (o *loss) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	op := &lossByInput{newFrame(o.ws, "loss.dx", in[0].Shape(), 0, 4), o}
	dx, err := gorgonia.ApplyOp(op, dy, in[0])
	return gorgonia.Nodes{dx}, err
}

// lossByInput is the gradient by the logits. Inputs: the loss's own gradient,
// which is one, and the logits.
type lossByInput struct {
	frame
	loss *loss
}

func (o *lossByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	for i, t := range o.loss.terms {
		o.backend.LossByInput(t, o.loss.part(o.out.Buffer, i), o.loss.part(buffer(in[1]), i))
	}
	return o.out, nil
}
