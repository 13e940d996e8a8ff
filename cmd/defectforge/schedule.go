package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	sdk "go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
)

var scheduleName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$`)

// overlapNames are Temporal's names of what happens where a run is due while an
// earlier one of the same schedule is under way.
var overlapNames = []string{"Skip", "BufferOne", "BufferAll", "CancelOther", "TerminateOther", "AllowAll"}

func scheduleCommand(a *app) *cobra.Command {
	g := group("schedule", "Start runs by themselves, on Temporal's schedules",
		scheduleCreateCommand(a), scheduleListCommand(a), scheduleDescribeCommand(a),
		schedulePauseCommand(a), scheduleResumeCommand(a), scheduleTriggerCommand(a), scheduleBackfillCommand(a),
		scheduleDeleteCommand(a),
	)
	g.Long = g.Short + `.

A schedule lives in Temporal, not in this program: it starts runs while the
server is up and a worker serves them, so with the embedded stack while
` + "`defectforge up`" + ` runs. Its runs look at the images first. Where data set, recipe
and policy are those of a run that was decided before, the run ends at once as
"unchanged" and says which release it stands on.`
	g.Example = `  defectforge schedule create nightly --images s3://factory/dents/ --class dents --cron "0 2 * * *"
  defectforge schedule list`
	return g
}

// onSchedule is what a command does with one schedule.
type onSchedule func(context.Context, *process.Session, sdk.ScheduleHandle) error

// oneScheduleCommand is a command on one schedule.
func oneScheduleCommand(a *app, name, short string, do onSchedule) *cobra.Command {
	return &cobra.Command{
		Use: name + " NAME", Short: short,
		Args: exactly(1, "a schedule's name, as `defectforge schedule list` prints it"),
		RunE: a.loading(func(c *cobra.Command, args []string) error {
			s, err := a.process.Open(c.Context())
			if err != nil {
				return err
			}
			defer s.Close()
			h := s.Temporal.ScheduleClient().GetHandle(c.Context(), args[0])
			return noSchedule(do(c.Context(), s, h), args[0])
		}),
		ValidArgsFunction: completeSchedules(a),
	}
}

// completeSchedules asks for the names of schedules.
func completeSchedules(a *app) completeFunc {
	return completeNames(a, 1, func(ctx context.Context, s *process.Session) (out []cobra.Completion, err error) {
		if err := glanceAtTemporal(ctx, s); err != nil {
			return nil, err
		}
		list, err := s.Temporal.ScheduleClient().List(ctx, sdk.ScheduleListOptions{PageSize: maxNames})
		for err == nil && list.HasNext() {
			var e *sdk.ScheduleListEntry
			if e, err = list.Next(); err == nil {
				out = append(out, cobra.CompletionWithDesc(e.ID, whenWords(e.Spec)))
			}
		}
		return out, err
	})
}

// noSchedule words that there is no such schedule.
func noSchedule(err error, name string) error {
	if client.NotFound(err) {
		return fmt.Errorf("schedule %s: not found; `defectforge schedule list` shows what there is", name)
	}
	return err
}

// parseOverlap reads an overlap policy as Temporal names it, in any case.
func parseOverlap(flag, value string) (enumspb.ScheduleOverlapPolicy, error) {
	if i := slices.IndexFunc(overlapNames, func(n string) bool { return strings.EqualFold(n, value) }); i >= 0 {
		return enumspb.ScheduleOverlapPolicyFromString(overlapNames[i])
	}
	return 0, console.Usage("%s: %q: choose one of %s", flag, value, strings.Join(overlapNames, ", "))
}

// scheduleReport is the JSON object of the commands that change a schedule.
type scheduleReport struct {
	Schedule string `json:"schedule"`
	Done     string `json:"done"` // created, paused, resumed, deleted or backfilled
}

// printScheduleDone prints what was done with a schedule.
func printScheduleDone(a *app, name, done string) error {
	if a.console.JSON() {
		return a.console.Emit(scheduleReport{name, done})
	}
	a.console.Print("schedule %s %s", name, done)
	return nil
}

func schedulePauseCommand(a *app) *cobra.Command {
	c := pauseCommand(a, "pause", "Stop a schedule from starting runs", "paused", sdk.ScheduleHandle.Pause)
	c.Long = "Stop a schedule from starting runs, until it is resumed. Runs under way go on."
	c.Example = `  defectforge schedule pause nightly --note "line 3 is down"`
	return c
}

func scheduleResumeCommand(a *app) *cobra.Command {
	c := pauseCommand(a, "resume", "Let a paused schedule start runs again", "resumed",
		func(h sdk.ScheduleHandle, ctx context.Context, o sdk.SchedulePauseOptions) error {
			return h.Unpause(ctx, sdk.ScheduleUnpauseOptions(o))
		})
	c.Long = `Let a paused schedule start runs again. Runs that were due meanwhile are not made
up for: see ` + "`schedule backfill`" + `.`
	c.Example = "  defectforge schedule resume nightly"
	return c
}

// pauseCommand is a command that pauses or resumes a schedule, with a note.
func pauseCommand(
	a *app, name, short, done string, do func(sdk.ScheduleHandle, context.Context, sdk.SchedulePauseOptions) error,
) *cobra.Command {
	var note string
	c := oneScheduleCommand(a, name, short, func(ctx context.Context, _ *process.Session, h sdk.ScheduleHandle) error {
		if note == "" {
			note = done + " by " + whoami()
		}
		if err := do(h, ctx, sdk.SchedulePauseOptions{Note: note}); err != nil {
			return fmt.Errorf("%s schedule: %w", name, err)
		}
		return printScheduleDone(a, h.GetID(), done)
	})
	c.Flags().StringVar(&note, "note", "", "why; schedule describe and the web UI show it")
	return c
}

func scheduleDeleteCommand(a *app) *cobra.Command {
	c := oneScheduleCommand(a, "delete", "Delete a schedule; runs under way go on",
		func(ctx context.Context, _ *process.Session, h sdk.ScheduleHandle) error {
			if err := h.Delete(ctx); err != nil {
				return fmt.Errorf("delete schedule: %w", err)
			}
			return printScheduleDone(a, h.GetID(), "deleted")
		})
	c.Long = "Delete a schedule. Runs that it has started go on, and what they made stays."
	c.Example = "  defectforge schedule delete nightly"
	return c
}
