package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	sdk "go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
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
	f.IntVar(&k.count, "checkpoint-count", 0, "but this many of the newest of a run stay")
	f.DurationVar(&k.records, "record-age", 0, "run.json and report of runs without a release go after this (default never)")
}

func (k keeping) retention() (step.Retention, error) {
	for _, f := range []struct {
		flag         string
		value, least time.Duration
	}{
		{"--grace", k.grace, storage.MinGrace}, {"--checkpoint-age", k.checkpoints, storage.MinGrace}, {"--record-age", k.records, 0},
	} {
		if f.value < f.least {
			return step.Retention{}, console.Usage("%s: %s: must be at least %s", f.flag, f.value, f.least)
		}
	}
	if k.count < 0 {
		return step.Retention{}, console.Usage("--checkpoint-count: %d: must not be negative", k.count)
	}
	return step.Retention{
		GraceHours: k.grace.Hours(), CheckpointHours: k.checkpoints.Hours(), CheckpointCount: k.count, RecordHours: k.records.Hours(),
	}, nil
}

func cleanUpCommand(a *app) *cobra.Command {
	var k keeping
	var apply bool
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Report what nothing refers to any more; with --apply, remove it",
		Long: `Report what lies in the bucket that nothing refers to any more. With --apply it is
removed.

What is kept: all that releases (withdrawn ones too) and runs under way refer to,
the runs that made the releases, what was decided, run records and reports, and
whatever is younger than --grace. The remaining artifacts, checkpoints, remembered
results, runs without a record and unfinished releases go. Uploaded images, and
anything outside artifacts/, cache/, cleanup/, releases/ and runs/, are never
touched.

cleanup/<workflow>/<run>/report.json says what was removed, plan-*.jsonl beside
it names every key. ` + "`schedule create NAME --cleanup`" + ` does it regularly.`,
		Example: `  defectforge cleanup
  defectforge cleanup --apply --grace 336h --checkpoint-count 2`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error {
			r, err := k.retention()
			if err != nil {
				return err
			}
			return cleanUp(c.Context(), a, workflows.CleanUpInput{Retention: r, Apply: apply})
		}),
	}
	k.addFlags(c)
	c.Flags().BoolVar(&apply, "apply", false, "remove it")
	return c
}

// cleanUp starts a clean-up and waits for its end.
func cleanUp(ctx context.Context, a *app, in workflows.CleanUpInput) error {
	s, err := a.process.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	e, err := s.Client().Start(ctx, client.Job{
		ID: cleanUpID, Alone: true, Workflow: workflows.CleanUpName, Input: in,
		Summary: "clean-up" + console.Either(in.Apply, "", ", dry run"),
	})
	if busy := (*serviceerror.WorkflowExecutionAlreadyStarted)(nil); errors.As(err, &busy) {
		return fmt.Errorf("a clean-up is under way: %s; wait for its end, or end it with `defectforge runs cancel %s`",
			cleanUpID, cleanUpID)
	}
	if err != nil {
		return fmt.Errorf("start clean-up: %w", err)
	}
	failed, stop, err := a.process.Serve(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	var out workflows.CleanUpResult
	ended := make(chan error, 1)
	go func() { ended <- s.Client().Result(ctx, cleanUpID, e.Current, &out) }()
	select {
	case err = <-ended:
	case err = <-failed:
	}
	if err != nil {
		return client.Explain(err)
	}
	return printCleanUp(a, out)
}

func printCleanUp(a *app, out workflows.CleanUpResult) error {
	if a.console.JSON() {
		return a.console.Emit(struct {
			step.CleanUpReport
			Record string `json:"record"` // the report's key
		}{out.Report, out.Record.Key})
	}
	r := out.Report
	err := a.console.Table("report", func(w io.Writer) {
		fmt.Fprintln(w, console.Either(r.Applied, "REMOVED", "WOULD GO")+"\tOBJECTS\tSIZE")
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
	})
	if err != nil {
		return err
	}
	a.console.Print("%d releases and %d runs under way were asked what they refer to", r.Mark.Releases, r.Mark.Running)
	a.console.Print("report     %s", out.Record.Key)
	if !r.Applied && r.Total.Objects > 0 {
		a.console.Say("a dry run: nothing was removed; --apply removes it")
	}
	return nil
}

// cleanUpAction is what a schedule of clean-ups does.
func cleanUpAction(a *app, name string, k keeping) (*sdk.ScheduleWorkflowAction, error) {
	r, err := k.retention()
	return &sdk.ScheduleWorkflowAction{
		ID: "cleanup-" + name, Workflow: workflows.CleanUpName, Args: []any{workflows.CleanUpInput{Retention: r, Apply: true}},
		TaskQueue: a.cfg.Temporal.TaskQueue, StaticSummary: "clean-up by schedule " + name,
	}, err
}
