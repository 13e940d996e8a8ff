package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// CampaignName is the registered name of Campaign.
const CampaignName = "AugmentCampaign"

// MaxConcurrency bounds the runs that a campaign has under way at once.
const MaxConcurrency = 64

const (
	// keepAt finished runs are written down together. Their outcomes are one
	// activity's input, so there must not be too many.
	keepAt = 12
	// maxWaiting runs that wait for a person do not count as under way; they are
	// carried through every continuation.
	maxWaiting = 100
)

// CampaignInput says which runs a campaign makes.
type CampaignInput struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // step.KindClasses or step.KindSweep
	// Source is the folder whose prefixes are the classes. It is listed unless
	// Plan says what the runs are.
	Source step.Source `json:"source"`
	Plan   step.Ref    `json:"plan"`
	// Whole is the plan that Plan is a part of, where runs are tried again, and
	// Kept leads to the outcomes that stand.
	Whole step.Ref `json:"whole"`
	Kept  step.Ref `json:"kept"`
	// Recipe is that of every run whose item has none of its own.
	Recipe      spec.Recipe `json:"recipe"`
	Policy      spec.Policy `json:"policy"`
	Concurrency int         `json:"concurrency"` // runs under way at once
	// Unpublished: what passes is compared and not published.
	Unpublished bool `json:"unpublished,omitempty"`
	// TrainingQueue is the task queue of the stages that compute; empty means
	// step.TrainingQueue.
	TrainingQueue string `json:"training_queue,omitempty"`
	// Progress is what earlier executions have done. Only a campaign that
	// continues as new sets it.
	Progress *CampaignProgress `json:"progress,omitempty"`
}

// CampaignProgress is the part of a campaign that survives continuing as new.
// Its size does not grow with the number of finished runs.
type CampaignProgress struct {
	Started time.Time      `json:"started"`
	Plan    step.Ref       `json:"plan"`
	Items   int            `json:"items"`
	Loose   int            `json:"loose"`
	Page    int            `json:"page"` // of the plan, the next one to read from
	Taken   int            `json:"taken"`
	Head    step.Ref       `json:"head"`
	Kept    int            `json:"kept"` // documents of outcomes
	Counts  step.RunCounts `json:"counts"`
	// Running are the runs that an earlier execution started.
	Running []underWay `json:"running,omitempty"`
}

// CampaignResult says how a campaign ended.
type CampaignResult struct {
	Items   int            `json:"items"`
	Counts  step.RunCounts `json:"counts"`
	Summary step.Ref       `json:"summary"` // campaigns/<workflow>/<run>/summary.json
	Report  step.Ref       `json:"report"`  // campaigns/<workflow>/<run>/report.html
}

// underWay is a run that was started and has not ended.
type underWay struct {
	Index    int       `json:"index"`
	Name     string    `json:"name"`
	Class    string    `json:"class"`
	Run      step.Run  `json:"run"`
	Started  time.Time `json:"started"`
	Attached bool      `json:"attached,omitempty"` // begun by somebody else
	Waiting  bool      `json:"waiting,omitempty"`  // for a person

	begun   bool // the server knows it
	watched bool // its end is polled for, not awaited
	carried bool // an earlier execution's child
}

// campaign is one execution of a campaign.
type campaign struct {
	in       CampaignInput
	self     step.Run
	progress CampaignProgress
	page     []step.PlanItem // what is left of the plan's page that was read
	pages    int
	running  []*underWay
	finished []step.RunOutcome // not written down yet
	stirred  bool              // something happened since the last look
	status   CampaignStatus
}

// Campaign starts one run for every item of a plan: for every class below a
// source, or for every choice of values of a sweep. At most as many are under way
// at once as the input says; one that fails does not stop the others. The campaign
// ends with one summary of them all.
//
// Runs are children that are abandoned when an execution closes: continuing as
// new closes it, and so does a termination, and a run under way is worth
// finishing either way. A cancellation is passed on to those that the campaign
// began.
func Campaign(ctx workflow.Context, in CampaignInput) (CampaignResult, error) {
	c := beginCampaign(ctx, in)
	if err := workflow.SetQueryHandler(ctx, StatusQuery, func() (CampaignStatus, error) { return c.current(), nil }); err != nil {
		return CampaignResult{}, fmt.Errorf("set query handler: %w", err)
	}
	if err := answerReferences(ctx, c.references); err != nil {
		return CampaignResult{}, err
	}
	if err := validateCampaign(in); err != nil {
		return CampaignResult{}, err
	}
	if err := c.plan(ctx); err != nil {
		return CampaignResult{}, err
	}
	again, err := c.work(ctx)
	switch {
	case temporal.IsCanceledError(err):
		return CampaignResult{}, c.cancel(ctx, err)
	case err != nil:
		return CampaignResult{}, err
	case again != nil:
		return CampaignResult{}, workflow.NewContinueAsNewError(ctx, CampaignName, *again)
	}
	return c.summarise(ctx, false)
}

