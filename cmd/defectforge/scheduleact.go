package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
)

// triggerPatience is how long a trigger waits to tell which run was started.
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

func (p *program) scheduleTriggerCommand() *cobra.Command {
	var overlap string
	c := p.oneScheduleCommand("trigger", "Start a schedule's run now", func(ctx context.Context, s *session, h client.ScheduleHandle) error {
		policy, err := overlapOr(overlap)
		if err != nil {
			return err
		}
		return p.scheduleTrigger(ctx, s, h, policy)
	})
	overlapFlag(c, &overlap, "instead of the schedule's policy")
	return c
}

func (p *program) scheduleTrigger(ctx context.Context, s *session, h client.ScheduleHandle, policy enumspb.ScheduleOverlapPolicy) error {
	before, err := h.Describe(ctx)
	if err != nil {
		return fmt.Errorf("describe schedule: %w", err)
	}
	if err := h.Trigger(ctx, client.ScheduleTriggerOptions{Overlap: policy}); err != nil {
		return fmt.Errorf("trigger schedule: %w", err)
	}
	r := triggerReport{Schedule: h.GetID()}
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
	if s.stack != nil && s.stack.mine() {
		p.say("nothing runs this yet: start `defectforge up` for this data folder")
	}
	if p.json {
		return p.emit(r)
	}
	switch {
	case r.Skipped:
		p.print("skipped: an earlier run is under way; --overlap AllowAll starts another beside it")
	case r.WorkflowID == "":
		p.print("triggered; the run starts when those before it have ended")
	default:
		p.print("%s", r.WorkflowID)
		p.say("started; `defectforge runs watch %s` follows it", r.WorkflowID)
	}
	return nil
}

func (p *program) scheduleBackfillCommand() *cobra.Command {
	var from, to string
	overlap := "BufferAll"
	c := p.oneScheduleCommand("backfill", "Start the runs that were due in a stretch of time", func(ctx context.Context, s *session, h client.ScheduleHandle) error {
		return p.scheduleBackfill(ctx, s, h, from, to, overlap)
	})
	c.Long = c.Short + `.

Runs look at the images as they are now: of several in a row with nothing new
between them, all but the first end as "unchanged".`
	c.Example = `  defectforge schedule backfill nightly --from 2026-11-20 --to 2026-11-22T12:00:00Z`
	c.Flags().StringVar(&from, "from", "", "beginning, as 2026-11-20 (midnight here) or 2026-11-20T02:00:00Z")
	c.Flags().StringVar(&to, "to", "", "end, in the same manner (default now)")
	overlapFlag(c, &overlap, "where several are due")
	return c
}

func (p *program) scheduleBackfill(ctx context.Context, s *session, h client.ScheduleHandle, from, to, overlap string) error {
	b := client.ScheduleBackfill{End: time.Now()}
	var err error
	if b.Overlap, err = overlapOr(overlap); err != nil {
		return err
	}
	if b.Start, err = parseMoment("--from", from); err != nil {
		return err
	}
	if to != "" {
		if b.End, err = parseMoment("--to", to); err != nil {
			return err
		}
	}
	if !b.Start.Before(b.End) {
		return usageError("--from: %s: must lie before --to (%s)", from, b.End.Format(time.RFC3339))
	}
	if err := h.Backfill(ctx, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{b}}); err != nil {
		return fmt.Errorf("backfill schedule: %w", err)
	}
	if s.stack != nil && s.stack.mine() {
		p.say("nothing runs this yet: start `defectforge up` for this data folder")
	}
	return p.answered(h.GetID(), "backfilled")
}

// parseMoment reads a day, which begins at midnight here, or a moment.
func parseMoment(flag, text string) (time.Time, error) {
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usageError("%s: %q: write 2026-11-20 or 2026-11-20T02:00:00Z", flag, text)
	}
	return t, nil
}
