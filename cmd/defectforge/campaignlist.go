package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/workflows"
)

func (p *program) campaignListCommand() *cobra.Command {
	limit := 50
	c := &cobra.Command{
		Use:   "list",
		Short: "List campaigns, the latest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			if limit < 1 || limit > 1000 {
				return usageError("--limit: %d: must be within 1 and 1000", limit)
			}
			return p.campaignList(c.Context(), limit)
		},
	}
	c.Flags().IntVar(&limit, "limit", limit, "at most this many")
	return c
}

// campaignListed is one campaign in a list.
type campaignListed struct {
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id"`
	Status     string    `json:"status"`
	Stage      string    `json:"stage"`
	Started    time.Time `json:"started"`
	Closed     time.Time `json:"closed,omitzero"`
}

func (p *program) campaignList(ctx context.Context, limit int) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	page, err := s.temp.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: s.place.Namespace, PageSize: int32(limit),
		// An execution that was continued has a later one in the list.
		Query: "WorkflowType = '" + workflows.CampaignName + "' AND ExecutionStatus != 'ContinuedAsNew'",
	})
	if err != nil {
		return fmt.Errorf("list campaigns: %w; `defectforge doctor` checks namespace and search attributes", err)
	}
	list := []campaignListed{}
	for _, info := range page.GetExecutions() {
		l := readLine(info)
		list = append(list, campaignListed{l.WorkflowID, l.RunID, l.Status, l.Stage, l.Started, l.Closed})
	}
	if p.json {
		return p.emit(struct {
			Campaigns []campaignListed `json:"campaigns"`
		}{list})
	}
	if len(list) == 0 {
		p.say("no campaigns; `defectforge campaign run` starts one")
		return nil
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STARTED\tSTATUS\tSTAGE\tTIME\tCAMPAIGN")
	for _, l := range list {
		took := time.Since(l.Started)
		if !l.Closed.IsZero() {
			took = l.Closed.Sub(l.Started)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Started.Local().Format(time.DateTime), l.Status, dash(l.Stage), timeWords(took.Seconds()), l.WorkflowID)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	return nil
}

func (p *program) oneCampaignCommand(name, short string, do func(ctx context.Context, s *session, id, runID string) error) *cobra.Command {
	c := p.oneRunCommand(name, short, do)
	c.Use = name + " CAMPAIGN"
	c.Args = exactly(1, "a campaign's workflow identifier, as `defectforge campaign list` prints it")
	return c
}

// campaignOf finds a campaign's execution, and the first one of its chain, which
// names its documents.
func campaignOf(ctx context.Context, s *session, id, runID string) (step.Run, string, error) {
	d, err := s.temp.DescribeWorkflowExecution(ctx, id, runID)
	if err != nil {
		return step.Run{}, "", fmt.Errorf("describe campaign: %w", err)
	}
	info := d.GetWorkflowExecutionInfo()
	if kind := info.GetType().GetName(); kind != workflows.CampaignName {
		return step.Run{}, "", usageError("%s: is no campaign but a %s; `defectforge campaign list` shows campaigns", id, kind)
	}
	run := step.Run{WorkflowID: id, RunID: info.GetFirstRunId()}
	if run.RunID == "" {
		run.RunID = info.GetExecution().GetRunId()
	}
	return run, statusName(info.GetStatus()), nil
}

var running = statusName(enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)

func (p *program) campaignShow(ctx context.Context, s *session, id, runID string) error {
	run, status, err := campaignOf(ctx, s, id, runID)
	if err != nil {
		return err
	}
	out := campaignReport{WorkflowID: run.WorkflowID, RunID: run.RunID, Status: status, UI: s.runURL(run)}
	if status == running {
		progress, err := queryCampaign(ctx, s.temp, id)
		if err == nil {
			out.Progress, out.Name, out.Kind, out.Items, out.Counts = &progress, progress.Name, progress.Kind, progress.Items, progress.Counts
		}
	} else if err := p.showEnded(ctx, s, run, &out); err != nil {
		return err
	}
	if p.json {
		return p.emit(out)
	}
	p.print("campaign   %s", out.WorkflowID)
	p.print("           %s", out.RunID)
	p.print("status     %s", out.Status)
	switch {
	case out.Progress != nil:
		p.print("progress   %s", campaignLine(*out.Progress))
	case status == running:
		p.print("progress   not known: no worker answers")
	}
	for _, c := range counted(out.Counts) {
		p.print("runs       %d %s", c.n, c.what)
	}
	if out.Report != "" {
		p.print("report     %s", out.Report)
		p.print("summary    %s", out.Summary)
	}
	if out.Error != "" {
		p.print("error      %s", out.Error)
	}
	return nil
}

// showEnded fills in what a campaign that has ended came to.
func (p *program) showEnded(ctx context.Context, s *session, run step.Run, out *campaignReport) error {
	var result workflows.CampaignResult
	if err := s.temp.GetWorkflow(ctx, run.WorkflowID, run.RunID).Get(ctx, &result); err != nil {
		out.Error = explain(err).Error()
	}
	summary, err := readSummary(ctx, s.store, run)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil // it came to nothing
	case err != nil:
		return err
	}
	out.Name, out.Kind, out.Items, out.Counts = summary.Name, summary.Kind, len(summary.Rows), summary.Counts
	if out.Summary = activities.SummaryKey(run); !result.Report.IsZero() {
		out.Report = result.Report.Key
		if s.stack != nil {
			out.Report, out.Summary, err = p.fetchCampaign(ctx, s.store, run, result, summary)
		}
	}
	return err
}

