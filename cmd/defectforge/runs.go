package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
)

func runsCommand(a *app) *cobra.Command {
	g := group("runs", "List, show, follow, approve, refuse, cancel, repeat and compare runs",
		runsListCommand(a), runsShowCommand(a), runsWatchCommand(a),
		decideCommand(a, "approve", "Approve the set of a run that waits for it, which publishes it", true),
		decideCommand(a, "reject", "Refuse the set of a run that waits for approval", false),
		runsCancelCommand(a), rerunCommand(a), runsCompareCommand(a), lineageCommand(a),
	)
	g.Long = `Runs are workflows on Temporal. They are found by the identifier that ` + "`run`" + `
prints, on the cluster of the environment or on the stack of --data-dir.`
	g.Example = `  defectforge runs list
  defectforge runs watch augment-scratches-0123456789ab`
	return g
}

// onWorkflow is what a command does with one workflow, in the latest of its
// executions where runID is empty.
type onWorkflow func(ctx context.Context, a *app, s *process.Session, id, runID string) error

// oneRunCommand is a command on one run.
func oneRunCommand(a *app, name, short string, do onWorkflow) *cobra.Command {
	var runID string
	c := &cobra.Command{
		Use:   name + " WORKFLOW",
		Short: short,
		Args:  exactly(1, "a workflow's identifier, as `defectforge runs list` prints it"),
		RunE: a.loading(func(c *cobra.Command, args []string) error {
			s, err := a.process.Open(c.Context())
			if err != nil {
				return err
			}
			defer s.Close()
			return notFound(do(c.Context(), a, s, args[0], runID), args[0])
		}),
		ValidArgsFunction: completeRuns(a, "", 1),
	}
	c.Flags().StringVar(&runID, "run", "", "run identifier; the latest run where not given")
	return c
}

func runsWatchCommand(a *app) *cobra.Command {
	c := oneRunCommand(a, "watch", "Follow a run until it ends", watchRun)
	c.Long = `Follow a run until it ends, wherever it runs, as ` + "`run`" + ` itself does: with a bar on a
terminal, else with a line now and then. The exit status is that of ` + "`run`" + `:
0 published, 1 failed, 3 not approved. Ctrl-C ends the watching, not the run.`
	c.Example = `  defectforge runs watch augment-scratches-0123456789ab
  defectforge runs watch augment-scratches-0123456789ab --json 2>/dev/null`
	return c
}

func watchRun(ctx context.Context, a *app, s *process.Session, id, runID string) error {
	e, err := s.Client().Attach(ctx, id, runID)
	if err != nil {
		return fmt.Errorf("describe run: %w", err)
	}
	return runKind(a).watch(ctx, a, s, e)
}

func runsCancelCommand(a *app) *cobra.Command {
	c := oneRunCommand(a, "cancel", "Cancel a run", cancelWorkflow)
	c.Long = `Cancel a run. A running stage ends at its next sign of life; nothing is
published, and nobody is notified. The same ` + "`run`" + ` command starts it anew, and
finds what the cancelled one had done.`
	c.Example = "  defectforge runs cancel augment-scratches-0123456789ab"
	c.ValidArgsFunction = completeRuns(a, whileRunning, 1)
	return c
}

// cancelWorkflow asks for the end of a run or a campaign.
func cancelWorkflow(ctx context.Context, a *app, s *process.Session, id, runID string) error {
	if err := s.Client().Cancel(ctx, id, runID); err != nil {
		return fmt.Errorf("cancel run: %w", err)
	}
	note := ""
	if s.Owns() {
		note = "; it takes effect when `defectforge up` or `run` next works on it"
	}
	a.console.Say("cancellation of %s requested%s", id, note)
	if a.console.JSON() {
		return a.console.Emit(struct {
			WorkflowID string `json:"workflow_id"`
			Requested  bool   `json:"cancel_requested"`
		}{id, true})
	}
	return nil
}
