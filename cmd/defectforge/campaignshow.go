package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/progress"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/workflows"
)

func campaignShowCommand(a *app) *cobra.Command {
	c := oneCampaignCommand(a, "show", "Show how far a campaign is, or what it came to", showCampaign)
	c.Long = `Show how far a campaign is, or what each of its runs came to, and where its report
is.`
	c.Example = `  defectforge campaign show campaign-weekly
  defectforge campaign show campaign-weekly -o yaml`
	return c
}

func showCampaign(ctx context.Context, a *app, s *process.Session, id, runID string) error {
	e, err := campaignOf(ctx, s, id, runID)
	if err != nil {
		return err
	}
	out := campaignReport{WorkflowID: e.WorkflowID, RunID: e.RunID, Status: e.Status, UI: s.RunURL(e.Run)}
	if e.Status == client.Running {
		if p, err := client.Campaigns.Look(ctx, s.Client(), id); err == nil && p != nil {
			out.Progress, out.Name, out.Kind, out.Items, out.Counts = p, p.Name, p.Kind, p.Items, p.Counts
		}
	} else if err := showEnded(ctx, a, s, e.Run, &out); err != nil {
		return err
	}
	if a.console.JSON() {
		return a.console.Emit(out)
	}
	printShown(a, out)
	return nil
}

// showEnded fills in how a campaign ended.
func showEnded(ctx context.Context, a *app, s *process.Session, run step.Run, out *campaignReport) error {
	var result workflows.CampaignResult
	if err := s.Client().Result(ctx, run.WorkflowID, run.RunID, &result); err != nil {
		out.Error = client.Explain(err).Error()
	}
	summary, err := readSummary(ctx, s.Store, run)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil // it ended before there was anything to sum up
	case err != nil:
		return err
	}
	out.Name, out.Kind, out.Items, out.Counts = summary.Name, summary.Kind, len(summary.Rows), summary.Counts
	if out.Summary = ledger.SummaryKey(run); !result.Report.IsZero() {
		out.Report = result.Report.Key
		if s.Stack != nil {
			out.Report, out.Summary, err = fetchCampaign(ctx, a, s.Store, result, summary)
		}
	}
	return err
}

func printShown(a *app, r campaignReport) {
	out := a.console
	out.Print("campaign   %s", r.WorkflowID)
	out.Print("           %s", r.RunID)
	out.Print("status     %s", r.Status)
	switch {
	case r.Progress != nil:
		out.Print("progress   %s", progress.CampaignLine(*r.Progress))
	case r.Status == client.Running:
		out.Print("progress   not known: no worker answers")
	}
	for _, c := range progress.Counts(r.Counts) {
		out.Print("runs       %d %s", c.N, c.What)
	}
	if r.Report != "" {
		out.Print("report     %s", r.Report)
		out.Print("summary    %s", r.Summary)
	}
	if r.Error != "" {
		out.Print("error      %s", r.Error)
	}
}
