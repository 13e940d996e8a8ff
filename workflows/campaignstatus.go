package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
)

// CampaignAttribute is the search attribute by which a campaign's runs are
// found: the campaign's workflow identifier. A run has that of the campaign that
// began it.
var CampaignAttribute = temporal.NewSearchAttributeKeyKeyword("Campaign")

// The stages of a campaign, beside step.Done.
const (
	stagePlan    = "Plan"
	stageRuns    = "Runs"
	stageSummary = "Summary"
)

// maxRecent is how many of the last outcomes a status has, and maxNamed how many
// names the web UI's description has.
const (
	maxRecent = 40
	maxNamed  = 20
)

// CampaignStatus is how far a campaign has come.
type CampaignStatus struct {
	Name   string         `json:"name"`
	Kind   string         `json:"kind"`
	Stage  string         `json:"stage"` // Plan, Runs, Summary or Done
	Items  int            `json:"items"` // runs of the plan, 0 while it is not known
	Counts step.RunCounts `json:"counts"`
	// Running are the runs under way, Recent the last ones that ended.
	Running []CampaignRun    `json:"running"`
	Recent  []CampaignRecent `json:"recent"`
	Report  string           `json:"report,omitempty"` // key in the bucket
}

// CampaignRun is a run under way.
type CampaignRun struct {
	Index      int       `json:"index"`
	Name       string    `json:"name"`
	Class      string    `json:"class"`
	WorkflowID string    `json:"workflow_id"`
	Started    time.Time `json:"started"`
	Waiting    bool      `json:"waiting,omitempty"`
	Attached   bool      `json:"attached,omitempty"`
}

// CampaignRecent is a run that ended.
type CampaignRecent struct {
	Number     int     `json:"number"` // of those that ended, from 1
	Name       string  `json:"name"`
	WorkflowID string  `json:"workflow_id"`
	Status     string  `json:"status"`
	Images     int     `json:"images"` // published
	Reason     string  `json:"reason,omitempty"`
	Seconds    float64 `json:"seconds"`
}

func (s *CampaignStatus) recent(number int, o step.RunOutcome) {
	r := CampaignRecent{
		Number: number, Name: o.Name, WorkflowID: o.Run.WorkflowID, Status: o.Status, Images: o.ImagesPublished, Seconds: o.Seconds,
	}
	if len(o.Reasons) > 0 {
		r.Reason = o.Reasons[0]
	}
	s.Recent = append(slices.Clip(s.Recent), r)
	s.Recent = s.Recent[max(0, len(s.Recent)-maxRecent):]
}

// current is the status as queries are answered.
func (c *campaign) current() CampaignStatus {
	s := c.status
	s.Name, s.Kind, s.Items, s.Counts = c.in.Name, c.in.Kind, c.progress.Items, c.progress.Counts
	s.Running, s.Recent = []CampaignRun{}, append([]CampaignRecent{}, s.Recent...)
	for _, r := range c.running {
		s.Running = append(s.Running, CampaignRun{
			Index: r.Index, Name: r.Name, Class: r.Class, WorkflowID: r.Run.WorkflowID, Started: r.Started, Waiting: r.Waiting, Attached: r.Attached,
		})
	}
	return s
}

func (c *campaign) enter(ctx workflow.Context, stage string) error {
	c.status.Stage = stage
	err := workflow.UpsertTypedSearchAttributes(ctx, CampaignAttribute.ValueSet(c.self.WorkflowID), Stage.ValueSet(stage))
	if err != nil {
		return fmt.Errorf("set search attribute %s: %w", Stage.GetName(), err)
	}
	c.describe(ctx)
	return nil
}

// describe writes the markdown that the web UI shows above the history.
func (c *campaign) describe(ctx workflow.Context) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	n, kind := c.progress.Counts, "campaign"
	if c.in.Kind == step.KindSweep {
		kind = "sweep"
	}
	line("### %s %s, recipe %s", kind, c.in.Name, c.in.Recipe.Name)
	line("**%s**: %d of %d runs done, %d under way\n", c.status.Stage, n.Done(), c.progress.Items, len(c.running))
	line("- published %d, passed and not to be published %d, not approved %d, failed %d, cancelled %d",
		n.Published, n.Passed, n.NotApproved, n.Failed, n.Cancelled)
	for _, r := range c.running[:min(len(c.running), maxNamed)] {
		note := ""
		if r.Waiting {
			note = ", waits for approval"
		}
		line("- under way: %s, `%s`%s", r.Name, r.Run.WorkflowID, note)
	}
	for _, r := range slices.Backward(c.status.Recent[max(0, len(c.status.Recent)-5):]) {
		line("- %s: %s %s", r.Status, r.Name, r.Reason)
	}
	if c.status.Report != "" {
		line("- report: `%s`", c.status.Report)
	}
	workflow.SetCurrentDetails(ctx, b.String())
}
