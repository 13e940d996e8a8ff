package workflows

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
)

// refresh reports whether a stage is done even where its result would be found.
func (a *augmentation) refresh(stage fmt.Stringer) bool { return a.in.Rerun.Refreshes(stage.String()) }

// run executes one stage: it shows onlookers that the stage has begun, times it,
// and gives its failure a type.
func run[In, Out any](ctx workflow.Context, a *augmentation, s step.Step[In, Out], o workflow.ActivityOptions, in In) (Out, error) {
	if err := a.enter(ctx, string(s)); err != nil {
		var none Out
		return none, err
	}
	a.describe(ctx, o.Summary)
	start := workflow.Now(ctx)
	out, err := s.Run(workflow.WithActivityOptions(ctx, o), in)
	found, ok := any(out).(interface{ WasFound() bool })
	a.took(string(s), workflow.Now(ctx).Sub(start), ok && found.WasFound())
	if err != nil {
		return out, failed(string(s), err)
	}
	return out, nil
}

// took adds d to the stage's time; the legs of training add up, and so do their
// evaluations. A stage counts as found if each of its calls was.
func (a *augmentation) took(stage string, d time.Duration, found bool) {
	times := append([]step.StageTime(nil), a.outcome.Times...)
	if i := slices.IndexFunc(times, func(t step.StageTime) bool { return t.Stage == stage }); i >= 0 {
		times[i].Seconds += d.Seconds()
		times[i].Cached = times[i].Cached && found
	} else {
		times = append(times, step.StageTime{Stage: stage, Seconds: d.Seconds(), Cached: found})
	}
	a.outcome.Times, a.status.StagesDone = times, times
}

// failed gives the workflow's failure the type of the activity's, so that whoever
// started it can distinguish too few images from a training that diverged.
func failed(stage string, err error) error {
	if temporal.IsCanceledError(err) {
		return err
	}
	return temporal.NewApplicationErrorWithOptions(stage+": "+rootMessage(err), kindOf(err),
		temporal.ApplicationErrorOptions{NonRetryable: true, Cause: err})
}

// kindOf is the type of a stage's failure, one of step's where it is permanent.
func kindOf(err error) string {
	if app := new(temporal.ApplicationError); errors.As(err, &app) {
		return app.Type()
	}
	return step.ErrStageFailed
}

// rootMessage is what the activity itself said.
func rootMessage(err error) string {
	if app := new(temporal.ApplicationError); errors.As(err, &app) {
		return app.Message()
	}
	return err.Error()
}
