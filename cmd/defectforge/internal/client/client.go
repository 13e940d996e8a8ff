// Package client starts runs and campaigns, follows them to their end, and
// decides on them. It knows neither how the connection was made nor how anything
// is shown.
package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	sdk "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/workflows"
)

// Client is a connection to Temporal, with what must be known to use it.
type Client struct {
	Temporal  sdk.Client
	Payloads  Payloads
	Namespace string
	Queue     string // of workflows
}

// Payloads is how what Temporal keeps is written and read.
type Payloads struct {
	Data     converter.DataConverter
	Failures converter.FailureConverter
}

// PlainPayloads are not encrypted.
var PlainPayloads = Payloads{converter.GetDefaultDataConverter(), temporal.GetDefaultFailureConverter()}

// words is what a failure says.
func (p Payloads) words(f *failurepb.Failure) string {
	if f == nil {
		return ""
	}
	err := p.Failures.FailureToError(f)
	if app := (*temporal.ApplicationError)(nil); errors.As(err, &app) {
		return app.Message()
	}
	return err.Error()
}

// Job is a workflow to start.
type Job struct {
	ID, Workflow, Summary string
	Input                 any
	Attributes            temporal.SearchAttributes
	// Alone refuses to start it while one with its identifier is under way;
	// otherwise Start attaches to that one.
	Alone bool
}

// Execution is a workflow that was started or found.
type Execution struct {
	// Run names the first execution of a chain, by which its documents are filed:
	// what continued as new keeps its first identifier.
	step.Run
	// Current is the execution that was started or found.
	Current  string
	Workflow string // its type; empty where it was started
	Status   string // in small letters; empty where it was started
}

// Start starts a job's workflow, or attaches to it.
func (c *Client) Start(ctx context.Context, j Job) (Execution, error) {
	o := sdk.StartWorkflowOptions{
		ID: j.ID, TaskQueue: c.Queue, StaticSummary: j.Summary, TypedSearchAttributes: j.Attributes,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: j.Alone,
	}
	if j.Alone {
		o.WorkflowIDConflictPolicy = enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL
	}
	handle, err := c.Temporal.ExecuteWorkflow(ctx, o, j.Workflow, j.Input)
	if err != nil {
		return Execution{}, err
	}
	e := Execution{Run: step.Run{WorkflowID: handle.GetID(), RunID: handle.GetRunID()}, Current: handle.GetRunID()}
	d, err := c.Temporal.DescribeWorkflowExecution(ctx, e.WorkflowID, e.Current)
	if err == nil && d.GetWorkflowExecutionInfo().GetFirstRunId() != "" {
		e.RunID = d.GetWorkflowExecutionInfo().GetFirstRunId()
	}
	return e, nil
}

// Attach finds a workflow's execution, the latest where runID is empty.
func (c *Client) Attach(ctx context.Context, id, runID string) (Execution, error) {
	d, err := c.Temporal.DescribeWorkflowExecution(ctx, id, runID)
	if err != nil {
		return Execution{}, err
	}
	info := d.GetWorkflowExecutionInfo()
	e := Execution{
		Run:     step.Run{WorkflowID: id, RunID: info.GetExecution().GetRunId()},
		Current: info.GetExecution().GetRunId(), Workflow: info.GetType().GetName(), Status: statusName(info.GetStatus()),
	}
	if first := info.GetFirstRunId(); first != "" {
		e.RunID = first
	}
	return e, nil
}

// Result waits for the end of the latest execution of a workflow, or of the one
// that runID names, and reads its result.
func (c *Client) Result(ctx context.Context, id, runID string, into any) error {
	return c.Temporal.GetWorkflow(ctx, id, runID).Get(ctx, into)
}

// Cancel asks for the end of a workflow.
func (c *Client) Cancel(ctx context.Context, id, runID string) error {
	return c.Temporal.CancelWorkflow(ctx, id, runID)
}

// Line is what Temporal's visibility knows of one workflow.
type Line struct {
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id"`
	Class      string    `json:"class"`
	Status     string    `json:"status"`
	Stage      string    `json:"stage"`
	Verdict    string    `json:"verdict"`
	Release    string    `json:"release"`
	Dataset    string    `json:"dataset"`
	Started    time.Time `json:"started"`
	Closed     time.Time `json:"closed,omitzero"`
}

// Running is the status of a workflow that has not ended.
var Running = statusName(enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING)

// maxPage is how many workflows are asked for at once.
const maxPage = 200

