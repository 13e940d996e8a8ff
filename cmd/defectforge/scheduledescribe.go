package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	commonpb "go.temporal.io/api/common/v1"
	sdk "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/workflows"
)

var classAttribute = workflows.DefectClass.GetName()

// readKeyword decodes a search attribute into a text; another type says nothing.
func readKeyword(fields map[string]*commonpb.Payload, name string, into *string) {
	if payload, ok := fields[name]; ok {
		_ = converter.GetDefaultDataConverter().FromPayload(payload, into)
	}
}

// scheduleDetails is the JSON object of `schedule describe`.
type scheduleDetails struct {
	Name     string `json:"name"`
	Workflow string `json:"workflow"`
	// Class, Images, Recipe and Policy are empty for a clean-up.
	Class  string      `json:"class"`
	Images step.Source `json:"images"`
	Recipe string      `json:"recipe"`
	Policy string      `json:"policy"`
	MinNew int         `json:"min_new"`
	// Compare is nil without --compare.
	Compare        *step.UtilityPlan `json:"compare"`
	When           string            `json:"when"`
	TimeZone       string            `json:"time_zone"`
	Overlap        string            `json:"overlap"`
	CatchupSeconds float64           `json:"catchup_window_seconds"`
	JitterSeconds  float64           `json:"jitter_seconds"`
	PauseOnFailure bool              `json:"pause_on_failure"`
	Paused         bool              `json:"paused"`
	Note           string            `json:"note"`
	Created        time.Time         `json:"created"`
	Actions        int               `json:"actions"` // runs started so far
	MissedCatchup  int               `json:"missed_catchup_window"`
	SkippedOverlap int               `json:"skipped_overlap"`
	// Recent are the last runs, the oldest first, and Next the times of the coming.
	Recent []scheduledRun `json:"recent"`
	Next   []time.Time    `json:"next"`
}

// scheduledRun is a run that a schedule has started.
type scheduledRun struct {
	Due        time.Time `json:"due"`
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id"`
	Status     string    `json:"status"` // empty where its history's retention is over
	Verdict    string    `json:"verdict"`
	Release    string    `json:"release"`
}

func scheduleDescribeCommand(a *app) *cobra.Command {
	c := oneScheduleCommand(a, "describe", "Show when a schedule runs, what it does, and what came of it",
		func(ctx context.Context, s *process.Session, h sdk.ScheduleHandle) error {
			return describeSchedule(ctx, a, s, h)
		})
	c.Long = `Show a schedule's times and policies, what it starts, and what its latest runs
came to.`
	c.Example = `  defectforge schedule describe nightly
  defectforge schedule describe nightly -o yaml`
	return c
}

func describeSchedule(ctx context.Context, a *app, s *process.Session, h sdk.ScheduleHandle) error {
	d, err := h.Describe(ctx)
	if err != nil {
		return fmt.Errorf("describe schedule: %w", err)
	}
	r := readSchedule(h.GetID(), d, s.Payloads.Data)
	for _, action := range d.Info.RecentActions {
		run := scheduledRun{Due: action.ScheduleTime}
		if w := action.StartWorkflowResult; w != nil {
			run.WorkflowID, run.RunID = w.WorkflowID, w.FirstExecutionRunID
			if line, err := s.Client().Scheduled(ctx, w); err == nil {
				run.Status, run.Verdict, run.Release = line.Status, line.Verdict, line.Release
			}
		}
		r.Recent = append(r.Recent, run)
	}
	if a.console.JSON() {
		return a.console.Emit(r)
	}
	printSchedule(a, r)
	return nil
}

