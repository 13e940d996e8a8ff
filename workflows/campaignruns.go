package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

const (
	// Runs that the workflow cannot wait for are polled at growing intervals.
	firstLook = 2 * time.Second
	lastLook  = time.Minute
	// stopPatience bounds the wait for runs that were cancelled.
	stopPatience = 30 * time.Minute
	// maxCauses and maxCause bound what an outcome says of its reasons.
	maxCauses = 4
	maxCause  = 300
)

// AugmentID is the identifier of the workflow that does in: the same images,
// recipe and policy make the same run, whoever starts it.
func AugmentID(in AugmentInput) string {
	from := ""
	if in.Rerun != nil {
		from = in.Rerun.From
	}
	return "augment-" + in.Class + "-" + spec.Digest(struct {
		Source      step.Source
		Recipe      spec.Recipe
		Policy      spec.Policy
		Utility     *step.UtilityPlan
		Unpublished bool   `json:",omitempty"`
		From        string `json:",omitempty"`
	}{in.Source, in.Recipe, in.Policy, in.Utility, in.Unpublished, from})[:12]
}

// CampaignID is the identifier of the campaign that does in: the same name, source or
// plan, recipe and policy make the same campaign, whoever starts it.
func CampaignID(in CampaignInput) string {
	return "campaign-" + in.Name + "-" + spec.Digest(struct {
		Kind        string
		Source      step.Source
		Plan        string
		Recipe      spec.Recipe
		Policy      spec.Policy
		Unpublished bool
	}{in.Kind, in.Source, in.Plan.SHA256, in.Recipe, in.Policy, in.Unpublished})[:12]
}

// start makes a run of an item and waits for it beside the others.
func (c *campaign) start(ctx workflow.Context, item step.PlanItem) error {
	in := AugmentInput{
		Class: item.Class, Source: item.Source, Recipe: c.in.Recipe, Policy: c.in.Policy,
		TrainingQueue: c.in.TrainingQueue, Unpublished: c.in.Unpublished,
	}
	if item.Recipe != nil {
		in.Recipe = *item.Recipe
	}
	// The history keeps the identifier: a later version, whose recipes have more
	// values, would compute another one.
	var id string
	if err := workflow.SideEffect(ctx, func(workflow.Context) any { return AugmentID(in) }).Get(&id); err != nil {
		return fmt.Errorf("name run of %s: %w", item.Name, err)
	}
	r := &underWay{
		Index: item.Index, Name: item.Name, Class: item.Class, Run: step.Run{WorkflowID: id}, Started: workflow.Now(ctx).UTC(),
		// The server reports a run's end, but not that it waits for a person.
		watched: in.Policy.Approval == spec.ApprovePerson,
	}
	c.running = append(c.running, r)
	workflow.Go(ctx, func(ctx workflow.Context) { c.follow(ctx, r, in) })
	return nil
}

// follow waits for a child. One that somebody else is running already is left to
// watch.
func (c *campaign) follow(ctx workflow.Context, r *underWay, in AugmentInput) {
	attributes := []temporal.SearchAttributeUpdate{DefectClass.ValueSet(r.Class), CampaignAttribute.ValueSet(c.self.WorkflowID)}
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            r.Run.WorkflowID,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WaitForCancellation:   true,
		StaticSummary:         fmt.Sprintf("%s with recipe %s", r.Name, in.Recipe.Name),
		TypedSearchAttributes: temporal.NewSearchAttributes(attributes...),
	})
	child := workflow.ExecuteChildWorkflow(ctx, AugmentName, in)
	var begun workflow.Execution
	err := child.GetChildWorkflowExecution().Get(ctx, &begun)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		r.begun, r.Attached, r.watched, c.stirred = true, true, true, true
		return
	}
	r.begun, r.Run.RunID, c.stirred = true, begun.RunID, true
	var result AugmentResult
	if err == nil {
		err = child.Get(ctx, &result)
	}
	c.end(ctx, r, result.outcome(err))
}

// outcome is what a run's result, or its failure, means for the campaign.
func (a AugmentResult) outcome(err error) step.RunOutcome {
	if err != nil {
		return failure(err)
	}
	out := step.RunOutcome{
		Verdict: a.Verdict, Release: a.Release, ManifestSHA256: a.ManifestSHA256, Record: a.Record, Report: a.Report,
		ImagesIn: a.ImagesIn, ImagesQuarantined: a.ImagesQuarantined, ImagesPublished: a.ImagesPublished, Reasons: a.Reasons,
		Status: step.RunNotApproved,
	}
	switch {
	case a.Release != "":
		out.Status = step.RunPublished
	case a.Verdict == spec.Pass && a.Unpublished:
		out.Status, out.Reasons = step.RunPassed, nil
	}
	return out
}

func failure(err error) step.RunOutcome {
	var stopped *temporal.TerminatedError
	if temporal.IsCanceledError(err) || errors.As(err, &stopped) {
		return step.RunOutcome{Status: step.RunCancelled, Reasons: []string{"the run was cancelled or terminated before it ended"}}
	}
	out := step.RunOutcome{Status: step.RunFailed, Reasons: []string{rootMessage(err)}}
	if app := new(temporal.ApplicationError); errors.As(err, &app) {
		out.FailureType = app.Type()
	}
	return out
}

