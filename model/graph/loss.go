package graph

import (
	"fmt"
	"math"

	"gorgonia.org/gorgonia"
)

// crossEntropy is the mean binary cross entropy of logits against one label, a
// scalar. It works on logits, and so stays exact where the sigmoid saturates in
// float32 and PyTorch's BCELoss loses its gradient. Inputs: logits (n,1,1,1),
// label.
type crossEntropy struct {
	frame
	value *gorgonia.F32
	ws    *Workspace
	// loss and mean are the last run's loss and mean sigmoid, in float64.
	loss, mean float64
}

func newCrossEntropy(ws *Workspace) *crossEntropy {
	return &crossEntropy{
		frame: frame{name: "loss", dims: []int{4, 0}},
		value: gorgonia.NewF32(0), ws: ws,
	}
}

func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

func scalar(v gorgonia.Value) (float64, error) {
	switch s := v.(type) {
	case *gorgonia.F32:
		return float64(*s), nil
	default:
		return 0, fmt.Errorf("scalar of type %T", v)
	}
}

func (o *crossEntropy) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	label, err := scalar(in[1])
	if err != nil {
		return nil, fmt.Errorf("read label: %w", err)
	}
	logits := data(in[0])
	loss, mean := 0.0, 0.0
	for _, l := range logits {
		x := float64(l)
		loss += max(x, 0) - x*label + math.Log1p(math.Exp(-math.Abs(x)))
		mean += sigmoid(x)
	}
	o.loss, o.mean = loss/float64(len(logits)), mean/float64(len(logits))
	*o.value = gorgonia.F32(o.loss)
	return o.value, nil
}

func (o *crossEntropy) DiffWRT(int) []bool { return []bool{true, false} }

func (o *crossEntropy) SymDiff(in gorgonia.Nodes, _, dy *gorgonia.Node) (gorgonia.Nodes, error) {
	const name = "loss.dx"
	op := &crossEntropyByInput{frame{name: name, dims: []int{0, 4, 0}, out: o.ws.dense(name, in[0].Shape()...)}}
	dx, err := gorgonia.ApplyOp(op, dy, in[0], in[1])
	return gorgonia.Nodes{dx, nil}, err
}

// crossEntropyByInput is (sigmoid(x) - label)/n. Inputs: the loss's gradient,
// logits, label.
type crossEntropyByInput struct{ frame }

func (o *crossEntropyByInput) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	dy, err := scalar(in[0])
	if err != nil {
		return nil, fmt.Errorf("read loss gradient: %w", err)
	}
	label, err := scalar(in[2])
	if err != nil {
		return nil, fmt.Errorf("read label: %w", err)
	}
	dx, logits := o.out.Float32s(), data(in[1])
	for i, x := range logits {
		dx[i] = float32(dy * (sigmoid(float64(x)) - label) / float64(len(logits)))
	}
	return o.out, nil
}