func (p *program) campaignWatch(ctx context.Context, s *session, id, runID string) error {
	run, status, err := campaignOf(ctx, s, id, runID)
	if err != nil {
		return err
	}
	if status == running && s.stack != nil && s.stack.mine() {
		return errors.New("the campaign is not finished, and nothing works on it; start `defectforge up`, or the `defectforge campaign` that began it, with the same --data-dir")
	}
	result, err := p.followCampaign(ctx, s.temp, id, run.RunID, nil)
	return p.concludeCampaign(ctx, s, run, result, err)
}

func (p *program) campaignRetryCommand() *cobra.Command {
	var concurrency int
	var detach bool
	c := &cobra.Command{
		Use:   "retry CAMPAIGN",
		Short: "Do again what failed or was cancelled in a campaign, and nothing else",
		Long: `Do again the runs of a campaign that failed, were cancelled or not begun. The
others stand: the new report has all of them. What was not approved is not done
again: the same images and recipe make the same set.`,
		Args: exactly(1, "a campaign's workflow identifier, as `defectforge campaign list` prints it"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			if concurrency != 0 && (concurrency < 1 || concurrency > workflows.MaxConcurrency) {
				return usageError("--concurrency: %d: must be within 1 and %d", concurrency, workflows.MaxConcurrency)
			}
			return p.campaignRetry(c.Context(), args[0], concurrency, detach)
		},
	}
	c.Flags().IntVar(&concurrency, "concurrency", 0, "runs under way at once (default: as before)")
	c.Flags().BoolVar(&detach, "detach", false, "start and return; a worker must be there to do it")
	return c
}

func (p *program) campaignRetry(ctx context.Context, id string, concurrency int, detach bool) error {
	j, err := p.retryOf(ctx, id)
	if err != nil {
		return err
	}
	if j == nil {
		p.say("nothing failed in %s; there is nothing to do again", id)
		if p.json {
			return p.emit(campaignReport{WorkflowID: id})
		}
		return nil
	}
	if concurrency != 0 {
		j.input.Concurrency = concurrency
	}
	return p.campaignAgain(ctx, *j, detach)
}

// retryOf plans the runs of a campaign that did not end, nil where all did.
func (p *program) retryOf(ctx context.Context, id string) (*campaignJob, error) {
	s, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close(p)
	run, status, err := campaignOf(ctx, s, id, "")
	if err != nil {
		return nil, notFound(err, id)
	}
	if status == running {
		return nil, fmt.Errorf("campaign %s: is still running; `defectforge campaign watch %s` follows it", id, id)
	}
	summary, err := readSummary(ctx, s.store, run)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("campaign %s: ended without a summary; run the command again that began it: finished runs are found by their results", id)
	} else if err != nil {
		return nil, err
	}
	items, err := activities.PlanItems(ctx, s.store, summary.Plan)
	if err != nil {
		return nil, err
	}
	again := map[int]bool{}
	var stand []report.Row
	for _, row := range summary.Rows {
		if row.Status == step.RunFailed || row.Status == step.RunCancelled {
			again[row.Index] = true
		} else {
			stand = append(stand, row)
		}
	}
	if len(again) == 0 {
		return nil, nil
	}
	j := campaignJob{id: id, input: inputOf(summary), conflict: enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL}
	j.input.TrainingQueue = p.cfg.Temporal.TrainingTaskQueue
	for _, item := range items {
		if again[item.Index] {
			j.items = append(j.items, item)
		}
	}
	if j.input.Kept, err = activities.StoreOutcomes(ctx, s.store, stand); err != nil {
		return nil, err
	}
	return &j, nil
}
