package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/workflows"
)

// runLine is one run in a list.
type runLine struct {
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id"`
	Class      string    `json:"class"`
	Status     string    `json:"status"`
	Stage      string    `json:"stage"`
	Verdict    string    `json:"verdict"`
	Release    string    `json:"release"`
	Dataset    string    `json:"dataset"`
	Started    time.Time `json:"started"`
	Closed     time.Time `json:"closed,omitzero"`
}

func (p *program) runsCommand() *cobra.Command {
	return group("runs", "List, show, follow, approve, refuse, cancel, repeat and compare runs",
		p.runsListCommand(),
		p.oneRunCommand("show", "Show a run's stages, verdict and digests", p.runsShow),
		p.oneRunCommand("watch", "Follow a run until it ends", p.runsWatch),
		p.decideCommand("approve", "Approve the set of a run that waits for it, which publishes it", true),
		p.decideCommand("reject", "Refuse the set of a run that waits for approval", false),
		p.oneRunCommand("cancel", "Cancel a run", p.runsCancel),
		p.rerunCommand(), p.runsCompareCommand(),
		p.lineageCommand(),
	)
}

func (p *program) oneRunCommand(name, short string, do func(ctx context.Context, s *session, id, runID string) error) *cobra.Command {
	var runID string
	c := &cobra.Command{
		Use:   name + " WORKFLOW",
		Short: short,
		Args:  exactly(1, "a workflow's identifier, as `defectforge runs list` prints it"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			s, err := p.open(c.Context())
			if err != nil {
				return err
			}
			defer s.close(p)
			return notFound(do(c.Context(), s, args[0], runID), args[0])
		},
	}
	c.Flags().StringVar(&runID, "run", "", "run identifier; the latest run where not given")
	return c
}

func notFound(err error, id string) error {
	if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
		return fmt.Errorf("run %s: not found, or its history's retention is over; `defectforge runs list` shows what is there", id)
	}
	return err
}

type listOptions struct {
	class, verdict, stage string
	limit                 int
}

func (p *program) runsListCommand() *cobra.Command {
	var o listOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "List runs, the latest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			return p.runsList(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.class, "class", "", "only runs of this defect class")
	f.StringVar(&o.verdict, "verdict", "", "only runs with this verdict: pass, fail, inconclusive, unchanged or waiting")
	f.StringVar(&o.stage, "stage", "", "only runs in this stage")
	f.IntVar(&o.limit, "limit", 50, "at most this many")
	return c
}

