package workflows

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
)

// train runs the epochs in legs, one activity each, until the last epoch or
// until patience ends, and continues as new between two legs when the history
// has grown long. Where a selection split was kept, each leg is evaluated on it,
// and the best state is chosen.
func (a *augmentation) train(ctx workflow.Context) error {
	for a.outcome.Choice == nil && a.outcome.Train.Epoch < a.recipe().Train.Epochs && !a.impatient() {
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			in := a.in
			progress := a.progress()
			in.Progress = &progress
			return workflow.NewContinueAsNewError(ctx, AugmentName, in)
		}
		if err := a.leg(ctx); err != nil {
			return err
		}
		a.updateTraining()
	}
	if !a.evaluated() || a.outcome.Choice != nil {
		return nil
	}
	return a.choose(ctx)
}

// evaluated reports whether the checkpoint is chosen on a selection split.
func (a *augmentation) evaluated() bool { return a.outcome.Preprocess.Selection >= step.MinSelection }

// leg trains one leg and enters its state, or goes back where a monitor raised
// an alarm.
func (a *augmentation) leg(ctx workflow.Context) error {
	recipe, done := a.recipe(), a.outcome.Train
	to := min(done.Epoch+recipe.Train.LegEpochs, recipe.Train.Epochs)
	keep, superseded := a.supersede(recipe.Train.KeepCheckpoints)
	summary := fmt.Sprintf("epochs %d-%d of %d", done.Epoch+1, to, recipe.Train.Epochs)
	if n := len(a.outcome.Rollbacks); n > 0 {
		summary += fmt.Sprintf(", try %d", n+1)
	}
	out, err := run(ctx, a, step.Train, a.computing(summary), step.TrainInput{
		Run: a.outcome.Run, Tensors: a.outcome.Preprocess.Tensors, Recipe: recipe,
		FromEpoch: done.Epoch, ToEpoch: to,
		Checkpoint: done.Checkpoint, Curves: done.Curves, Superseded: superseded,
		Rollbacks: a.outcome.Rollbacks, Evaluated: a.evaluated(), Refresh: a.refresh(step.Train),
	})
	switch {
	case err != nil:
		return err
	case out.Alarm != nil:
		return a.rollBack(ctx, *out.Alarm)
	case out.Chosen != nil:
		a.takeChoice(*out.Chosen, out)
		return nil
	case out.Epoch < to:
		return temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("training stopped after epoch %d, before %d", out.Epoch, to), step.ErrBadInput, nil)
	}
	if a.evaluated() {
		alarm, err := a.evaluate(ctx, out)
		if err != nil {
			return err
		}
		if alarm != nil {
			a.checkpoints = append([]step.Ref{out.Checkpoint}, keep...) // the first to go
			return a.rollBack(ctx, *alarm)
		}
	}
	a.outcome.Train, a.checkpoints = out, append(keep, out.Checkpoint)
	return nil
}

// supersede divides the stored checkpoints into those that stay and those that may
// go once one more is stored. The last good state stays, as it is what a retry
// or a rollback goes back to, and so does the best one.
func (a *augmentation) supersede(keep int) (stay, superseded []step.Ref) {
	last, old := keepLast(a.checkpoints, keep)
	for _, c := range old {
		if a.best != nil && c == a.best.Checkpoint {
			stay = append(stay, c)
		} else {
			superseded = append(superseded, c)
		}
	}
	return append(stay, last...), superseded
}

// keepLast divides the stored checkpoints, oldest first, into those that stay and
// those that may go once one more is stored, so that keep remain. The last one
// always stays: a retry of the coming leg starts from it.
func keepLast(stored []step.Ref, keep int) (stay, superseded []step.Ref) {
	n := min(max(len(stored)+1-keep, 0), max(len(stored)-1, 0))
	return append([]step.Ref(nil), stored[n:]...), stored[:n]
}

// evaluate compares a state with the selection split. An alarm's evaluation is
// not entered: its state is given up.
func (a *augmentation) evaluate(ctx workflow.Context, state step.TrainResult) (*step.Alarm, error) {
	in := step.EvaluateInput{
		Checkpoint: state.Checkpoint, Tensors: a.outcome.Preprocess.Tensors, Recipe: a.recipe(), Epoch: state.Epoch, Step: state.Step,
		Refresh: a.refresh(step.Evaluate),
	}
	if len(a.evaluations) > 0 {
		in.First = a.evaluations[0]
		in.Widest = slices.MaxFunc(a.evaluations, func(x, y step.Evaluation) int { return cmp.Compare(x.Spread, y.Spread) }).Spread
	}
	out, err := run(ctx, a, step.Evaluate, a.computing(fmt.Sprintf("epoch %d, %d images against %d for selection",
		state.Epoch, a.in.Recipe.Monitor.Images, a.outcome.Preprocess.Selection)), in)
	if err != nil || out.Alarm != nil {
		return out.Alarm, err
	}
	a.evaluations = append(slices.Clip(a.evaluations), out.Evaluation)
	if bestOf(a.evaluations) == len(a.evaluations)-1 {
		a.best = &state
	}
	return nil, nil
}

