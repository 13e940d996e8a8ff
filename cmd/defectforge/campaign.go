package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/campaign"
	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/progress"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/workflows"
)

func campaignCommand(a *app) *cobra.Command {
	g := group("campaign", "Run many classes, or one class with many recipes, and compare them",
		campaignRunCommand(a), campaignSweepCommand(a), campaignListCommand(a), campaignShowCommand(a),
		campaignWatchCommand(a), campaignRetryCommand(a), campaignCancelCommand(a),
	)
	g.Long = `A campaign is a workflow that has runs as its children: one for each class below a
prefix, or one for each choice of recipe values of one class. Its report compares
them.`
	g.Example = `  defectforge campaign run --images s3://factory/defects/ --recipe small-data
  defectforge campaign list`
	return g
}

const campaignArg = "a campaign's workflow identifier, as `defectforge campaign list` prints it"

// oneCampaignCommand is a command on one campaign.
func oneCampaignCommand(a *app, name, short string, do onWorkflow) *cobra.Command {
	c := oneRunCommand(a, name, short, do)
	c.Use = name + " CAMPAIGN"
	c.Args = exactly(1, campaignArg)
	c.ValidArgsFunction = completeWorkflows(a, workflows.CampaignName, "", 1)
	return c
}

func campaignCancelCommand(a *app) *cobra.Command {
	c := oneCampaignCommand(a, "cancel", "Cancel a campaign and the runs that it began", cancelWorkflow)
	c.Long = `Cancel a campaign and the runs that it has under way. What has ended stays, and
` + "`campaign retry`" + ` does the rest.`
	c.Example = "  defectforge campaign cancel campaign-weekly"
	c.ValidArgsFunction = completeWorkflows(a, workflows.CampaignName, whileRunning, 1)
	return c
}

func campaignWatchCommand(a *app) *cobra.Command {
	c := oneCampaignCommand(a, "watch", "Follow a campaign until it ends", watchCampaign)
	c.Long = "Follow a campaign until it ends. Ctrl-C ends the watching, not the campaign."
	c.Example = "  defectforge campaign watch campaign-weekly"
	return c
}

func watchCampaign(ctx context.Context, a *app, s *process.Session, id, runID string) error {
	e, err := campaignOf(ctx, s, id, runID)
	if err != nil {
		return err
	}
	return campaignKind(a).watch(ctx, a, s, e)
}

// campaignOf finds a campaign's execution.
func campaignOf(ctx context.Context, s *process.Session, id, runID string) (client.Execution, error) {
	e, err := s.Client().Attach(ctx, id, runID)
	if err != nil {
		return e, fmt.Errorf("describe campaign: %w", err)
	}
	if e.Workflow != workflows.CampaignName {
		return e, console.Usage("%s: is no campaign but a %s; `defectforge campaign list` shows campaigns", id, e.Workflow)
	}
	return e, nil
}

// campaignPlan is a campaign, resolved.
type campaignPlan struct {
	id      string // "" for the one that follows from the input
	input   workflows.CampaignInput
	items   []step.PlanItem // nil where the workflow lists the source
	uploads []folderSource
}

// campaignJob is a campaign as a job. Before it starts, its plan is stored where
// there is one.
func campaignJob(a *app, p campaignPlan) job[*workflows.CampaignStatus, workflows.CampaignResult] {
	j := campaignKind(a)
	j.uploads = p.uploads
	alone := p.id != "" // but not once it is taken over
	j.prepare = func(ctx context.Context, s *process.Session) (client.Job, error) {
		in := p.input
		if p.items != nil {
			plan, err := campaign.StorePlan(ctx, s.Store, p.items)
			if err != nil {
				return client.Job{}, err
			}
			in.Plan = plan
			if err := s.Bucket.Sync(ctx); err != nil {
				return client.Job{}, fmt.Errorf("sync store: %w", err)
			}
		}
		work := client.Job{
			ID: p.id, Alone: alone, Workflow: workflows.CampaignName, Input: in,
			Summary: fmt.Sprintf("%s with recipe %s", in.Name, in.Recipe.Name),
		}
		work.ID, alone = cmp.Or(work.ID, workflows.CampaignID(in)), false
		work.Attributes = temporal.NewSearchAttributes(workflows.CampaignAttribute.ValueSet(work.ID))
		return work, nil
	}
	j.detached = func(s *process.Session, e client.Execution) any {
		return campaignReport{
			WorkflowID: e.WorkflowID, RunID: e.RunID, Name: p.input.Name, Kind: p.input.Kind, UI: s.RunURL(e.Run),
		}
	}
	return j
}

// campaignKind is what all jobs that are campaigns have in common.
func campaignKind(a *app) job[*workflows.CampaignStatus, workflows.CampaignResult] {
	return job[*workflows.CampaignStatus, workflows.CampaignResult]{
		kind: client.Campaigns, noun: "campaign", group: "campaign", view: progress.Campaign,
		conclude: func(ctx context.Context, s *process.Session, run step.Run, result workflows.CampaignResult, err error) error {
			return concludeCampaign(ctx, a, s, run, result, err)
		},
	}
}

