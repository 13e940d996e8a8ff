package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/workflows"
)

// cleanUpID is the workflow of clean-ups that are begun by hand: one at a time.
const cleanUpID = "cleanup"

// keeping is what a clean-up keeps, as flags.
type keeping struct {
	grace, checkpoints, records time.Duration
	count                       int
}

const usualGrace = 7 * 24 * time.Hour

func (k *keeping) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.DurationVar(&k.grace, "grace", usualGrace, "nothing younger goes; below 73h only while no run is under way")
	f.DurationVar(&k.checkpoints, "checkpoint-age", usualGrace, "ended runs' own checkpoints go after this")
	f.IntVar(&k.count, "checkpoint-count", 0, "but the newest so many of a run stay")
	f.DurationVar(&k.records, "record-age", 0, "run.json and report of runs without a release go after this (default never)")
}

func (k keeping) retention() (step.Retention, error) {
	for _, f := range []struct {
		flag         string
		value, least time.Duration
	}{{"--grace", k.grace, storage.MinGrace}, {"--checkpoint-age", k.checkpoints, storage.MinGrace}, {"--record-age", k.records, 0}} {
		if f.value < f.least {
			return step.Retention{}, usageError("%s: %s: must be at least %s", f.flag, f.value, f.least)
		}
	}
	if k.count < 0 {
		return step.Retention{}, usageError("--checkpoint-count: %d: must not be negative", k.count)
	}
	return step.Retention{GraceHours: k.grace.Hours(), CheckpointHours: k.checkpoints.Hours(), CheckpointCount: k.count, RecordHours: k.records.Hours()}, nil
}

func (p *program) cleanUpCommand() *cobra.Command {
	var k keeping
	var apply bool
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Tell what nothing refers to any more; with --apply, remove it",
		Long: `Tell what lies in the bucket that nothing refers to any more. With --apply it is
removed.

Kept is all that releases (withdrawn ones too) and runs under way refer to, the
runs that made the releases, what was decided, run records and reports, and
whatever is younger than --grace. The rest of artifacts, checkpoints, remembered
outcomes, runs without a record and releases that were never finished goes.
Uploaded images, and what lies outside of artifacts/, cache/, cleanup/, releases/
and runs/, are never touched.

cleanup/<workflow>/<run>/report.json says what went, plan-*.jsonl beside it names
every key. ` + "`schedule create NAME --cleanup`" + ` does it by the clock.`,
		Example: `  defectforge cleanup
  defectforge cleanup --apply --grace 336h --checkpoint-count 2`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			r, err := k.retention()
			if err != nil {
				return err
			}
			return p.cleanUp(c.Context(), workflows.CleanUpInput{Retention: r, Apply: apply})
		},
	}
	k.addFlags(c)
	c.Flags().BoolVar(&apply, "apply", false, "remove it")
	return c
}

func (p *program) cleanUp(ctx context.Context, in workflows.CleanUpInput) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	handle, err := s.temp.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: cleanUpID, TaskQueue: p.cfg.Temporal.TaskQueue, WorkflowExecutionErrorWhenAlreadyStarted: true, StaticSummary: "clean-up" + either(in.Apply, "", ", dry run"),
	}, workflows.CleanUpName, in)
	if busy := (*serviceerror.WorkflowExecutionAlreadyStarted)(nil); errors.As(err, &busy) {
		return fmt.Errorf("a clean-up is under way: %s; wait for its end, or end it with `defectforge runs cancel %s`", cleanUpID, cleanUpID)
	}
	if err != nil {
		return fmt.Errorf("start clean-up: %w", err)
	}
	failed, stop, err := p.serve(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	var out workflows.CleanUpResult
	ended := make(chan error, 1)
	go func() { ended <- handle.Get(ctx, &out) }()
	select {
	case err = <-ended:
	case err = <-failed:
	}
	if err != nil {
		return explain(err)
	}
	return p.printCleanUp(out)
}

func (p *program) printCleanUp(out workflows.CleanUpResult) error {
	if p.json {
		return p.emit(struct {
			step.CleanUpReport
			Record string `json:"record"` // the report's key
		}{out.Report, out.Record.Key})
	}
	r := out.Report
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, either(r.Applied, "REMOVED", "WOULD GO")+"\tOBJECTS\tSIZE")
	line := func(kind string, c step.Count) {
		fmt.Fprintf(w, "%s\t%d\t%s\n", kind, c.Objects, humanize.IBytes(uint64(c.Bytes)))
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Removed)) {
		line(kind, r.Removed[kind])
	}
	line("together", r.Total)
	line("kept", r.Kept)
	if r.Spared.Objects > 0 {
		line("spared: used meanwhile", r.Spared)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	p.print("%d releases and %d runs under way were asked what they refer to", r.Mark.Releases, r.Mark.Running)
	p.print("report     %s", out.Record.Key)
	if !r.Applied && r.Total.Objects > 0 {
		p.say("a dry run: nothing was removed; --apply removes it")
	}
	return nil
}

// cleanUpAction is what a schedule of clean-ups does.
func (p *program) cleanUpAction(name string, k keeping) (*client.ScheduleWorkflowAction, error) {
	r, err := k.retention()
	return &client.ScheduleWorkflowAction{
		ID: "cleanup-" + name, Workflow: workflows.CleanUpName, Args: []any{workflows.CleanUpInput{Retention: r, Apply: true}},
		TaskQueue: p.cfg.Temporal.TaskQueue, StaticSummary: "clean-up by schedule " + name,
	}, err
}