// OutcomeOf is what a run's end means for a campaign, for whoever looks at the run
// from outside.
func OutcomeOf(result AugmentResult, err error) step.RunOutcome { return bounded(result.outcome(err)) }

// bounded keeps an outcome small enough for a history.
func bounded(o step.RunOutcome) step.RunOutcome {
	reasons := slices.Clone(o.Reasons)
	if n := len(reasons) - maxCauses; n > 0 {
		reasons = append(reasons[:maxCauses], fmt.Sprintf("and %d more", n))
	}
	for i, r := range reasons {
		if len(r) > maxCause {
			reasons[i] = strings.ToValidUTF8(r[:maxCause], "") + "..."
		}
	}
	o.Reasons = reasons
	return o
}

// end removes a run that has ended from the list.
func (c *campaign) end(ctx workflow.Context, r *underWay, out step.RunOutcome) {
	at := slices.Index(c.running, r)
	if at < 0 {
		return // seen already
	}
	c.running = slices.Delete(c.running, at, at+1)
	out = bounded(out)
	out.Index, out.Name, out.Class = r.Index, r.Name, r.Class
	out.Run, out.Attached, out.Started = r.Run, r.Attached, r.Started
	out.Seconds = workflow.Now(ctx).Sub(r.Started).Seconds()
	c.finished = append(c.finished, out)
	c.progress.Counts.Add(out.Status)
	c.status.recent(c.progress.Counts.Done(), out)
	c.stirred = true
}

// watched are the runs to look at.
func (c *campaign) watched() []*underWay {
	var list []*underWay
	for _, r := range c.running {
		if r.begun && r.watched {
			list = append(list, r)
		}
	}
	return list
}

// watch polls the runs whose end nobody reports: those that an earlier execution
// started, those that somebody else started, and those that may wait for a person.
// ctx is not cancelled with the campaign.
func (c *campaign) watch(ctx workflow.Context) {
	pause := firstLook
	for {
		if err := workflow.Await(ctx, func() bool { return len(c.watched()) > 0 }); err != nil {
			return
		}
		if err := workflow.Sleep(ctx, pause); err != nil {
			return
		}
		pause = min(2*pause, lastLook)
		list := c.watched()
		if len(list) == 0 {
			continue
		}
		in := step.LookInput{}
		for _, r := range list {
			in.Runs = append(in.Runs, r.Run)
		}
		out, err := step.LookAtRuns.Run(workflow.WithActivityOptions(ctx, short(fmt.Sprintf("%d runs", len(list)))), in)
		if ctx.Err() != nil {
			return
		}
		if err != nil || len(out.States) != len(list) {
			workflow.GetLogger(ctx).Warn("Runs can't be looked at", "error", err)
			continue
		}
		if c.look(ctx, list, out) {
			pause = firstLook
		}
	}
}

// look enters what was seen, and reports whether it was something new.
func (c *campaign) look(ctx workflow.Context, list []*underWay, seen step.LookResult) bool {
	news := seen.More
	for i, s := range seen.States {
		r := list[i]
		if r.Run.RunID == "" {
			r.Run.RunID = s.Run.RunID
		}
		if r.Waiting != s.Waiting {
			r.Waiting, c.stirred, news = s.Waiting, true, true
		}
		if s.Ended != nil {
			c.end(ctx, r, *s.Ended)
			news = true
		}
	}
	return news
}

// cancel passes a cancellation on to the runs that the campaign began, waits for
// them, and sums up what there is.
func (c *campaign) cancel(ctx workflow.Context, cause error) error {
	ctx = disconnected(ctx)
	workflow.Go(ctx, c.watch)
	for _, r := range slices.Clone(c.running) {
		if r.Attached {
			c.end(ctx, r, step.RunOutcome{
				Status: step.RunCancelled, Reasons: []string{"the campaign was cancelled; this run was begun by somebody else and goes on"},
			})
			continue
		}
		// Children of this execution have the cancellation already.
		if !r.carried {
			continue
		}
		// One that has ended in the meantime can't be cancelled, and is polled.
		_ = workflow.RequestCancelExternalWorkflow(ctx, r.Run.WorkflowID, "").Get(ctx, nil)
	}
	if _, err := workflow.AwaitWithTimeout(ctx, stopPatience, func() bool { return len(c.running) == 0 }); err != nil {
		return err
	}
	for _, r := range slices.Clone(c.running) {
		c.end(ctx, r, step.RunOutcome{Status: step.RunCancelled, Reasons: []string{"the run was told to stop and did not in time"}})
	}
	if err := c.keep(ctx, 1); err != nil {
		return err
	}
	if _, err := c.summarise(ctx, true); err != nil {
		return err
	}
	return cause
}

// disconnected is a context that outlives the campaign's cancellation.
func disconnected(ctx workflow.Context) workflow.Context {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	return ctx
}