func readSchedule(name string, d *sdk.ScheduleDescription, decode converter.DataConverter) scheduleDetails {
	times := d.Schedule.Spec
	r := scheduleDetails{
		Name: name, When: whenWords(times), TimeZone: cmp.Or(times.TimeZoneName, "UTC"), JitterSeconds: times.Jitter.Seconds(),
		Created: d.Info.CreatedAt, Actions: d.Info.NumActions,
		MissedCatchup: d.Info.NumActionsMissedCatchupWindow, SkippedOverlap: d.Info.NumActionsSkippedOverlap,
		Recent: []scheduledRun{}, Next: append([]time.Time{}, d.Info.NextActionTimes...),
	}
	if policy := d.Schedule.Policy; policy != nil {
		r.Overlap, r.CatchupSeconds, r.PauseOnFailure = policy.Overlap.String(), policy.CatchupWindow.Seconds(), policy.PauseOnFailure
	}
	if state := d.Schedule.State; state != nil {
		r.Paused, r.Note = state.Paused, state.Note
	}
	action, ok := d.Schedule.Action.(*sdk.ScheduleWorkflowAction)
	if !ok {
		return r
	}
	r.Workflow, _ = action.Workflow.(string)
	var in workflows.AugmentInput
	if r.Workflow == workflows.AugmentName && readArgument(decode, action.Args, &in) {
		r.Class, r.Images, r.Recipe, r.Policy, r.Compare = in.Class, in.Source, in.Recipe.Name, in.Policy.Name, in.Utility
		if in.IfChanged != nil {
			r.MinNew = in.IfChanged.MinNew
		}
	}
	return r
}

// readArgument decodes the one argument of a schedule's workflow, and reports
// whether it could.
func readArgument(decode converter.DataConverter, args []any, into any) bool {
	if len(args) != 1 {
		return false
	}
	payload, ok := args[0].(*commonpb.Payload)
	return ok && decode.FromPayload(payload, into) == nil
}

func printSchedule(a *app, r scheduleDetails) {
	out, dash := a.console, console.Dash
	out.Print("schedule   %s%s", r.Name, console.Either(r.Paused, ", paused", ""))
	printScheduled(a, r)
	out.Print("when       %s", r.When)
	out.Print("overlap    %s; catch-up window %s%s", r.Overlap, console.TimeWords(r.CatchupSeconds),
		console.Either(r.PauseOnFailure, "; pauses on failure", ""))
	if r.JitterSeconds > 0 {
		out.Print("jitter     %s", console.TimeWords(r.JitterSeconds))
	}
	if r.Note != "" {
		out.Print("note       %s", r.Note)
	}
	out.Print("so far     %d runs, %d skipped as another was under way, %d missed", r.Actions, r.SkippedOverlap, r.MissedCatchup)
	for _, run := range r.Recent {
		out.Print("run        %s  %-10s %-12s %-16s %s", run.Due.Local().Format(time.DateTime),
			dash(run.Status), dash(run.Verdict), dash(run.Release), run.WorkflowID)
	}
	for i, next := range r.Next {
		if i < 3 && !r.Paused {
			out.Print("next       %s", next.Local().Format(time.DateTime))
		}
	}
}

// printScheduled prints what a schedule starts.
func printScheduled(a *app, r scheduleDetails) {
	out := a.console
	if r.Class == "" {
		out.Print("workflow   %s", r.Workflow)
		return
	}
	out.Print("class      %s", r.Class)
	out.Print("images     s3://%s/%s", r.Images.Bucket, r.Images.Prefix)
	out.Print("recipe     %s, policy %s", r.Recipe, r.Policy)
	if r.Compare != nil {
		for _, other := range r.Compare.Others {
			out.Print("compare    %s, s3://%s/%s", other.Class, other.Source.Bucket, other.Source.Prefix)
		}
	}
	if r.MinNew > 0 {
		out.Print("min new    %d images", r.MinNew)
	}
}

// whenWords says when a schedule starts runs. The server takes cron expressions apart,
// but keeps the comment that has the text.
func whenWords(spec *sdk.ScheduleSpec) string {
	if spec == nil {
		return ""
	}
	var parts []string
	parts = append(parts, spec.CronExpressions...)
	for _, c := range spec.Calendars {
		parts = append(parts, cmp.Or(c.Comment, "a calendar"))
	}
	for _, i := range spec.Intervals {
		text := "every " + i.Every.String()
		if i.Offset != 0 {
			text += " + " + i.Offset.String()
		}
		parts = append(parts, text)
	}
	text := strings.Join(parts, "; ")
	if spec.TimeZoneName != "" {
		text += " " + spec.TimeZoneName
	}
	return text
}
