package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	sdk "go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
)

func scheduleListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List schedules",
		Long:  "List schedules with when they run, when next, and what they last started.",
		Example: `  defectforge schedule list
  defectforge schedule list -o json`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error { return listSchedules(c.Context(), a) }),
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

func listSchedules(ctx context.Context, a *app) error {
	s, err := a.process.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	lines, err := scheduleLines(ctx, s.Temporal.ScheduleClient())
	if err != nil {
		return fmt.Errorf("list schedules: %w", err)
	}
	if a.console.JSON() {
		return a.console.Emit(struct {
			Schedules []scheduleLine `json:"schedules"`
		}{lines})
	}
	return printSchedules(a.console, lines)
}

// scheduleLines lists all schedules by name.
func scheduleLines(ctx context.Context, c sdk.ScheduleClient) ([]scheduleLine, error) {
	list, err := c.List(ctx, sdk.ScheduleListOptions{PageSize: 200})
	if err != nil {
		return nil, err
	}
	lines := []scheduleLine{}
	for list.HasNext() {
		e, err := list.Next()
		if err != nil {
			return nil, err
		}
		lines = append(lines, readScheduleLine(e))
	}
	slices.SortFunc(lines, func(a, b scheduleLine) int { return strings.Compare(a.Name, b.Name) })
	return lines, nil
}

func printSchedules(c *console.Console, lines []scheduleLine) error {
	if len(lines) == 0 {
		c.Say("no schedules; `defectforge schedule create` makes one")
		return nil
	}
	return c.Table("list", func(w io.Writer) {
		fmt.Fprintln(w, "NAME\tCLASS\tWHEN\tNEXT\tLAST RUN")
		for _, l := range lines {
			next := "-"
			switch {
			case l.Paused:
				next = "paused"
			case !l.Next.IsZero():
				next = l.Next.Local().Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Name, console.Dash(l.Class), l.When, next, console.Dash(l.LastRun))
		}
	})
}

func readScheduleLine(e *sdk.ScheduleListEntry) scheduleLine {
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