// List lists the workflows that a visibility query finds, the latest first, at
// most limit.
func (c *Client) List(ctx context.Context, query string, limit int) ([]Line, error) {
	lines := []Line{}
	var next []byte
	for len(lines) < limit {
		page, err := c.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: c.Namespace, Query: query, PageSize: int32(min(limit-len(lines), maxPage)), NextPageToken: next,
		})
		if err != nil {
			return lines, err
		}
		for _, info := range page.GetExecutions() {
			lines = append(lines, readLine(info))
		}
		if next = page.GetNextPageToken(); len(next) == 0 {
			break
		}
	}
	return lines, nil
}

// Describe is the line of one workflow's execution, the latest where runID is
// empty.
func (c *Client) Describe(ctx context.Context, id, runID string) (Line, error) {
	d, err := c.Temporal.DescribeWorkflowExecution(ctx, id, runID)
	if err != nil {
		return Line{}, err
	}
	return readLine(d.GetWorkflowExecutionInfo()), nil
}

// Scheduled is the line of a run that a schedule started: of its last execution,
// where it continued as new. Two runs started within one second have the same
// workflow identifier.
func (c *Client) Scheduled(ctx context.Context, w *sdk.ScheduleWorkflowExecution) (Line, error) {
	d, err := c.Temporal.DescribeWorkflowExecution(ctx, w.WorkflowID, "")
	if err == nil && d.GetWorkflowExecutionInfo().GetFirstRunId() != w.FirstExecutionRunID {
		d, err = c.Temporal.DescribeWorkflowExecution(ctx, w.WorkflowID, w.FirstExecutionRunID)
	}
	if err != nil {
		return Line{}, err
	}
	return readLine(d.GetWorkflowExecutionInfo()), nil
}

func readLine(info *workflowpb.WorkflowExecutionInfo) Line {
	l := Line{
		WorkflowID: info.GetExecution().GetWorkflowId(), RunID: info.GetExecution().GetRunId(),
		Status: statusName(info.GetStatus()), Started: info.GetStartTime().AsTime(),
	}
	if info.GetCloseTime() != nil {
		l.Closed = info.GetCloseTime().AsTime()
	}
	for attribute, into := range map[string]*string{
		workflows.DefectClass.GetName(): &l.Class, workflows.Stage.GetName(): &l.Stage,
		workflows.Verdict.GetName(): &l.Verdict, workflows.Release.GetName(): &l.Release,
		workflows.DatasetDigest.GetName(): &l.Dataset,
	} {
		if payload, ok := info.GetSearchAttributes().GetIndexedFields()[attribute]; ok {
			// Another type than ours says nothing.
			_ = converter.GetDefaultDataConverter().FromPayload(payload, into)
		}
	}
	return l
}

func statusName(s enumspb.WorkflowExecutionStatus) string { return strings.ToLower(s.String()) }

// NotFound reports that a workflow or a schedule is not there.
func NotFound(err error) bool {
	missing := (*serviceerror.NotFound)(nil)
	return errors.As(err, &missing)
}

// Looker finds out for campaigns how runs stand.
type Looker struct{ Temporal sdk.Client }

// Look implements campaign.Runs.
func (l Looker) Look(ctx context.Context, run step.Run) (step.RunState, error) {
	d, err := l.Temporal.DescribeWorkflowExecution(ctx, run.WorkflowID, "")
	if NotFound(err) {
		return step.RunState{Run: run, Ended: &step.RunOutcome{
			Status: step.RunCancelled, Reasons: []string{"the workflow server does not know the run any more"},
		}}, nil
	}
	if err != nil {
		return step.RunState{}, fmt.Errorf("describe run: %w", err)
	}
	line := readLine(d.GetWorkflowExecutionInfo())
	first := d.GetWorkflowExecutionInfo().GetFirstRunId()
	if run.RunID == "" {
		run.RunID = first
	}
	if first == run.RunID && line.Status == Running {
		return step.RunState{Run: run, Waiting: line.Stage == step.AwaitApproval}, nil
	}
	var result workflows.AugmentResult
	err = l.Temporal.GetWorkflow(ctx, run.WorkflowID, run.RunID).Get(ctx, &result)
	if unclear := (serviceerror.ServiceError)(nil); errors.As(err, &unclear) {
		return step.RunState{}, fmt.Errorf("result of run: %w", err)
	}
	ended := workflows.OutcomeOf(result, err)
	return step.RunState{Run: run, Ended: &ended}, ctx.Err()
}
