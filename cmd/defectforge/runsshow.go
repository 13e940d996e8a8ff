package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/progress"
	"github.com/defectforge/defectforge/workflows"
)

func runsShowCommand(a *app) *cobra.Command {
	c := oneRunCommand(a, "show", "Show a run's stages, verdict and digests", showRun)
	c.Long = `Show how far a run is, or how it ended: its stages with their times, verdict,
approval, digests, and the keys of report and record.`
	c.Example = `  defectforge runs show augment-scratches-0123456789ab
  defectforge runs show augment-scratches-0123456789ab --run 01a20a4d-fc14-7f26-9b9d-bba06103b8ad -o json`
	return c
}

// runDetails is the JSON object of `runs show`.
type runDetails struct {
	client.Line
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
	Notice   string                   `json:"notice,omitempty"` // whether anybody was notified
	Approval *step.Approval           `json:"approval,omitempty"`
	Utility  *step.UtilityResult      `json:"utility,omitempty"` // where --compare asked for it
	Result   *workflows.AugmentResult `json:"result,omitempty"`
	UI       string                   `json:"ui,omitempty"`
	Error    string                   `json:"error,omitempty"`
}

func showRun(ctx context.Context, a *app, s *process.Session, id, runID string) error {
	d, err := detailsOf(ctx, a, s, id, runID)
	if err != nil {
		return err
	}
	if a.console.JSON() {
		return a.console.Emit(d)
	}
	printDetails(a, d)
	return nil
}

// detailsOf gathers what is known of a run: from Temporal's visibility, from the
// result where it has ended, from its status where a worker answers.
func detailsOf(ctx context.Context, a *app, s *process.Session, id, runID string) (runDetails, error) {
	line, err := s.Client().Describe(ctx, id, runID)
	if err != nil {
		return runDetails{}, fmt.Errorf("describe run: %w", err)
	}
	d := runDetails{Line: line, Stages: []step.StageTime{}}
	d.UI = s.RunURL(step.Run{WorkflowID: d.WorkflowID, RunID: d.RunID})
	if d.Status == client.Running {
		if now, err := client.Runs.Look(ctx, s.Client(), id); err == nil {
			d.underWay(now)
		}
		return d, nil
	}
	var result workflows.AugmentResult
	if err := s.Client().Result(ctx, id, d.RunID, &result); err != nil {
		d.Error = client.Explain(err).Error()
		return d, nil
	}
	d.Result, d.Utility = &result, result.Utility
	if result.Approval.By != "" {
		d.Approval = &result.Approval
	}
	if result.Record.IsZero() { // it had nothing to do
		return d, nil
	}
	record, err := ledger.ReadRun(ctx, s.Store, result.Record)
	if err != nil {
		a.log().Warn("read the run's record", "error", err)
		return d, nil
	}
	d.recorded(record.Outcome)
	return d, nil
}

// underWay fills in how far a run is.
func (d *runDetails) underWay(now client.Snapshot) {
	s := now.Status
	d.Epoch, d.Epochs, d.Train, d.Attempt, d.Counted = s.Epoch, s.Epochs, now.Train, now.Attempt, now.Counted
	d.Stages = append(d.Stages, s.StagesDone...)
	d.Rollbacks, d.Best, d.Utility = s.Rollbacks, s.Best, s.Utility
	d.Deadline, d.Notice, d.Approval = s.Deadline, s.Notice, s.Approval
}

// recorded fills in what a run that has ended recorded.
func (d *runDetails) recorded(o step.Outcome) {
	d.Stages = append(d.Stages, o.Times...)
	d.Epoch, d.Epochs = o.Train.Epoch, o.Decided().Train.Epochs
	d.Rollbacks, d.Choice = o.Rollbacks, o.Choice
}

func printDetails(a *app, d runDetails) {
	out, dash := a.console, console.Dash
	out.Print("run        %s", d.WorkflowID)
	out.Print("           %s", d.RunID)
	out.Print("class      %s", dash(d.Class))
	out.Print("status     %s, stage %s", d.Status, dash(step.Title(d.Stage)))
	out.Print("started    %s", d.Started.Local().Format(time.DateTime))
	if !d.Closed.IsZero() {
		out.Print("closed     %s, after %s", d.Closed.Local().Format(time.DateTime), console.TimeWords(d.Closed.Sub(d.Started).Seconds()))
	}
	for _, stage := range d.Stages {
		out.Print("stage      %-16s %s", step.Title(stage.Stage), console.TimeWords(stage.Seconds))
	}
	if t := d.Train; t != nil {
		out.Print("training   epoch %d of %d, %s, %s left", t.Epoch, t.Epochs, progress.TrainWords(*t), console.TimeWords(t.SecondsLeft))
	}
	if d.Counted != nil {
		out.Print("progress   %s", progress.CountWords(*d.Counted))
	}
	printTries(a, d)
	out.Print("dataset    %s", dash(d.Dataset))
	out.Print("verdict    %s", dash(d.Verdict))
	printUtility(a, d.Utility)
	printApproval(a, d)
	if r := d.Result; r != nil {
		printEnd(a, *r)
	}
	if d.Error != "" {
		out.Print("error      %s", d.Error)
	}
	if d.UI != "" {
		out.Print("history    %s", d.UI)
	}
}

// printEnd prints how a run ended.
func printEnd(a *app, r workflows.AugmentResult) {
	out, dash := a.console, console.Dash
	out.Print("images     %d in, %d quarantined, %d published", r.ImagesIn, r.ImagesQuarantined, r.ImagesPublished)
	for _, reason := range r.Reasons {
		out.Print("reason     %s", reason)
	}
	out.Print("release    %s", dash(r.Prefix))
	out.Print("manifest   %s", dash(r.ManifestSHA256))
	out.Print("report     %s", dash(r.Report.Key))
	out.Print("record     %s", dash(r.Record.Key))
}

// printTries prints what the monitors found, and how the checkpoint was chosen.
func printTries(a *app, d runDetails) {
	for i, r := range d.Rollbacks {
		a.console.Print("try %-6d %s; back to epoch %d with %g of the discriminator's rate",
			i+1, r.Alarm.Reason, r.ToEpoch, r.DiscriminatorScale)
	}
	if c := d.Choice; c != nil {
		a.console.Print("checkpoint of epoch %d: %s", c.Epoch, c.Reason)
	} else if b := d.Best; b != nil {
		a.console.Print("best       epoch %d, KID %.3f of the first evaluation's", b.Epoch, b.KID)
	}
}

// printApproval prints where a run stands with its approval.
func printApproval(a *app, d runDetails) {
	switch {
	case d.Approval != nil:
		a.console.Print("approval   %s", workflows.ApprovalWords(*d.Approval))
	case d.Deadline != nil:
		a.console.Print("approval   waiting until %s; then the answer is no", d.Deadline.Local().Format(time.DateTime))
		a.console.Print("           defectforge runs approve %s --reason WHY", d.WorkflowID)
		if d.Notice != "" {
			a.console.Print("notice     %s", d.Notice)
		}
	}
}
