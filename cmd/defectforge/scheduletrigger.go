package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	sdk "go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
)

// triggerPatience is how long a trigger waits to say which run was started.
const triggerPatience = 15 * time.Second

// triggerReport is the JSON object of `schedule trigger`.
type triggerReport struct {
	Schedule   string `json:"schedule"`
	WorkflowID string `json:"workflow_id"` // empty where nothing was started yet
	RunID      string `json:"run_id"`
	// Skipped says that an earlier run is under way and the overlap policy forbids
	// another.
	Skipped bool `json:"skipped"`
}

func scheduleTriggerCommand(a *app) *cobra.Command {
	var overlap string
	c := oneScheduleCommand(a, "trigger", "Start a schedule's run now",
		func(ctx context.Context, s *process.Session, h sdk.ScheduleHandle) error {
			return triggerSchedule(ctx, a, s, h, overlap)
		})
	c.Long = "Start a schedule's run now, beside its times."
	c.Example = "  defectforge schedule trigger nightly"
	overlapFlag(c, &overlap, "instead of the schedule's policy")
	return c
}

func triggerSchedule(ctx context.Context, a *app, s *process.Session, h sdk.ScheduleHandle, overlap string) error {
	policy, err := overlapOr(overlap)
	if err != nil {
		return err
	}
	before, err := h.Describe(ctx)
	if err != nil {
		return fmt.Errorf("describe schedule: %w", err)
	}
	if err := h.Trigger(ctx, sdk.ScheduleTriggerOptions{Overlap: policy}); err != nil {
		return fmt.Errorf("trigger schedule: %w", err)
	}
	r := triggerReport{Schedule: h.GetID()}
	if err := r.await(ctx, h, before); err != nil {
		return err
	}
	sayIdle(a, s)
	return printTriggered(a, r)
}

// await waits for what a trigger started, if that becomes known soon.
func (r *triggerReport) await(ctx context.Context, h sdk.ScheduleHandle, before *sdk.ScheduleDescription) error {
	deadline := time.Now().Add(triggerPatience)
	for r.WorkflowID == "" && !r.Skipped && time.Now().Before(deadline) {
		now, err := h.Describe(ctx)
		if err != nil {
			return fmt.Errorf("describe schedule: %w", err)
		}
		r.Skipped = now.Info.NumActionsSkippedOverlap > before.Info.NumActionsSkippedOverlap
		if n := len(now.Info.RecentActions); now.Info.NumActions > before.Info.NumActions && n > 0 {
			if w := now.Info.RecentActions[n-1].StartWorkflowResult; w != nil {
				r.WorkflowID, r.RunID = w.WorkflowID, w.FirstExecutionRunID
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(250 * time.Millisecond):
		}
	}
	return nil
}

func printTriggered(a *app, r triggerReport) error {
	if a.console.JSON() {
		return a.console.Emit(r)
	}
	switch {
	case r.Skipped:
		a.console.Print("skipped: an earlier run is under way; --overlap AllowAll starts another beside it")
	case r.WorkflowID == "":
		a.console.Print("triggered; the run starts when those before it have ended")
	default:
		a.console.Print("%s", r.WorkflowID)
		a.console.Say("started; `defectforge runs watch %s` follows it", r.WorkflowID)
	}
	return nil
}
