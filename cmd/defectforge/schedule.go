package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

var scheduleName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$`)

// overlapNames are Temporal's names of what happens where a run is due while an
// earlier one of the same schedule is under way.
var overlapNames = []string{"Skip", "BufferOne", "BufferAll", "CancelOther", "TerminateOther", "AllowAll"}

func (p *program) scheduleCommand() *cobra.Command {
	g := group("schedule", "Start runs by themselves, on Temporal's schedules",
		p.scheduleCreateCommand(),
		p.scheduleListCommand(),
		p.oneScheduleCommand("describe", "Show when a schedule runs, what it does, and what came of it", p.scheduleDescribe),
		p.schedulePauseCommand("pause", "Stop a schedule from starting runs", "paused", client.ScheduleHandle.Pause),
		p.schedulePauseCommand("resume", "Let a paused schedule start runs again", "resumed", func(h client.ScheduleHandle, ctx context.Context, o client.SchedulePauseOptions) error {
			return h.Unpause(ctx, client.ScheduleUnpauseOptions(o))
		}),
		p.scheduleTriggerCommand(),
		p.scheduleBackfillCommand(),
		p.oneScheduleCommand("delete", "Delete a schedule; runs under way go on", p.scheduleDelete),
	)
	g.Long = g.Short + `.

A schedule lives in Temporal, not in this program: it starts runs while the
server is up and a worker serves them, so with the embedded stack while
` + "`defectforge up`" + ` runs. Its runs look at the images first. Where data set, recipe
and policy are those of a run that was decided before, the run ends at once as
"unchanged" and says which release it stands on.`
	return g
}

// withSchedule opens a session and names a schedule in it.
func (p *program) withSchedule(c *cobra.Command, name string, do func(context.Context, *session, client.ScheduleHandle) error) error {
	if err := p.load(c); err != nil {
		return err
	}
	s, err := p.open(c.Context())
	if err != nil {
		return err
	}
	defer s.close(p)
	return noSchedule(do(c.Context(), s, s.temp.ScheduleClient().GetHandle(c.Context(), name)), name)
}

func (p *program) oneScheduleCommand(name, short string, do func(context.Context, *session, client.ScheduleHandle) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " NAME", Short: short,
		Args: exactly(1, "a schedule's name, as `defectforge schedule list` prints it"),
		RunE: func(c *cobra.Command, args []string) error { return p.withSchedule(c, args[0], do) },
	}
}

// noSchedule words that there is no such schedule.
func noSchedule(err error, name string) error {
	if missing := (*serviceerror.NotFound)(nil); errors.As(err, &missing) {
		return fmt.Errorf("schedule %s: not found; `defectforge schedule list` shows what there is", name)
	}
	return err
}

// parseOverlap reads an overlap policy as Temporal names it, in any case.
func parseOverlap(flag, value string) (enumspb.ScheduleOverlapPolicy, error) {
	if i := slices.IndexFunc(overlapNames, func(n string) bool { return strings.EqualFold(n, value) }); i >= 0 {
		return enumspb.ScheduleOverlapPolicyFromString(overlapNames[i])
	}
	return 0, usageError("%s: %q: choose one of %s", flag, value, strings.Join(overlapNames, ", "))
}

// scheduleReport is the JSON object of the commands that change a schedule.
type scheduleReport struct {
	Schedule string `json:"schedule"`
	Done     string `json:"done"` // created, paused, resumed, deleted or backfilled
}

func (p *program) answered(name, done string) error {
	if p.json {
		return p.emit(scheduleReport{name, done})
	}
	p.print("schedule %s %s", name, done)
	return nil
}

func (p *program) schedulePauseCommand(name, short, done string, do func(client.ScheduleHandle, context.Context, client.SchedulePauseOptions) error) *cobra.Command {
	var note string
	c := p.oneScheduleCommand(name, short, func(ctx context.Context, s *session, h client.ScheduleHandle) error {
		if note == "" {
			note = done + " by " + whoami()
		}
		if err := do(h, ctx, client.SchedulePauseOptions{Note: note}); err != nil {
			return fmt.Errorf("%s schedule: %w", name, err)
		}
		return p.answered(h.GetID(), done)
	})
	c.Flags().StringVar(&note, "note", "", "why; `schedule describe` and the web UI show it")
	return c
}

func (p *program) scheduleDelete(ctx context.Context, _ *session, h client.ScheduleHandle) error {
	if err := h.Delete(ctx); err != nil {
		return fmt.Errorf("delete schedule: %w", err)
	}
	return p.answered(h.GetID(), "deleted")
}

func (p *program) scheduleListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List schedules", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			s, err := p.open(c.Context())
			if err != nil {
				return err
			}
			defer s.close(p)
			return p.scheduleList(c.Context(), s)
		},
	}
}

// scheduleLine is one schedule in a list.
type scheduleLine struct {
	Name     string    `json:"name"`
	Class    string    `json:"class"` // empty for a clean-up
	Workflow string    `json:"workflow"`
	When     string    `json:"when"` // in words
	Paused   bool      `json:"paused"`
	Note     string    `json:"note"`
	Next     time.Time `json:"next,omitzero"`
	LastRun  string    `json:"last_run"` // the workflow's identifier
}

func (p *program) scheduleList(ctx context.Context, s *session) error {
	list, err := s.temp.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: 200})
	if err != nil {
		return fmt.Errorf("list schedules: %w", err)
	}
	lines := []scheduleLine{}
	for list.HasNext() {
		e, err := list.Next()
		if err != nil {
			return fmt.Errorf("list schedules: %w", err)
		}
		lines = append(lines, readScheduleLine(e))
	}
	slices.SortFunc(lines, func(a, b scheduleLine) int { return strings.Compare(a.Name, b.Name) })
	if p.json {
		return p.emit(struct {
			Schedules []scheduleLine `json:"schedules"`
		}{lines})
	}
	if len(lines) == 0 {
		p.say("no schedules; `defectforge schedule create` makes one")
		return nil
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCLASS\tWHEN\tNEXT\tLAST RUN")
	for _, l := range lines {
		next := "-"
		switch {
		case l.Paused:
			next = "paused"
		case !l.Next.IsZero():
			next = l.Next.Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Name, dash(l.Class), l.When, next, dash(l.LastRun))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	return nil
}

func readScheduleLine(e *client.ScheduleListEntry) scheduleLine {
	l := scheduleLine{Name: e.ID, Workflow: e.WorkflowType.Name, When: whenWords(e.Spec), Paused: e.Paused, Note: e.Note}
	readKeyword(e.SearchAttributes.GetIndexedFields(), classAttribute, &l.Class)
	if len(e.NextActionTimes) > 0 {
		l.Next = e.NextActionTimes[0]
	}
	if n := len(e.RecentActions); n > 0 && e.RecentActions[n-1].StartWorkflowResult != nil {
		l.LastRun = e.RecentActions[n-1].StartWorkflowResult.WorkflowID
	}
	return l
}
