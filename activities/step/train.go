package step

import "github.com/defectforge/defectforge/model/spec"

// Train runs one leg of epochs.
const Train Step[TrainInput, TrainResult] = "Train"

type TrainInput struct {
	Run       Run         `json:"run"`
	Tensors   Ref         `json:"tensors"`
	Recipe    spec.Recipe `json:"recipe"`
	FromEpoch int         `json:"from_epoch"` // epochs already done
	ToEpoch   int         `json:"to_epoch"`   // epochs done at the end
	// Checkpoint is the state after FromEpoch epochs, Curves its losses so far;
	// zero at the start.
	Checkpoint Ref `json:"checkpoint"`
	Curves     Ref `json:"curves"`
	// Superseded are checkpoints of this run that may go once this leg's own
	// checkpoint is stored.
	Superseded []Ref `json:"superseded,omitempty"`
	// Rollbacks are the alarms so far, oldest first. Each halves the
	// discriminator's rate from its ToEpoch on.
	Rollbacks []Rollback `json:"rollbacks,omitempty"`
	// Evaluated: the state after every leg is evaluated, and Choose ends the
	// training. Else its end is the state after the last epoch.
	Evaluated bool `json:"evaluated,omitempty"`
	// Refresh: the stage is done even where an earlier result would be found.
	Refresh bool `json:"refresh,omitempty"`
}

// Alarms of a training, the values of Alarm.Kind.
const (
	AlarmDiverged    = "diverged"    // NaN or Inf
	AlarmOverpowered = "overpowered" // D wins, and G learns nothing
	AlarmCollapsed   = "collapsed"   // generated images hardly differ
	AlarmMemorising  = "memorising"  // D is sure of every real image
)

// Alarm is a monitor's finding.
type Alarm struct {
	Kind      string  `json:"kind"`
	Epoch     int     `json:"epoch"` // 1-based, in which it was found
	Step      int64   `json:"step"`
	Value     float64 `json:"value"`     // what was measured, in the monitor's unit
	Threshold float64 `json:"threshold"` // of the recipe
	Reason    string  `json:"reason"`    // in words
}

// Rollback is an alarm and what was done: training went back to the state after
// ToEpoch epochs, with DiscriminatorScale times the recipe's rate for D.
type Rollback struct {
	Alarm              Alarm   `json:"alarm"`
	ToEpoch            int     `json:"to_epoch"`
	DiscriminatorScale float64 `json:"discriminator_scale"`
}

// TrainResult is the state after Epoch epochs. Epoch may lie beyond the input's
// ToEpoch where an earlier run of the same training left a later state.
type TrainResult struct {
	Found
	Checkpoint Ref     `json:"checkpoint"`
	Curves     Ref     `json:"curves"` // losses of every step so far, as JSON
	Epoch      int     `json:"epoch"`
	Step       int64   `json:"step"`
	LossReal   float64 `json:"loss_real"` // means over the last epoch
	LossFake   float64 `json:"loss_fake"`
	LossG      float64 `json:"loss_g"`
	DReal      float64 `json:"d_real"` // mean D(x)
	DFake      float64 `json:"d_fake"` // mean D(G(z))
	// ImagesPerSecond is what this attempt reached, 0 if nothing was left to do.
	ImagesPerSecond float64 `json:"images_per_second"`
	// Alarm, where set, says why the leg ended: its state is not to be used, and
	// all fields above are zero.
	Alarm *Alarm `json:"alarm,omitempty"`
	// Chosen, where set, is the outcome of an earlier run of the same training,
	// chosen already: nothing is left to train.
	Chosen *Choice `json:"chosen,omitempty"`
}

// TrainProgress is the heartbeat of a training leg, and what a retry resumes
// from.
type TrainProgress struct {
	Checkpoint      Ref     `json:"checkpoint"` // newest durable state of this leg
	Curves          Ref     `json:"curves"`     // the losses that belong to it
	Epoch           int     `json:"epoch"`      // 1-based, of Epochs
	Epochs          int     `json:"epochs"`
	Step            int64   `json:"step"` // 1-based, of Steps, over the whole training
	Steps           int64   `json:"steps"`
	LossReal        float64 `json:"loss_real"`
	LossFake        float64 `json:"loss_fake"`
	LossG           float64 `json:"loss_g"`
	DReal           float64 `json:"d_real"`
	DFake           float64 `json:"d_fake"`
	ImagesPerSecond float64 `json:"images_per_second"`
	SecondsLeft     float64 `json:"seconds_left"` // of the whole training
}

// Facts are what the result says in a log line.
func (r TrainResult) Facts() []any {
	if r.Alarm != nil {
		return r.Alarm.facts()
	}
	return []any{
		"epoch", r.Epoch, "step", r.Step, "loss_real", r.LossReal, "loss_fake", r.LossFake,
		"loss_generator", r.LossG, "images_per_second", r.ImagesPerSecond,
	}
}

func (a *Alarm) facts() []any { return []any{"alarm", a.Kind, "epoch", a.Epoch, "reason", a.Reason} }