// campaignReport is the JSON object of `campaign run`, `sweep`, `watch`, `retry`
// and `show`.
type campaignReport struct {
	WorkflowID string                    `json:"workflow_id"`
	RunID      string                    `json:"run_id"`
	Name       string                    `json:"name,omitempty"`
	Kind       string                    `json:"kind,omitempty"`
	Status     string                    `json:"status,omitempty"` // of `show`
	Items      int                       `json:"items"`
	Counts     step.RunCounts            `json:"counts"`
	Report     string                    `json:"report"`  // a path, or a key in the bucket of a cluster
	Summary    string                    `json:"summary"` // the same facts as JSON
	Progress   *workflows.CampaignStatus `json:"progress,omitempty"`
	UI         string                    `json:"ui,omitempty"`
	Error      string                    `json:"error,omitempty"`
}

// concludeCampaign prints how the campaign ended.
func concludeCampaign(
	ctx context.Context, a *app, s *process.Session, run step.Run, result workflows.CampaignResult, err error,
) error {
	out := campaignReport{
		WorkflowID: run.WorkflowID, RunID: run.RunID, Items: result.Items, Counts: result.Counts,
		Report: result.Report.Key, Summary: result.Summary.Key, UI: s.RunURL(run),
	}
	var summary report.Campaign
	if err == nil {
		if summary, err = readSummary(ctx, s.Store, run); err == nil {
			out.Name, out.Kind = summary.Name, summary.Kind
			if s.Stack != nil {
				out.Report, out.Summary, err = fetchCampaign(ctx, a, s.Store, result, summary)
			}
		}
	}
	if err != nil {
		err = failedWords(ctx, err)
		out.Error = err.Error()
		return emitFailed(a, out, err)
	}
	if a.console.JSON() {
		err = a.console.Emit(out)
	} else {
		printCampaign(a, out)
	}
	if err != nil {
		return err
	}
	return campaignStatus(out.Counts, summary.Unpublished)
}

// campaignStatus is the exit status of a campaign. A sweep that publishes nothing
// is complete where every run ended with a verdict.
func campaignStatus(n step.RunCounts, unpublished bool) error {
	switch {
	case n.Failed+n.Cancelled > 0:
		return console.Exit(console.ExitFailed)
	case n.NotApproved > 0 && !unpublished:
		return console.Exit(console.ExitNotApproved)
	}
	return nil
}

func printCampaign(a *app, r campaignReport) {
	a.console.Print("campaign   %s", r.WorkflowID)
	for _, c := range progress.Counts(r.Counts) {
		a.console.Print("runs       %d %s", c.N, c.What)
	}
	a.console.Print("report     %s", r.Report)
	a.console.Print("summary    %s", r.Summary)
	if r.UI != "" {
		a.console.Print("history    %s (while the stack runs: `defectforge up`)", r.UI)
	}
	if r.Counts.Failed+r.Counts.Cancelled > 0 {
		a.console.Print("again      `defectforge campaign retry %s` does again what failed", r.WorkflowID)
	}
}

// maxSummary bounds a campaign's summary.json, in bytes.
const maxSummary = 256 << 20

func readSummary(ctx context.Context, store *storage.Store, run step.Run) (report.Campaign, error) {
	raw, _, err := store.ReadNamed(ctx, ledger.SummaryKey(run), maxSummary)
	if err != nil {
		return report.Campaign{}, fmt.Errorf("read the campaign's summary: %w", err)
	}
	return report.DecodeCampaign(raw)
}

const (
	// maxFetched reports of single runs are put beside the campaign's page.
	maxFetched  = 200
	fetchAtOnce = 8
)

// fetchCampaign puts the page where a browser on this machine can open it, and
// the runs' reports where its links lead.
func fetchCampaign(
	ctx context.Context, a *app, store *storage.Store, result workflows.CampaignResult, summary report.Campaign,
) (page, twin string, err error) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchAtOnce)
	local := func(ref step.Ref) string { return reportFile(a, filepath.FromSlash(ref.Key)) }
	fetch := func(ref step.Ref) {
		g.Go(func() error {
			if err := os.MkdirAll(filepath.Dir(local(ref)), 0o755); err != nil {
				return fmt.Errorf("create report folder: %w", err)
			}
			return store.ReadToFile(gctx, storage.Object(ref), local(ref))
		})
	}
	fetch(result.Report)
	fetch(result.Summary)
	fetched := 0
	for _, row := range summary.Rows {
		if !row.Report.IsZero() && fetched < maxFetched {
			fetched++
			fetch(row.Report)
		}
	}
	if err := g.Wait(); err != nil {
		return result.Report.Key, result.Summary.Key, fmt.Errorf("fetch reports: %w", err)
	}
	if left := len(summary.Rows) - fetched; fetched == maxFetched && left > 0 {
		a.console.Say("the reports of %d runs are on this machine; those of the others lie in the bucket", fetched)
	}
	return local(result.Report), local(result.Summary), nil
}
