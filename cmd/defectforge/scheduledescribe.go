package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/defectforge/defectforge/activities/step"
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

func (p *program) scheduleDescribe(ctx context.Context, s *session, h client.ScheduleHandle) error {
	d, err := h.Describe(ctx)
	if err != nil {
		return fmt.Errorf("describe schedule: %w", err)
	}
	r := readSchedule(h.GetID(), d, s.payloads.data)
	for _, a := range d.Info.RecentActions {
		run := scheduledRun{Due: a.ScheduleTime}
		if w := a.StartWorkflowResult; w != nil {
			run.WorkflowID, run.RunID = w.WorkflowID, w.FirstExecutionRunID
			if info, err := scheduledInfo(ctx, s.temp, w); err == nil {
				line := readLine(info)
				run.Status, run.Verdict, run.Release = line.Status, line.Verdict, line.Release
			}
		}
		r.Recent = append(r.Recent, run)
	}
	if p.json {
		return p.emit(r)
	}
	p.printSchedule(r)
	return nil
}

// scheduledInfo is the state of a run that a schedule started: of its last
// execution, where it continued as new. Two runs started within one second have
// the same workflow identifier.
func scheduledInfo(ctx context.Context, c client.Client, w *client.ScheduleWorkflowExecution) (*workflowpb.WorkflowExecutionInfo, error) {
	d, err := c.DescribeWorkflowExecution(ctx, w.WorkflowID, "")
	if err == nil && d.GetWorkflowExecutionInfo().GetFirstRunId() != w.FirstExecutionRunID {
		d, err = c.DescribeWorkflowExecution(ctx, w.WorkflowID, w.FirstExecutionRunID)
	}
	return d.GetWorkflowExecutionInfo(), err
}

func readSchedule(name string, d *client.ScheduleDescription, decode converter.DataConverter) scheduleDetails {
	r := scheduleDetails{
		Name: name, When: whenWords(d.Schedule.Spec), TimeZone: cmp.Or(d.Schedule.Spec.TimeZoneName, "UTC"), JitterSeconds: d.Schedule.Spec.Jitter.Seconds(),
		Created: d.Info.CreatedAt, Actions: d.Info.NumActions, MissedCatchup: d.Info.NumActionsMissedCatchupWindow, SkippedOverlap: d.Info.NumActionsSkippedOverlap,
		Recent: []scheduledRun{}, Next: append([]time.Time{}, d.Info.NextActionTimes...),
	}
	if policy := d.Schedule.Policy; policy != nil {
		r.Overlap, r.CatchupSeconds, r.PauseOnFailure = policy.Overlap.String(), policy.CatchupWindow.Seconds(), policy.PauseOnFailure
	}
	if state := d.Schedule.State; state != nil {
		r.Paused, r.Note = state.Paused, state.Note
	}
	action, ok := d.Schedule.Action.(*client.ScheduleWorkflowAction)
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

func (p *program) printSchedule(r scheduleDetails) {
	p.print("schedule   %s%s", r.Name, either(r.Paused, ", paused", ""))
	if r.Class != "" {
		p.print("class      %s", r.Class)
		p.print("images     s3://%s/%s", r.Images.Bucket, r.Images.Prefix)
		p.print("recipe     %s, policy %s", r.Recipe, r.Policy)
		if r.Compare != nil {
			for _, other := range r.Compare.Others {
				p.print("compare    %s, s3://%s/%s", other.Class, other.Source.Bucket, other.Source.Prefix)
			}
		}
		if r.MinNew > 0 {
			p.print("min new    %d images", r.MinNew)
		}
	} else {
		p.print("workflow   %s", r.Workflow)
	}
	p.print("when       %s", r.When)
	p.print("overlap    %s; catch-up window %s%s", r.Overlap, timeWords(r.CatchupSeconds), either(r.PauseOnFailure, "; pauses on failure", ""))
	if r.JitterSeconds > 0 {
		p.print("jitter     %s", timeWords(r.JitterSeconds))
	}
	if r.Note != "" {
		p.print("note       %s", r.Note)
	}
	p.print("so far     %d runs, %d skipped as another was under way, %d missed", r.Actions, r.SkippedOverlap, r.MissedCatchup)
	for _, run := range r.Recent {
		p.print("run        %s  %-10s %-12s %-16s %s", run.Due.Local().Format(time.DateTime), dash(run.Status), dash(run.Verdict), dash(run.Release), run.WorkflowID)
	}
	for i, next := range r.Next {
		if i < 3 && !r.Paused {
			p.print("next       %s", next.Local().Format(time.DateTime))
		}
	}
}

// whenWords tells a schedule's times. The server takes cron expressions apart,
// but keeps the comment that has the text.
func whenWords(spec *client.ScheduleSpec) string {
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
