package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/campaign"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/workflows"
)

// retryOptions are the arguments and flags of `campaign retry`.
type retryOptions struct {
	id          string
	concurrency int // 0 keeps the campaign's own
	detach      bool
}

func campaignRetryCommand(a *app) *cobra.Command {
	var o retryOptions
	c := &cobra.Command{
		Use:   "retry CAMPAIGN",
		Short: "Do again what failed or was cancelled in a campaign, and nothing else",
		Long: `Do again the runs of a campaign that failed, were cancelled or not begun. The
others stand: the new report has all of them. What was not approved is not done
again: the same images and recipe make the same set.`,
		Example: `  defectforge campaign retry campaign-weekly
  defectforge campaign retry campaign-weekly --concurrency 2 --detach`,
		Args: exactly(1, campaignArg),
		RunE: a.loading(func(c *cobra.Command, args []string) error {
			o.id = args[0]
			return retryCampaign(c.Context(), a, o)
		}),
		ValidArgsFunction: completeWorkflows(a, workflows.CampaignName, "", 1),
	}
	c.Flags().IntVar(&o.concurrency, "concurrency", 0, "runs under way at once (default: as before)")
	c.Flags().BoolVar(&o.detach, "detach", false, "start and return; a worker must be there to do it")
	return c
}

func retryCampaign(ctx context.Context, a *app, o retryOptions) error {
	if o.concurrency != 0 && (o.concurrency < 1 || o.concurrency > workflows.MaxConcurrency) {
		return console.Usage("--concurrency: %d: must be within 1 and %d", o.concurrency, workflows.MaxConcurrency)
	}
	p, err := planRetry(ctx, a, o.id)
	if err != nil {
		return err
	}
	if len(p.items) == 0 {
		a.console.Say("nothing failed in %s; there is nothing to do again", o.id)
		if a.console.JSON() {
			return a.console.Emit(campaignReport{WorkflowID: o.id})
		}
		return nil
	}
	if o.concurrency != 0 {
		p.input.Concurrency = o.concurrency
	}
	return campaignJob(a, p).do(ctx, a, o.detach)
}

// planRetry plans the runs of a campaign that failed or did not end, with no
// items where all did.
func planRetry(ctx context.Context, a *app, id string) (campaignPlan, error) {
	s, err := a.process.Open(ctx)
	if err != nil {
		return campaignPlan{}, err
	}
	defer s.Close()
	e, err := campaignOf(ctx, s, id, "")
	if err != nil {
		return campaignPlan{}, notFound(err, id)
	}
	if e.Status == client.Running {
		return campaignPlan{}, fmt.Errorf("campaign %s: is still running; `defectforge campaign watch %s` follows it", id, id)
	}
	summary, err := readSummary(ctx, s.Store, e.Run)
	if errors.Is(err, storage.ErrNotFound) {
		return campaignPlan{}, fmt.Errorf("campaign %s: ended without a summary; run the command again that began it: "+
			"finished runs are found by their results", id)
	} else if err != nil {
		return campaignPlan{}, err
	}
	again, stand := divide(summary.Rows)
	p := campaignPlan{id: id, input: inputOf(summary)}
	p.input.TrainingQueue = a.cfg.Temporal.TrainingTaskQueue
	items, err := campaign.PlanItems(ctx, s.Store, summary.Plan)
	if err != nil || len(again) == 0 {
		return p, err
	}
	for _, item := range items {
		if again[item.Index] {
			p.items = append(p.items, item)
		}
	}
	p.input.Kept, err = campaign.StoreOutcomes(ctx, s.Store, stand)
	return p, err
}

// divide parts the rows of a campaign into those to do again, by index, and
// those that stand.
func divide(rows []report.Row) (again map[int]bool, stand []report.Row) {
	again = map[int]bool{}
	for _, row := range rows {
		if row.Status == step.RunFailed || row.Status == step.RunCancelled {
			again[row.Index] = true
		} else {
			stand = append(stand, row)
		}
	}
	return again, stand
}

// inputOf is the input of a campaign that does the rest of one that has ended.
func inputOf(c report.Campaign) workflows.CampaignInput {
	return workflows.CampaignInput{
		Name: c.Name, Kind: c.Kind, Source: c.Source, Whole: c.Plan, Recipe: c.Recipe, Policy: c.Policy,
		Concurrency: c.Concurrency, Unpublished: c.Unpublished,
	}
}