// bestOf is the index of the first evaluation with the smallest KID.
func bestOf(list []step.Evaluation) int {
	best := 0
	for i, e := range list {
		if e.KID < list[best].KID {
			best = i
		}
	}
	return best
}

// impatient reports whether the last evaluations were no improvement.
func (a *augmentation) impatient() bool {
	patience := a.in.Recipe.Monitor.Patience
	return patience > 0 && len(a.evaluations)-1-bestOf(a.evaluations) >= patience
}

// rollBack goes back to the last good state, with half the discriminator's rate,
// or gives up when every try was used.
func (a *augmentation) rollBack(ctx workflow.Context, alarm step.Alarm) error {
	tried := a.outcome.Rollbacks
	if len(tried) >= a.in.Recipe.Monitor.Tries {
		return a.giveUp(ctx, alarm)
	}
	a.outcome.Rollbacks = append(slices.Clip(tried), step.Rollback{
		Alarm: alarm, ToEpoch: a.outcome.Train.Epoch, DiscriminatorScale: math.Ldexp(1, -len(tried)-1),
	})
	return nil
}

// giveUp fails the run with the outcome of every try, and writes it down if
// that is possible.
func (a *augmentation) giveUp(ctx workflow.Context, alarm step.Alarm) error {
	tries := append(slices.Clip(a.outcome.Rollbacks), step.Rollback{Alarm: alarm})
	var b strings.Builder
	fmt.Fprintf(&b, "training failed after %d tries", len(tries))
	for i, r := range tries {
		fmt.Fprintf(&b, "; try %d: %s (epoch %d)", i+1, r.Alarm.Reason, r.Alarm.Epoch)
	}
	failure := temporal.NewNonRetryableApplicationError(string(step.Train)+": "+b.String(), step.ErrUnstable, nil)
	bounded := func(o workflow.ActivityOptions) workflow.ActivityOptions {
		o.RetryPolicy = retry(5)
		return o
	}
	// A report or record that fails must not hide why the run failed.
	a.outcome.Train.Alarm = &alarm
	report, err := run(ctx, a, step.Report, bounded(short("training failed")), step.ReportInput{Outcome: a.outcome})
	if err == nil {
		a.report = report
	}
	record, err := run(ctx, a, step.RecordRun, bounded(short("training failed")),
		step.RecordRunInput{Outcome: a.outcome, Report: a.report, Failure: b.String(), UtilityPlan: a.in.Utility})
	if err == nil {
		a.record = record
	}
	if err := a.enter(ctx, string(step.Train)); err != nil {
		return err
	}
	a.describe(ctx, b.String())
	return failure
}

// choose ends the training with its best state.
func (a *augmentation) choose(ctx workflow.Context) error {
	o, best := &a.outcome, *a.best
	superseded := slices.DeleteFunc(append([]step.Ref(nil), a.checkpoints[:max(len(a.checkpoints)-a.in.Recipe.Train.KeepCheckpoints, 0)]...),
		func(c step.Ref) bool { return c == best.Checkpoint })
	out, err := run(ctx, a, step.Choose, short(fmt.Sprintf("epoch %d of %d", best.Epoch, o.Train.Epoch)), step.ChooseInput{
		Run: o.Run, Tensors: o.Preprocess.Tensors, Recipe: a.recipe(), Train: best, Superseded: superseded,
		Choice: step.Choice{
			Checkpoint: best.Checkpoint, Curves: o.Train.Curves, Epoch: best.Epoch, Step: best.Step,
			Evaluations: a.evaluations, Rollbacks: o.Rollbacks, LastEpoch: o.Train.Epoch, Reason: a.choiceReason(),
		},
	})
	if err != nil {
		return err
	}
	best.Checkpoint, best.Curves = out.Choice.Checkpoint, out.Choice.Curves
	a.takeChoice(out.Choice, best)
	a.updateTraining()
	return nil
}

// takeChoice enters a training's end: state is what was chosen.
func (a *augmentation) takeChoice(c step.Choice, state step.TrainResult) {
	state.Chosen = nil
	a.outcome.Choice, a.outcome.Train, a.outcome.Rollbacks, a.evaluations = &c, state, c.Rollbacks, c.Evaluations
}

func (a *augmentation) choiceReason() string {
	n, total := len(a.evaluations), a.recipe().Train.Epochs
	words := fmt.Sprintf("the smallest KID to the selection split of %d evaluated states", n)
	if last := a.outcome.Train.Epoch; last < total {
		words += fmt.Sprintf("; training ended after epoch %d of %d, as %d evaluations brought no smaller one",
			last, total, n-1-bestOf(a.evaluations))
	}
	return words
}

// updateTraining brings the status up to date.
func (a *augmentation) updateTraining() {
	o := a.outcome
	a.status.Epoch, a.status.Step = o.Train.Epoch, o.Train.Step
	a.status.Rollbacks, a.status.Evaluations = o.Rollbacks, len(a.evaluations)
	if n := len(a.evaluations); n > 0 {
		a.status.Evaluation, a.status.Best = &a.evaluations[n-1], &a.evaluations[bestOf(a.evaluations)]
	}
	if o.Choice != nil {
		a.status.ChosenEpoch, a.status.Epoch = o.Choice.Epoch, o.Choice.LastEpoch
	}
}
