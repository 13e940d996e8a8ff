package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/workflows"
)

// decidePatience bounds the wait for a worker that takes the decision.
const decidePatience = time.Minute

// decision is what `runs approve` and `runs reject` send.
type decision struct {
	id, runID, who, why string
	approve             bool
}

// decisionReport is the JSON object of both.
type decisionReport struct {
	WorkflowID string        `json:"workflow_id"`
	RunID      string        `json:"run_id"`
	Approval   step.Approval `json:"approval"`
	// Release is set where the run's end was waited for.
	Release string `json:"release,omitempty"`
}

func (p *program) decideCommand(name, short string, approve bool) *cobra.Command {
	d := decision{approve: approve}
	c := &cobra.Command{
		Use:   name + " WORKFLOW --reason WHY",
		Short: short,
		Long: short + `.

Who decided and why is recorded with the run and in the release. The same
decision again changes nothing; the opposite one is refused.`,
		Args: exactly(1, "a workflow's identifier, as `defectforge runs list --stage AwaitApproval` prints it"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			d.id = args[0]
			return p.decide(c.Context(), d)
		},
	}
	f := c.Flags()
	f.StringVar(&d.why, "reason", "", "why; it is recorded")
	f.StringVar(&d.who, "as", "", "who decides (default "+whoami()+")")
	f.StringVar(&d.runID, "run", "", "run identifier; the latest run where not given")
	return c
}

// whoami is user@host, as far as the system tells.
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

func (p *program) decide(ctx context.Context, d decision) error {
	if strings.TrimSpace(d.why) == "" {
		return usageError("--reason: not given; say why, for whoever asks later")
	}
	d.who = cmp.Or(strings.TrimSpace(d.who), whoami())
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	desc, err := s.temp.DescribeWorkflowExecution(ctx, d.id, d.runID)
	if err != nil {
		return notFound(fmt.Errorf("describe run: %w", err), d.id)
	}
	info := desc.GetWorkflowExecutionInfo()
	d.runID = info.GetExecution().GetRunId()
	if info.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return p.decidedLate(ctx, s, d, info.GetStatus())
	}
	failed, stop, err := p.serve(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	made, err := send(ctx, s.temp, d)
	if err != nil {
		return err
	}
	r := decisionReport{WorkflowID: d.id, RunID: d.runID, Approval: made}
	if failed != nil {
		// This process alone works on the run: it brings it to its end.
		result, err := follow(ctx, s, d.id, d.runID, p.newView(), failed)
		if err != nil {
			return fmt.Errorf("the decision is recorded (%s), but the run has not ended: %w", workflows.ApprovalWords(made), explain(err))
		}
		r.Release = result.Release
	}
	return p.printDecision(r)
}

// send brings the decision to the run.
func send(ctx context.Context, c client.Client, d decision) (step.Approval, error) {
	call, cancel := context.WithTimeout(ctx, decidePatience)
	defer cancel()
	var made step.Approval
	handle, err := c.UpdateWorkflow(call, client.UpdateWorkflowOptions{
		WorkflowID: d.id, RunID: d.runID, UpdateName: workflows.DecideUpdate,
		Args:         []any{workflows.DecideInput{Approve: d.approve, Who: d.who, Why: d.why}},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(call, &made)
	}
	app := (*temporal.ApplicationError)(nil)
	switch {
	case err == nil:
		return made, nil
	case errors.As(err, &app):
		return made, fmt.Errorf("run %s: %s", d.id, app.Message())
	case ctx.Err() == nil && call.Err() != nil:
		return made, fmt.Errorf("run %s: no worker took the decision within %s; start `defectforge worker --role io`, then run the same command again", d.id, decidePatience)
	}
	return made, notFound(fmt.Errorf("send decision: %w", err), d.id)
}

// decidedLate answers for a run that has ended: the same decision is answered
// alike, anything else is an error.
func (p *program) decidedLate(ctx context.Context, s *session, d decision, status enumspb.WorkflowExecutionStatus) error {
	var result workflows.AugmentResult
	if err := s.temp.GetWorkflow(ctx, d.id, d.runID).Get(ctx, &result); err != nil {
		return fmt.Errorf("run %s: it has ended (%s), there is nothing to decide", d.id, statusName(status))
	}
	made := result.Approval
	if made.By == step.ByPerson && made.Approved == d.approve {
		return p.printDecision(decisionReport{WorkflowID: d.id, RunID: d.runID, Approval: made, Release: result.Release})
	}
	why := "its verdict was " + result.Verdict
	if made.By != "" {
		why = workflows.ApprovalWords(made)
	}
	return fmt.Errorf("run %s: it has ended (%s), there is nothing to decide", d.id, why)
}

func (p *program) printDecision(r decisionReport) error {
	if p.json {
		return p.emit(r)
	}
	p.print("approval   %s", workflows.ApprovalWords(r.Approval))
	if r.Release != "" {
		p.print("release    %s", r.Release)
	}
	return nil
}

// printApproval tells where a run stands with its approval.
func (p *program) printApproval(d runDetails) {
	switch {
	case d.Approval != nil:
		p.print("approval   %s", workflows.ApprovalWords(*d.Approval))
	case d.Deadline != nil:
		p.print("approval   waiting until %s; then the answer is no", d.Deadline.Local().Format(time.DateTime))
		p.print("           defectforge runs approve %s --reason WHY", d.WorkflowID)
		if d.Notice != "" {
			p.print("notice     %s", d.Notice)
		}
	}
}

// printTries tells what the monitors found, and how the checkpoint was chosen.
func (p *program) printTries(d runDetails) {
	for i, r := range d.Rollbacks {
		p.print("try %-6d %s; back to epoch %d with %g of the discriminator's rate", i+1, r.Alarm.Reason, r.ToEpoch, r.DiscriminatorScale)
	}
	if c := d.Choice; c != nil {
		p.print("checkpoint of epoch %d: %s", c.Epoch, c.Reason)
	} else if b := d.Best; b != nil {
		p.print("best       epoch %d, KID %.3f of the first evaluation's", b.Epoch, b.KID)
	}
}
