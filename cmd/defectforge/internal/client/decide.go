package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	sdk "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/workflows"
)

// Decision is a person's answer to a run that waits for approval.
type Decision struct {
	Approve  bool
	Who, Why string
}

// decidePatience bounds the wait for a worker that takes the decision.
const decidePatience = time.Minute

// Decide brings a decision to a run under way, and waits until it is taken.
func (c *Client) Decide(ctx context.Context, e Execution, d Decision) (step.Approval, error) {
	call, cancel := context.WithTimeout(ctx, decidePatience)
	defer cancel()
	var made step.Approval
	handle, err := c.Temporal.UpdateWorkflow(call, sdk.UpdateWorkflowOptions{
		WorkflowID: e.WorkflowID, RunID: e.Current, UpdateName: workflows.DecideUpdate,
		Args:         []any{workflows.DecideInput{Approve: d.Approve, Who: d.Who, Why: d.Why}},
		WaitForStage: sdk.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(call, &made)
	}
	app := (*temporal.ApplicationError)(nil)
	switch {
	case err == nil:
		return made, nil
	case errors.As(err, &app):
		return made, fmt.Errorf("run %s: %s", e.WorkflowID, app.Message())
	case ctx.Err() == nil && call.Err() != nil:
		return made, fmt.Errorf("run %s: no worker took the decision within %s; start `defectforge worker --role io`, "+
			"then run the same command again", e.WorkflowID, decidePatience)
	}
	return made, fmt.Errorf("send decision: %w", err)
}
