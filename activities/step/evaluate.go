package step

import "github.com/defectforge/defectforge/model/spec"

// Evaluate compares a state of the training with the selection split.
const Evaluate Step[EvaluateInput, EvaluateResult] = "Evaluate"

// MinSelection is the fewest images for selection that checkpoints are compared
// with; below it the last checkpoint is taken.
const MinSelection = 2

// Evaluation is one checkpoint's comparison with the selection split.
type Evaluation struct {
	Epoch int   `json:"epoch"`
	Step  int64 `json:"step"`
	// KID is the mean of both feature spaces' kernel inception distances between
	// generated and selection images, each over the distance of its first
	// evaluation in this training, so that both count alike; KIDPixels and
	// KIDTexture are the distances themselves.
	KID        float64 `json:"kid"`
	KIDPixels  float64 `json:"kid_pca"`
	KIDTexture float64 `json:"kid_texture"`
	// Spread is the generated images' mean pairwise distance over the real ones'.
	Spread float64 `json:"spread"`
}

// EvaluateInput asks for a checkpoint's comparison with the selection split.
type EvaluateInput struct {
	Checkpoint Ref         `json:"checkpoint"`
	Tensors    Ref         `json:"tensors"`
	Recipe     spec.Recipe `json:"recipe"`
	Epoch      int         `json:"epoch"`
	Step       int64       `json:"step"`
	// First is the training's first evaluation, zero for that one itself.
	First Evaluation `json:"first"`
	// Widest is the largest Spread of the evaluations so far.
	Widest float64 `json:"widest,omitempty"`
	// Refresh: the stage is done even where an earlier result would be found.
	Refresh bool `json:"refresh,omitempty"`
}

// EvaluateResult is the evaluation, and an alarm where a monitor of it fires.
type EvaluateResult struct {
	Found
	Evaluation Evaluation `json:"evaluation"`
	Alarm      *Alarm     `json:"alarm,omitempty"`
}

// Facts are what the result says in a log line.
func (r EvaluateResult) Facts() []any {
	if r.Alarm != nil {
		return r.Alarm.facts()
	}
	return []any{"epoch", r.Evaluation.Epoch, "kid", r.Evaluation.KID, "spread", r.Evaluation.Spread}
}
