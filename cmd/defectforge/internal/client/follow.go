package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/workflows"
)

// View shows how far something is.
type View[S any] interface {
	Update(S)
	Close() // it ends, or is no longer followed
}

// Kind is what there is to follow: runs or campaigns. S is the progress of one,
// R its result.
type Kind[S, R any] struct {
	// Look finds out how far one is. It fails only where the server does not
	// answer; a worker that does not answer leaves the rest empty.
	Look  func(ctx context.Context, c *Client, id string) (S, error)
	every time.Duration
	// lastOfFailed: one that failed shows how far it came.
	lastOfFailed bool
}

const (
	pollEvery = 500 * time.Millisecond
	// lookPatience bounds one description of a workflow.
	lookPatience = 3 * time.Second
	// queryPatience bounds the wait for a worker's answer: none may be there.
	queryPatience = 2 * time.Second
	// lostAfter failed polls in a row the server counts as gone.
	lostAfter = 10
)

// Runs and Campaigns are the two kinds.
var (
	Runs      = Kind[Snapshot, workflows.AugmentResult]{Look: lookAtRun, every: pollEvery}
	Campaigns = Kind[*workflows.CampaignStatus, workflows.CampaignResult]{
		Look: lookAtCampaign, every: 2 * pollEvery, lastOfFailed: true,
	}
)

// ErrServerGone: the Temporal server no longer answers.
var ErrServerGone = errors.New("the Temporal server does not answer any more")

// ErrTakeOver: the process that ran the embedded stack has ended, and this one
// can run it.
var ErrTakeOver = errors.New("the process that ran the stack has ended")

// TakeOver does once what it is given, and does it again as often as that ends
// with ErrTakeOver, calling again before.
func TakeOver(once func() error, again func()) error {
	for {
		err := once()
		if !errors.Is(err, ErrTakeOver) {
			return err
		}
		again()
	}
}

// Follow shows an execution until it ends, and returns its result. A failure of
// this process that comes through failed, which may be nil, ends it too.
func (k Kind[S, R]) Follow(ctx context.Context, c *Client, e Execution, v View[S], failed <-chan error) (R, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ending struct {
		result R
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		var end ending
		end.err = c.Result(ctx, e.WorkflowID, e.Current, &end.result)
		ended <- end
	}()
	defer v.Close()
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	var none R
	lost := 0
	for {
		select {
		case <-ctx.Done():
			return none, context.Cause(ctx)
		case end := <-ended:
			if ctx.Err() != nil {
				return end.result, context.Cause(ctx)
			}
			return end.result, k.last(ctx, c, e.WorkflowID, v, end.err)
		case err := <-failed:
			return none, err
		case <-tick.C:
			now, err := k.Look(ctx, c, e.WorkflowID)
			if err == nil {
				lost = 0
				v.Update(now)
			} else if lost++; lost >= lostAfter && ctx.Err() == nil {
				return none, ErrServerGone
			}
		}
	}
}

// last shows how far something came that has ended with err, and says how it
// ended.
func (k Kind[S, R]) last(ctx context.Context, c *Client, id string, v View[S], err error) error {
	if err == nil || k.lastOfFailed {
		if now, lookErr := k.Look(ctx, c, id); lookErr == nil {
			v.Update(now)
		}
	}
	if gone := (*serviceerror.Unavailable)(nil); errors.As(err, &gone) {
		return ErrServerGone
	}
	return err
}

// Snapshot is how far a run is at one moment.
type Snapshot struct {
	Status  workflows.Status
	Stage   string              // running now, "" where not known
	Train   *step.TrainProgress // nil unless a training leg has beaten
	Counted *step.Progress      // nil unless another stage has reported how far it is
	Attempt int32               // of the running stage
	Failure string              // why the former attempt ended
}

func lookAtRun(ctx context.Context, c *Client, id string) (Snapshot, error) {
	var now Snapshot
	call, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	d, err := c.Temporal.DescribeWorkflowExecution(call, id, "")
	if err != nil {
		return now, fmt.Errorf("describe run: %w", err)
	}
	list := slices.DeleteFunc(d.GetPendingActivities(), func(a *workflowpb.PendingActivityInfo) bool {
		return a.GetActivityType().GetName() == string(step.Notify) // beside what the run waits for
	})
	if len(list) > 0 {
		a := list[0]
		now.Stage, now.Attempt = a.GetActivityType().GetName(), a.GetAttempt()
		now.Failure = c.Payloads.words(a.GetLastFailure())
		now.beat(c.Payloads, a.GetHeartbeatDetails())
	}
	var status workflows.Status
	if c.query(ctx, id, &status) == nil {
		now.Status = status
		now.Stage = cmp.Or(now.Stage, status.Stage)
	}
	return now, nil
}

// beat reads what a stage's heartbeat says.
func (s *Snapshot) beat(payloads Payloads, details *commonpb.Payloads) {
	if len(details.GetPayloads()) == 0 {
		return
	}
	var t step.TrainProgress
	var c step.Progress
	switch {
	case s.Stage == string(step.Train):
		if payloads.Data.FromPayloads(details, &t) == nil && t.Step > 0 {
			s.Train = &t
		}
	case payloads.Data.FromPayloads(details, &c) == nil && c.Total > 0:
		s.Counted = &c
	}
}

// lookAtCampaign finds nil where no worker answers.
func lookAtCampaign(ctx context.Context, c *Client, id string) (*workflows.CampaignStatus, error) {
	call, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	if _, err := c.Temporal.DescribeWorkflowExecution(call, id, ""); err != nil {
		return nil, fmt.Errorf("describe campaign: %w", err)
	}
	s := &workflows.CampaignStatus{}
	if c.query(ctx, id, s) != nil {
		return nil, nil
	}
	return s, nil
}

// query asks a workflow's worker for its status.
func (c *Client) query(ctx context.Context, id string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	v, err := c.Temporal.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
	if err == nil {
		err = v.Get(into)
	}
	return err
}
