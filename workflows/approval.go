package workflows

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// DecideUpdate is the update by which a person approves or refuses a set. It
// takes a DecideInput and answers with a step.Approval.
const DecideUpdate = "decide"

// maxWords bounds who and why, in bytes.
const maxWords = 2000

// DecideInput is a person's decision.
type DecideInput struct {
	Approve bool   `json:"approve"`
	Who     string `json:"who"`
	Why     string `json:"why"`
}

// listen accepts one decision, from the moment the run waits for it until its
// deadline. The same decision made again is answered with the first one's approval.
func (a *augmentation) listen(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, DecideUpdate, a.decide, workflow.UpdateHandlerOptions{
		Validator:   func(_ workflow.Context, in DecideInput) error { return a.mayDecide(in) },
		Description: "approves or refuses a set that passed",
	})
	if err != nil {
		return fmt.Errorf("set update handler: %w", err)
	}
	return nil
}

// mayDecide says why a decision is refused, or nothing.
func (a *augmentation) mayDecide(in DecideInput) error {
	for _, f := range []struct{ name, value string }{{"who", in.Who}, {"why", in.Why}} {
		if strings.TrimSpace(f.value) == "" {
			return fmt.Errorf("%s is empty; a decision is recorded with a name and a reason", f.name)
		}
		if len(f.value) > maxWords {
			return fmt.Errorf("%s has %d bytes; at most %d are recorded", f.name, len(f.value), maxWords)
		}
	}
	made := a.outcome.Approval
	switch {
	case made.By == step.ByPerson && made.Approved == in.Approve:
		return nil
	case made.By != "":
		return errors.New("decided already: " + ApprovalWords(made))
	case a.status.Deadline == nil:
		return fmt.Errorf("the run is not waiting for approval; its stage is %s", a.status.Stage)
	}
	return nil
}

func (a *augmentation) decide(ctx workflow.Context, in DecideInput) (step.Approval, error) {
	if a.outcome.Approval.By == "" {
		a.outcome.Approval = step.Approval{
			Approved: in.Approve, By: step.ByPerson, Who: strings.TrimSpace(in.Who), Why: strings.TrimSpace(in.Why), At: workflow.Now(ctx).UTC(),
		}
	}
	return a.outcome.Approval, nil
}

// approve decides about a set that passed: at once by policy, or by a person,
// whose silence means no.
func (a *augmentation) approve(ctx workflow.Context) error {
	o := &a.outcome
	if o.Policy.Approval != spec.ApprovePerson {
		// Without a time: equal content makes an equal release.
		o.Approval = step.Approval{Approved: true, By: step.ByPolicy}
		return nil
	}
	start := workflow.Now(ctx)
	// Earlier versions counted from here, and a timer of no duration would be no
	// timer: their runs must continue with the commands of their histories.
	deadline := *o.Deadline
	patience := max(deadline.Sub(start), time.Second)
	if err := a.enter(ctx, step.AwaitApproval); err != nil {
		return err
	}
	a.status.Deadline = &deadline
	a.describe(ctx, "until "+deadline.Format(time.RFC3339)+"; then the answer is no")
	ctx2, quiet := workflow.WithCancel(ctx)
	workflow.Go(ctx2, func(ctx workflow.Context) { a.notifyWaiting(ctx, deadline) })
	decided, err := workflow.AwaitWithTimeout(ctx, patience, func() bool { return o.Approval.By != "" })
	quiet()
	if err != nil {
		return err
	}
	if !decided {
		o.Approval = step.Approval{By: step.ByDeadline, At: workflow.Now(ctx).UTC()}
	}
	a.status.Deadline, a.status.Approval = nil, &o.Approval
	a.took(step.AwaitApproval, workflow.Now(ctx).Sub(start), false)
	return nil
}

// notifyWaiting sends the notice that the run waits for a person. The run waits
// all the same where the notice could not be sent.
func (a *augmentation) notifyWaiting(ctx workflow.Context, deadline time.Time) {
	o := a.outcome
	out, err := step.Notify.Run(workflow.WithActivityOptions(ctx, notifying("approval of "+a.in.Class)), step.NotifyInput{Notice: step.Notice{
		Kind: step.NoticeWaiting, Run: o.Run, Class: a.in.Class, Verdict: o.Assess.Verdict, Report: a.report.HTML.Key, Deadline: deadline,
	}})
	if a.status.Deadline == nil || ctx.Err() != nil {
		return // decided in the meantime
	}
	switch {
	case err != nil:
		a.status.Notice = "the notice could not be sent: " + rootMessage(err)
	case out.Sent:
		a.status.Notice = "the webhook was told"
	default:
		a.status.Notice = "no webhook is set, so no notice was sent"
	}
	a.describe(ctx, a.doing)
}

// ApprovalWords puts a decision into words, for people.
func ApprovalWords(p step.Approval) string {
	verb := map[bool]string{true: "approved", false: "refused"}[p.Approved]
	switch p.By {
	case step.ByPolicy:
		return verb + " by policy"
	case step.ByDeadline:
		return "nobody decided before the deadline, which means no"
	case step.ByPerson:
		return fmt.Sprintf("%s by %s at %s: %s", verb, p.Who, p.At.Format(time.RFC3339), p.Why)
	}
	return "not decided"
}
