package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	sdk "go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
)

// backfillOptions are the flags of `schedule backfill`.
type backfillOptions struct{ from, to, overlap string }

func scheduleBackfillCommand(a *app) *cobra.Command {
	o := backfillOptions{overlap: "BufferAll"}
	c := oneScheduleCommand(a, "backfill", "Start the runs that were due in a stretch of time",
		func(ctx context.Context, s *process.Session, h sdk.ScheduleHandle) error {
			return backfillSchedule(ctx, a, s, h, o)
		})
	c.Long = c.Short + `.

Runs look at the images as they are now: of several in a row with nothing new
between them, all but the first end as "unchanged".`
	c.Example = `  defectforge schedule backfill nightly --from 2026-11-20 --to 2026-11-22T12:00:00Z`
	c.Flags().StringVar(&o.from, "from", "", "beginning, as 2026-11-20 (midnight here) or 2026-11-20T02:00:00Z")
	c.Flags().StringVar(&o.to, "to", "", "end, in the same manner (default now)")
	overlapFlag(c, &o.overlap, "where several are due")
	return c
}

func backfillSchedule(ctx context.Context, a *app, s *process.Session, h sdk.ScheduleHandle, o backfillOptions) error {
	b, err := o.backfill(time.Now())
	if err != nil {
		return err
	}
	if err := h.Backfill(ctx, sdk.ScheduleBackfillOptions{Backfill: []sdk.ScheduleBackfill{b}}); err != nil {
		return fmt.Errorf("backfill schedule: %w", err)
	}
	sayIdle(a, s)
	return printScheduleDone(a, h.GetID(), "backfilled")
}

// backfill is the stretch of time, until now where no end is given.
func (o backfillOptions) backfill(now time.Time) (sdk.ScheduleBackfill, error) {
	b := sdk.ScheduleBackfill{End: now}
	var err error
	if b.Overlap, err = overlapOr(o.overlap); err != nil {
		return b, err
	}
	if b.Start, err = parseMoment("--from", o.from); err != nil {
		return b, err
	}
	if o.to != "" {
		if b.End, err = parseMoment("--to", o.to); err != nil {
			return b, err
		}
	}
	if !b.Start.Before(b.End) {
		return b, console.Usage("--from: %s: must lie before --to (%s)", o.from, b.End.Format(time.RFC3339))
	}
	return b, nil
}

// parseMoment reads a day, which begins at midnight here, or a moment.
func parseMoment(flag, text string) (time.Time, error) {
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, console.Usage("%s: %q: write 2026-11-20 or 2026-11-20T02:00:00Z", flag, text)
	}
	return t, nil
}
