package step

import "github.com/defectforge/defectforge/model/spec"

// Choose ends an evaluated training with its best checkpoint.
const Choose Step[ChooseInput, ChooseResult] = "Choose"

// ChooseInput ends a training: Checkpoint is kept by its content, and later runs
// of the same training find the choice.
type ChooseInput struct {
	Run     Run         `json:"run"`
	Tensors Ref         `json:"tensors"`
	Recipe  spec.Recipe `json:"recipe"`
	Choice  Choice      `json:"choice"`
	// Train is the state that Choice.Checkpoint belongs to.
	Train TrainResult `json:"train"`
	// Superseded are the run's checkpoints that may go.
	Superseded []Ref `json:"superseded,omitempty"`
}

// ChooseResult is the choice with references that stay.
type ChooseResult struct {
	Choice Choice `json:"choice"`
}

// Choice is how a training ended: which checkpoint was chosen, and why.
type Choice struct {
	Checkpoint  Ref          `json:"checkpoint"`
	Curves      Ref          `json:"curves"` // of the whole training, rolled back parts cut out
	Epoch       int          `json:"epoch"`  // of the checkpoint
	Step        int64        `json:"step"`
	Evaluations []Evaluation `json:"evaluations"`
	Rollbacks   []Rollback   `json:"rollbacks"`
	LastEpoch   int          `json:"last_epoch"` // at which training ended
	Reason      string       `json:"reason"`     // why this checkpoint, in words
}

// Facts are what the result says in a log line.
func (r ChooseResult) Facts() []any {
	return []any{"epoch", r.Choice.Epoch, "reason", r.Choice.Reason}
}