// query is the visibility query of a list. Values are quoted; none of them can
// hold a quote.
func (o listOptions) query() (string, error) {
	q := []string{"WorkflowType = '" + workflows.AugmentName + "'"}
	for _, f := range []struct{ flag, attribute, value string }{
		{"--class", workflows.DefectClass.GetName(), o.class},
		{"--verdict", workflows.Verdict.GetName(), o.verdict},
		{"--stage", workflows.Stage.GetName(), o.stage},
	} {
		if strings.ContainsAny(f.value, `'"\`) {
			return "", usageError("%s: %q: holds a quote or a backslash; leave it out", f.flag, f.value)
		}
		if f.value != "" {
			q = append(q, f.attribute+" = '"+f.value+"'")
		}
	}
	return strings.Join(q, " AND "), nil
}

func (p *program) runsList(ctx context.Context, o listOptions) error {
	query, err := o.query()
	if err != nil {
		return err
	}
	if o.limit < 1 {
		return usageError("--limit: %d: must be at least 1", o.limit)
	}
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	runs := []runLine{}
	var next []byte
	for len(runs) < o.limit {
		page, err := s.temp.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: s.place.Namespace, Query: query, PageSize: int32(min(o.limit-len(runs), 200)), NextPageToken: next,
		})
		if err != nil {
			return fmt.Errorf("list runs: %w; `defectforge doctor` checks namespace and search attributes", err)
		}
		for _, info := range page.GetExecutions() {
			runs = append(runs, readLine(info))
		}
		if next = page.GetNextPageToken(); len(next) == 0 {
			break
		}
	}
	if p.json {
		return p.emit(struct {
			Runs []runLine `json:"runs"`
		}{runs})
	}
	return p.printRuns(runs)
}

func (p *program) printRuns(runs []runLine) error {
	if len(runs) == 0 {
		p.say("no runs; `defectforge run` starts one")
		return nil
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "STARTED\tCLASS\t%s\tSTAGE\t%s\tRELEASE\tWORKFLOW\n", p.paint.plain("STATUS"), p.paint.plain("VERDICT"))
	for _, r := range runs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Started.Local().Format(time.DateTime),
			dash(r.Class), p.paint.state(r.Status), dash(step.Title(r.Stage)), p.paint.state(dash(r.Verdict)), dash(r.Release), r.WorkflowID)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func readLine(info *workflowpb.WorkflowExecutionInfo) runLine {
	r := runLine{
		WorkflowID: info.GetExecution().GetWorkflowId(), RunID: info.GetExecution().GetRunId(),
		Status: statusName(info.GetStatus()), Started: info.GetStartTime().AsTime(),
	}
	if info.GetCloseTime() != nil {
		r.Closed = info.GetCloseTime().AsTime()
	}
	for attribute, into := range map[string]*string{
		workflows.DefectClass.GetName(): &r.Class, workflows.Stage.GetName(): &r.Stage, workflows.Verdict.GetName(): &r.Verdict,
		workflows.Release.GetName(): &r.Release, workflows.DatasetDigest.GetName(): &r.Dataset,
	} {
		if payload, ok := info.GetSearchAttributes().GetIndexedFields()[attribute]; ok {
			_ = converter.GetDefaultDataConverter().FromPayload(payload, into) // another type than ours says nothing
		}
	}
	return r
}

func statusName(s enumspb.WorkflowExecutionStatus) string { return strings.ToLower(s.String()) }

// runDetails is the JSON object of `runs show`.
type runDetails struct {
	runLine
	Epoch   int                 `json:"epoch"`
	Epochs  int                 `json:"epochs"`
	Stages  []step.StageTime    `json:"stages"`
	Attempt int32               `json:"attempt,omitempty"` // of the running stage
	Train   *step.TrainProgress `json:"train,omitempty"`
	Counted *step.Progress      `json:"counted,omitempty"` // how far another stage is
	// Rollbacks are the alarms of the training, Best its best evaluation so far,
	// Choice how its checkpoint was chosen.
	Rollbacks []step.Rollback  `json:"rollbacks,omitempty"`
	Best      *step.Evaluation `json:"best,omitempty"`
	Choice    *step.Choice     `json:"choice,omitempty"`
	// Deadline is set while the run waits for approval.
	Deadline *time.Time               `json:"deadline,omitempty"`
	Notice   string                   `json:"notice,omitempty"` // whether anybody was told
	Approval *step.Approval           `json:"approval,omitempty"`
	Utility  *step.UtilityResult      `json:"utility,omitempty"` // where --compare asked for it
	Result   *workflows.AugmentResult `json:"result,omitempty"`
	UI       string                   `json:"ui,omitempty"`
	Error    string                   `json:"error,omitempty"`
}

func (p *program) runsShow(ctx context.Context, s *session, id, runID string) error {
	d, err := p.details(ctx, s, id, runID)
	if err != nil {
		return err
	}
	if p.json {
		return p.emit(d)
	}
	p.print("run        %s", d.WorkflowID)
	p.print("           %s", d.RunID)
	p.print("class      %s", dash(d.Class))
	p.print("status     %s, stage %s", d.Status, dash(step.Title(d.Stage)))
	p.print("started    %s", d.Started.Local().Format(time.DateTime))
	if !d.Closed.IsZero() {
		p.print("closed     %s, after %s", d.Closed.Local().Format(time.DateTime), timeWords(d.Closed.Sub(d.Started).Seconds()))
	}
	for _, stage := range d.Stages {
		p.print("stage      %-16s %s", step.Title(stage.Stage), timeWords(stage.Seconds))
	}
	if d.Train != nil {
		p.print("training   epoch %d of %d, %s, %s left", d.Train.Epoch, d.Train.Epochs, trainWords(*d.Train), timeWords(d.Train.SecondsLeft))
	}
	if d.Counted != nil {
		p.print("progress   %s", countWords(*d.Counted))
	}
	p.printTries(d)
	p.print("dataset    %s", dash(d.Dataset))
	p.print("verdict    %s", dash(d.Verdict))
	p.printUtility(d.Utility)
	p.printApproval(d)
	if r := d.Result; r != nil {
		p.print("images     %d in, %d quarantined, %d published", r.ImagesIn, r.ImagesQuarantined, r.ImagesPublished)
		for _, reason := range r.Reasons {
			p.print("reason     %s", reason)
		}
		p.print("release    %s", dash(r.Prefix))
		p.print("manifest   %s", dash(r.ManifestSHA256))
		p.print("report     %s", dash(r.Report.Key))
		p.print("record     %s", dash(r.Record.Key))
	}
	if d.Error != "" {
		p.print("error      %s", d.Error)
	}
	if d.UI != "" {
		p.print("history    %s", d.UI)
	}
	return nil
}

// details gathers what is known of a run: from Temporal's visibility, from the
// result where it has ended, from its status where a worker answers.
func (p *program) details(ctx context.Context, s *session, id, runID string) (runDetails, error) {
	desc, err := s.temp.DescribeWorkflowExecution(ctx, id, runID)
	if err != nil {
		return runDetails{}, fmt.Errorf("describe run: %w", err)
	}
	d := runDetails{runLine: readLine(desc.GetWorkflowExecutionInfo()), Stages: []step.StageTime{}}
	d.UI = s.runURL(step.Run{WorkflowID: d.WorkflowID, RunID: d.RunID})
	if d.Status == statusName(enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING) {
		snap, err := look(ctx, s, id)
		if err == nil {
			d.Epoch, d.Epochs, d.Train, d.Attempt = snap.status.Epoch, snap.status.Epochs, snap.train, snap.attempt
			d.Stages = append(d.Stages, snap.status.StagesDone...)
			d.Counted, d.Utility = snap.counted, snap.status.Utility
			d.Rollbacks, d.Best = snap.status.Rollbacks, snap.status.Best
			d.Deadline, d.Notice, d.Approval = snap.status.Deadline, snap.status.Notice, snap.status.Approval
		}
		return d, nil
	}
	var result workflows.AugmentResult
	if err := s.temp.GetWorkflow(ctx, id, d.RunID).Get(ctx, &result); err != nil {
		d.Error = explain(err).Error()
		return d, nil
	}
	d.Result, d.Utility = &result, result.Utility
	if result.Approval.By != "" {
		d.Approval = &result.Approval
	}
	if result.Record.IsZero() { // it had nothing to do
		return d, nil
	}
	record, err := readRecord(ctx, s.store, result.Record)
	if err != nil {
		p.log.Warn("read the run's record", "error", err)
		return d, nil
	}
	d.Stages = append(d.Stages, record.Outcome.Times...)
	d.Epoch, d.Epochs = record.Outcome.Train.Epoch, record.Outcome.Recipe.Train.Epochs
	d.Rollbacks, d.Choice = record.Outcome.Rollbacks, record.Outcome.Choice
	return d, nil
}

func (p *program) runsWatch(ctx context.Context, s *session, id, runID string) error {
	desc, err := s.temp.DescribeWorkflowExecution(ctx, id, runID)
	if err != nil {
		return fmt.Errorf("describe run: %w", err)
	}
	info := desc.GetWorkflowExecutionInfo()
	run := step.Run{WorkflowID: id, RunID: info.GetExecution().GetRunId()}
	if info.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && s.stack != nil && s.stack.mine() {
		return errors.New("the run is not finished, and nothing works on it; start `defectforge up`, or the `defectforge run` that began it, with the same --data-dir")
	}
	first := run
	if id := info.GetFirstRunId(); id != "" {
		first.RunID = id
	}
	result, err := follow(ctx, s, id, run.RunID, p.newView(), nil)
	return p.conclude(ctx, s, first, result, err)
}

func (p *program) runsCancel(ctx context.Context, s *session, id, runID string) error {
	if err := s.temp.CancelWorkflow(ctx, id, runID); err != nil {
		return fmt.Errorf("cancel run: %w", err)
	}
	note := ""
	if s.stack != nil && s.stack.mine() {
		note = "; it takes effect when `defectforge up` or `run` next works on it"
	}
	p.say("cancellation of %s requested%s", id, note)
	if p.json {
		return p.emit(struct {
			WorkflowID string `json:"workflow_id"`
			Requested  bool   `json:"cancel_requested"`
		}{id, true})
	}
	return nil
}
