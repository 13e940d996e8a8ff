package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/progress"
	"github.com/defectforge/defectforge/workflows"
)

// decideOptions are the arguments and flags of `runs approve` and `runs reject`.
type decideOptions struct {
	id, runID string
	client.Decision
}

// decisionReport is the JSON object of both.
type decisionReport struct {
	WorkflowID string        `json:"workflow_id"`
	RunID      string        `json:"run_id"`
	Approval   step.Approval `json:"approval"`
	// Release is set where the run's end was waited for.
	Release string `json:"release,omitempty"`
}

func decideCommand(a *app, name, short string, approve bool) *cobra.Command {
	o := decideOptions{Decision: client.Decision{Approve: approve}}
	c := &cobra.Command{
		Use:   name + " WORKFLOW --reason WHY",
		Short: short,
		Long: short + `.

Who decided and why is recorded with the run and in the release. The same
decision again changes nothing; the opposite one is refused.`,
		Example: `  defectforge runs approve augment-scratches-0123456789ab --reason "looked at the report"
  defectforge runs approve augment-scratches-0123456789ab --reason "line 3 needs it" --as ada`,
		Args: exactly(1, "a workflow's identifier, as `defectforge runs list --stage AwaitApproval` prints it"),
		RunE: a.loading(func(c *cobra.Command, args []string) error {
			o.id = args[0]
			return decide(c.Context(), a, o)
		}),
		ValidArgsFunction: completeRuns(a, whileWaiting, 1),
	}
	if !approve {
		c.Example = `  defectforge runs reject augment-scratches-0123456789ab --reason "all of them show one scratch"`
	}
	f := c.Flags()
	f.StringVar(&o.Why, "reason", "", "why; it is recorded")
	f.StringVar(&o.Who, "as", "", "who decides (default "+whoami()+")")
	f.StringVar(&o.runID, "run", "", "run identifier; the latest run where not given")
	return c
}

// whoami is user@host, as far as the system says.
func whoami() string {
	name := "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}

func decide(ctx context.Context, a *app, o decideOptions) error {
	if strings.TrimSpace(o.Why) == "" {
		return console.Usage("--reason: not given; say why, for whoever asks later")
	}
	o.Who = cmp.Or(strings.TrimSpace(o.Who), whoami())
	s, err := a.process.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	e, err := s.Client().Attach(ctx, o.id, o.runID)
	if err != nil {
		return notFound(fmt.Errorf("describe run: %w", err), o.id)
	}
	if e.Status != client.Running {
		return decidedLate(ctx, a, s, e, o)
	}
	failed, stop, err := a.process.Serve(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	made, err := s.Client().Decide(ctx, e, o.Decision)
	if err != nil {
		return notFound(err, o.id)
	}
	r := decisionReport{WorkflowID: o.id, RunID: e.Current, Approval: made}
	if failed != nil {
		// This process alone works on the run: it brings it to its end.
		result, err := client.Runs.Follow(ctx, s.Client(), e, progress.Run(a.console), failed)
		if err != nil {
			return fmt.Errorf("the decision is recorded (%s), but the run has not ended: %w",
				workflows.ApprovalWords(made), client.Explain(err))
		}
		r.Release = result.Release
	}
	return printDecision(a, r)
}

// decidedLate answers for a run that has ended: the same decision is answered
// alike, anything else is an error.
func decidedLate(ctx context.Context, a *app, s *process.Session, e client.Execution, o decideOptions) error {
	var result workflows.AugmentResult
	if err := s.Client().Result(ctx, o.id, e.Current, &result); err != nil {
		return fmt.Errorf("run %s: it has ended (%s), there is nothing to decide", o.id, e.Status)
	}
	made := result.Approval
	if made.By == step.ByPerson && made.Approved == o.Approve {
		return printDecision(a, decisionReport{WorkflowID: o.id, RunID: e.Current, Approval: made, Release: result.Release})
	}
	why := "its verdict was " + result.Verdict
	if made.By != "" {
		why = workflows.ApprovalWords(made)
	}
	return fmt.Errorf("run %s: it has ended (%s), there is nothing to decide", o.id, why)
}

func printDecision(a *app, r decisionReport) error {
	if a.console.JSON() {
		return a.console.Emit(r)
	}
	a.console.Print("approval   %s", workflows.ApprovalWords(r.Approval))
	if r.Release != "" {
		a.console.Print("release    %s", r.Release)
	}
	return nil
}
