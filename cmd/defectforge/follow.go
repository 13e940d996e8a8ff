package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/workflows"
)

// snapshot is how far a run has come at one moment.
type snapshot struct {
	status  workflows.Status
	stage   string              // running now, "" where not known
	train   *step.TrainProgress // nil unless a training leg has beaten
	counted *step.Progress      // nil unless another stage has told how far it is
	attempt int32               // of the running stage
	failure string              // why the former attempt ended
}

// view shows a run's progress to a person.
type view interface {
	update(snapshot)
	close()
}

const (
	pollEvery = 500 * time.Millisecond
	// lookPatience bounds one description of a run.
	lookPatience = 3 * time.Second
	// queryPatience bounds the wait for a worker's answer: none may be there.
	queryPatience = 2 * time.Second
	// lostAfter failed polls in a row the server counts as gone.
	lostAfter = 10
)

// errServerGone: the Temporal server does not answer any more.
var errServerGone = errors.New("the Temporal server does not answer any more")

// follow shows the run until it ends, and returns its result. failed tells of
// parts of this process that died; it may be nil.
func follow(ctx context.Context, s *session, id, runID string, v view, failed <-chan error) (workflows.AugmentResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ending struct {
		result workflows.AugmentResult
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		var e ending
		e.err = s.temp.GetWorkflow(ctx, id, runID).Get(ctx, &e.result)
		ended <- e
	}()
	defer v.close()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	lost := 0
	for {
		select {
		case <-ctx.Done():
			return workflows.AugmentResult{}, context.Cause(ctx)
		case e := <-ended:
			if ctx.Err() != nil {
				return e.result, context.Cause(ctx)
			}
			if now, err := look(ctx, s, id); err == nil && e.err == nil {
				v.update(now)
			}
			if gone := (*serviceerror.Unavailable)(nil); errors.As(e.err, &gone) {
				return e.result, errServerGone
			}
			return e.result, e.err
		case err := <-failed:
			return workflows.AugmentResult{}, err
		case <-tick.C:
			now, err := look(ctx, s, id)
			if err != nil {
				if lost++; lost >= lostAfter && ctx.Err() == nil {
					return workflows.AugmentResult{}, errServerGone
				}
				continue
			}
			lost = 0
			v.update(now)
		}
	}
}

// look takes a snapshot. It fails only where the server does not answer; a
// worker that does not answer just leaves the status empty.
func look(ctx context.Context, s *session, id string) (snapshot, error) {
	var now snapshot
	call, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	d, err := s.temp.DescribeWorkflowExecution(call, id, "")
	if err != nil {
		return now, fmt.Errorf("describe run: %w", err)
	}
	list := slices.DeleteFunc(d.GetPendingActivities(), func(a *workflowpb.PendingActivityInfo) bool {
		return a.GetActivityType().GetName() == string(step.Notify) // beside what the run waits for
	})
	if len(list) > 0 {
		a := list[0]
		now.stage, now.attempt, now.failure = a.GetActivityType().GetName(), a.GetAttempt(), s.payloads.words(a.GetLastFailure())
		now.beat(s.payloads.data, a.GetHeartbeatDetails())
	}
	if status, err := queryStatus(ctx, s.temp, id, ""); err == nil {
		now.status = status
		if now.stage == "" {
			now.stage = status.Stage
		}
	}
	return now, nil
}

// beat reads what a stage's heartbeat says.
func (s *snapshot) beat(decode converter.DataConverter, details *commonpb.Payloads) {
	if len(details.GetPayloads()) == 0 {
		return
	}
	var t step.TrainProgress
	var c step.Progress
	switch {
	case s.stage == string(step.Train):
		if decode.FromPayloads(details, &t) == nil && t.Step > 0 {
			s.train = &t
		}
	case decode.FromPayloads(details, &c) == nil && c.Total > 0:
		s.counted = &c
	}
}

func queryStatus(ctx context.Context, c client.Client, id, runID string) (workflows.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	var s workflows.Status
	v, err := c.QueryWorkflow(ctx, id, runID, workflows.StatusQuery)
	if err != nil {
		return s, fmt.Errorf("query status: %w", err)
	}
	if err := v.Get(&s); err != nil {
		return s, fmt.Errorf("read status: %w", err)
	}
	return s, nil
}

// remedies say what to do about permanent failures whose own words do not.
var remedies = map[string]string{
	step.ErrUnstable:          "choose another --seed, or lower train.generator_rate and train.discriminator_rate with --set; run.json has every try",
	step.ErrDiverged:          "choose another --seed, or lower train.generator_rate and train.discriminator_rate with --set",
	step.ErrCorrupt:           "the store returned other bytes than were written: check its disk, then run the same command again",
	step.ErrReleaseConflict:   "`defectforge releases verify` tells what differs",
	step.ErrCheckpointForeign: "a checkpoint of another recipe is in the way; choose another --seed",
}

// spoken are failures that say by themselves what to do.
var spoken = map[string]bool{step.ErrTooFewImages: true, step.ErrBadInput: true}

// explain words how a run failed, with what to do.
func explain(err error) error {
	app, stopped, timeout := (*temporal.ApplicationError)(nil), (*temporal.TerminatedError)(nil), (*temporal.TimeoutError)(nil)
	switch {
	case errors.Is(err, converter.ErrEncodingIsNotSupported):
		return errors.New("what Temporal keeps of the run is encrypted; set codec.keys, or codec.keys_file, to the keys of its workers")
	case errors.Is(err, errServerGone):
		return fmt.Errorf("%w; run the same command again to go on", err)
	case temporal.IsCanceledError(err):
		return &statusError{exitFailed, errors.New("the run was cancelled; run the same command again to start it anew")}
	case errors.As(err, &stopped):
		return &statusError{exitFailed, errors.New("the run was terminated; run the same command again to start it anew")}
	case errors.As(err, &app):
		if spoken[app.Type()] {
			return errors.New(app.Message())
		}
		if remedy, ok := remedies[app.Type()]; ok {
			return fmt.Errorf("%s; %s", app.Message(), remedy)
		}
		return fmt.Errorf("%s; when the cause is mended, run the same command again", app.Message())
	case errors.As(err, &timeout):
		return fmt.Errorf("the run timed out: %w; run the same command again", err)
	}
	return err
}