func validateCampaign(in CampaignInput) error {
	refuse := func(field string, value any, remedy string) error {
		return temporal.NewNonRetryableApplicationError(fmt.Sprintf("%s: %v is not usable; %s", field, value, remedy), step.ErrBadInput, nil)
	}
	switch {
	case in.Kind != step.KindClasses && in.Kind != step.KindSweep:
		return refuse("kind", fmt.Sprintf("%q", in.Kind), "choose "+step.KindClasses+" or "+step.KindSweep)
	case in.Concurrency < 1 || in.Concurrency > MaxConcurrency:
		return refuse("concurrency", in.Concurrency, fmt.Sprintf("give 1 to %d", MaxConcurrency))
	case in.Plan.IsZero() && in.Source.Bucket == "":
		return refuse("source.bucket", `""`, "name the bucket whose prefixes are the classes")
	}
	return nil
}

func beginCampaign(ctx workflow.Context, in CampaignInput) *campaign {
	info := workflow.GetInfo(ctx)
	c := &campaign{in: in, self: step.Run{WorkflowID: info.WorkflowExecution.ID, RunID: info.FirstRunID}}
	if c.self.RunID == "" {
		c.self.RunID = info.WorkflowExecution.RunID
	}
	c.progress = CampaignProgress{Started: workflow.Now(ctx).UTC(), Plan: in.Plan, Head: in.Kept}
	if in.Progress != nil {
		c.progress = *in.Progress
		for _, r := range in.Progress.Running {
			r.begun, r.watched, r.carried = true, true, true
			c.running = append(c.running, &r)
		}
		c.progress.Running = nil
	}
	return c
}

// plan finds out what the runs are.
func (c *campaign) plan(ctx workflow.Context) error {
	if c.in.Progress != nil {
		return c.enter(ctx, stageRuns)
	}
	if err := c.enter(ctx, stagePlan); err != nil {
		return err
	}
	if c.in.Plan.IsZero() {
		planning := workflow.WithActivityOptions(ctx, short("classes below "+c.in.Source.Prefix))
		out, err := step.PlanCampaign.Run(planning, step.PlanInput{Source: c.in.Source})
		if err != nil {
			return failed(string(step.PlanCampaign), err)
		}
		c.progress.Plan, c.progress.Items, c.progress.Loose = out.Plan, out.Items, out.Loose
	}
	return c.enter(ctx, stageRuns)
}

// work starts runs and waits for them, until none is left or until the history
// has grown long: then it returns the input of the next execution.
func (c *campaign) work(ctx workflow.Context) (*CampaignInput, error) {
	looking, stop := workflow.WithCancel(disconnected(ctx))
	defer stop()
	workflow.Go(looking, c.watch)
	for {
		if err := c.startMore(ctx); err != nil {
			return nil, err
		}
		if err := c.keep(ctx, keepAt); err != nil {
			return nil, err
		}
		if len(c.running) == 0 {
			return nil, c.keep(ctx, 1)
		}
		long := func() bool { return workflow.GetInfo(ctx).GetContinueAsNewSuggested() }
		if long() {
			return c.next(ctx)
		}
		c.describe(ctx)
		if err := workflow.Await(ctx, func() bool { return c.stirred || long() }); err != nil {
			return nil, err
		}
		c.stirred = false
	}
}

// next writes down what has ended and hands on what has not.
func (c *campaign) next(ctx workflow.Context) (*CampaignInput, error) {
	// A child that the server has not started yet would be lost.
	err := workflow.Await(ctx, func() bool {
		for _, r := range c.running {
			if !r.begun {
				return false
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if err := c.keep(ctx, 1); err != nil {
		return nil, err
	}
	in, p := c.in, c.progress
	for _, r := range c.running {
		p.Running = append(p.Running, *r)
	}
	in.Progress = &p
	return &in, nil
}

// startMore starts runs while there is room for them.
func (c *campaign) startMore(ctx workflow.Context) error {
	for c.room() {
		item, err := c.item(ctx)
		if err != nil {
			return err
		}
		if item == nil {
			return nil
		}
		if err := c.start(ctx, *item); err != nil {
			return err
		}
	}
	return nil
}

// room reports whether another run may be started.
func (c *campaign) room() bool {
	waiting := 0
	for _, r := range c.running {
		if r.Waiting {
			waiting++
		}
	}
	return len(c.running)-min(waiting, maxWaiting) < c.in.Concurrency
}

// item takes the next item of the plan, nil after the last one.
func (c *campaign) item(ctx workflow.Context) (*step.PlanItem, error) {
	for len(c.page) == 0 {
		if c.pages > 0 && c.progress.Page >= c.pages {
			return nil, nil
		}
		out, err := step.ReadPlan.Run(workflow.WithActivityOptions(ctx, short(fmt.Sprintf("page %d", c.progress.Page+1))),
			step.ReadPlanInput{Plan: c.progress.Plan, Page: c.progress.Page})
		if err != nil {
			return nil, failed(string(step.ReadPlan), err)
		}
		c.page, c.pages, c.progress.Items = out.Items[min(c.progress.Taken, len(out.Items)):], out.Pages, out.Total
		if len(c.page) == 0 {
			c.progress.Page, c.progress.Taken = c.progress.Page+1, 0
		}
	}
	item := c.page[0]
	c.page = c.page[1:]
	if c.progress.Taken++; len(c.page) == 0 {
		c.progress.Page, c.progress.Taken = c.progress.Page+1, 0
	}
	return &item, nil
}

// keep writes down the outcomes that have come in, if there are at least
// atLeast.
func (c *campaign) keep(ctx workflow.Context, atLeast int) error {
	for len(c.finished) >= atLeast && len(c.finished) > 0 {
		batch := c.finished[:min(len(c.finished), keepAt)]
		summary := fmt.Sprintf("%d of %d runs", c.progress.Counts.Done(), c.progress.Items)
		out, err := step.KeepOutcomes.Run(workflow.WithActivityOptions(ctx, short(summary)),
			step.KeepInput{Campaign: c.self, Number: c.progress.Kept, Before: c.progress.Head, Outcomes: batch})
		if err != nil {
			return failed(string(step.KeepOutcomes), err)
		}
		// More may have come in behind the batch meanwhile.
		c.finished = append([]step.RunOutcome(nil), c.finished[len(batch):]...)
		c.progress.Head, c.progress.Kept = out.Head, c.progress.Kept+1
	}
	return nil
}

// summarise ends the campaign with one report.
func (c *campaign) summarise(ctx workflow.Context, cancelled bool) (CampaignResult, error) {
	if err := c.enter(ctx, stageSummary); err != nil {
		return CampaignResult{}, err
	}
	p, whole := c.progress, c.in.Whole
	if whole.IsZero() {
		whole = p.Plan
	}
	summing := workflow.WithActivityOptions(ctx, short(fmt.Sprintf("%d runs", p.Counts.Done())))
	out, err := step.SummariseCampaign.Run(summing, step.SummariseInput{
		Campaign: c.self, Name: c.in.Name, Kind: c.in.Kind, Source: c.in.Source, Recipe: c.in.Recipe, Policy: c.in.Policy,
		Plan: whole, Items: p.Items, Loose: p.Loose, Concurrency: c.in.Concurrency, Unpublished: c.in.Unpublished,
		Head: p.Head, Started: p.Started, Seconds: workflow.Now(ctx).Sub(p.Started).Seconds(), Cancelled: cancelled,
	})
	if err != nil {
		return CampaignResult{}, failed(string(step.SummariseCampaign), err)
	}
	c.status.Report = out.Report.Key
	if err := c.enter(ctx, step.Done); err != nil {
		return CampaignResult{}, err
	}
	return CampaignResult{Items: out.Counts.Done(), Counts: out.Counts, Summary: out.Summary, Report: out.Report}, nil
}
