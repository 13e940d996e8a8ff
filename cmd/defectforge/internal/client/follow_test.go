package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	sdk "go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/activities/step"
)

// server stands in for Temporal.
type server struct {
	sdk.Client
	started sdk.StartWorkflowOptions
	gone    bool
	end     chan error
}

func (s *server) ExecuteWorkflow(_ context.Context, o sdk.StartWorkflowOptions, _ any, _ ...any) (sdk.WorkflowRun, error) {
	s.started = o
	return &handle{id: o.ID, server: s}, nil
}

func (s *server) GetWorkflow(_ context.Context, id, _ string) sdk.WorkflowRun {
	return &handle{id: id, server: s}
}

func (s *server) DescribeWorkflowExecution(_ context.Context, id, runID string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if s.gone {
		return nil, serviceerror.NewUnavailable("gone")
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{
		Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: "current"}, FirstRunId: "first",
		Type: &commonpb.WorkflowType{Name: "W"}, Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
	}}, nil
}

// handle is one execution, which ends when its server says so.
type handle struct {
	sdk.WorkflowRun
	id     string
	server *server
}

func (h *handle) GetID() string    { return h.id }
func (h *handle) GetRunID() string { return "current" }

func (h *handle) Get(ctx context.Context, into any) error {
	select {
	case err := <-h.server.end:
		*into.(*string) = "result"
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shown keeps what a view was shown.
type shown struct {
	updates chan int
	closed  bool
}

func (s *shown) Update(n int) {
	select {
	case s.updates <- n:
	default:
	}
}
func (s *shown) Close() { s.closed = true }

// counting is a kind whose looks count up, and fail where the server is gone.
func counting(lastOfFailed bool) Kind[int, string] {
	n := 0
	return Kind[int, string]{every: time.Millisecond, lastOfFailed: lastOfFailed, Look: func(ctx context.Context, c *Client, id string) (int, error) {
		n++
		_, err := c.Temporal.DescribeWorkflowExecution(ctx, id, "")
		return n, err
	}}
}

func TestFollow(t *testing.T) {
	failure := errors.New("it broke")
	stop := errors.New("stopped by the user")
	for name, c := range map[string]struct {
		meet   func(*server, chan error, context.CancelCauseFunc)
		result string
		err    error
	}{
		"ends":                     {meet: func(s *server, _ chan error, _ context.CancelCauseFunc) { s.end <- nil }, result: "result"},
		"fails":                    {meet: func(s *server, _ chan error, _ context.CancelCauseFunc) { s.end <- failure }, result: "result", err: failure},
		"a part here fails":        {meet: func(_ *server, failed chan error, _ context.CancelCauseFunc) { failed <- failure }, err: failure},
		"the user stops":           {meet: func(_ *server, _ chan error, cancel context.CancelCauseFunc) { cancel(stop) }, err: stop},
		"the server is gone":       {meet: func(s *server, _ chan error, _ context.CancelCauseFunc) { s.gone = true }, err: ErrServerGone},
		"the server says it stops": {meet: func(s *server, _ chan error, _ context.CancelCauseFunc) { s.end <- serviceerror.NewUnavailable("x") }, result: "result", err: ErrServerGone},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			s, v, failed := &server{end: make(chan error, 1)}, &shown{updates: make(chan int, 1)}, make(chan error, 1)
			c.meet(s, failed, cancel)
			got, err := counting(false).Follow(ctx, &Client{Temporal: s}, Execution{Run: step.Run{WorkflowID: "w"}, Current: "r"}, v, failed)
			assert.Equal(t, c.result, got)
			assert.ErrorIs(t, err, c.err)
			assert.True(t, v.closed)
		})
	}
}

// A view sees how far something is while it goes, and once more at its end; that
// of one that failed only where its kind shows it.
func TestFollowShowsHowFarItIs(t *testing.T) {
	for _, lastOfFailed := range []bool{false, true} {
		s, v := &server{end: make(chan error, 1)}, &shown{updates: make(chan int, 1000)}
		s.end <- errors.New("broken")
		k := counting(lastOfFailed)
		k.every = time.Hour // the end comes first
		_, err := k.Follow(t.Context(), &Client{Temporal: s}, Execution{}, v, nil)
		require.Error(t, err)
		assert.Equal(t, lastOfFailed, len(v.updates) == 1)
	}
	s, v := &server{end: make(chan error)}, &shown{updates: make(chan int)}
	done := make(chan error, 1)
	go func() {
		_, err := counting(false).Follow(t.Context(), &Client{Temporal: s}, Execution{}, v, nil)
		done <- err
	}()
	assert.Positive(t, <-v.updates)
	s.end <- nil
	require.NoError(t, <-done)
}

func TestTakeOver(t *testing.T) {
	failure := errors.New("it broke")
	endings := []error{ErrTakeOver, ErrTakeOver, failure}
	again := 0
	err := TakeOver(func() error { defer func() { endings = endings[1:] }(); return endings[0] }, func() { again++ })
	assert.Equal(t, failure, err)
	assert.Equal(t, 2, again)
	assert.NoError(t, TakeOver(func() error { return nil }, func() { t.Fatal("taken over") }))
}

// What is started is found by its first execution; alone, it is not attached to.
func TestStart(t *testing.T) {
	s := &server{}
	c := &Client{Temporal: s, Queue: "q"}
	e, err := c.Start(t.Context(), Job{ID: "w", Workflow: "W", Summary: "words"})
	require.NoError(t, err)
	assert.Equal(t, Execution{Run: step.Run{WorkflowID: "w", RunID: "first"}, Current: "current"}, e)
	assert.Equal(t, enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING, s.started.WorkflowIDConflictPolicy)
	assert.Equal(t, "q", s.started.TaskQueue)
	_, err = c.Start(t.Context(), Job{ID: "w", Workflow: "W", Alone: true})
	require.NoError(t, err)
	assert.Equal(t, enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL, s.started.WorkflowIDConflictPolicy)
	assert.True(t, s.started.WorkflowExecutionErrorWhenAlreadyStarted)
	found, err := c.Attach(t.Context(), "w", "")
	require.NoError(t, err)
	assert.Equal(t, Execution{Run: step.Run{WorkflowID: "w", RunID: "first"}, Current: "current", Workflow: "W", Status: Running}, found)
	s.gone = true
	_, err = c.Attach(t.Context(), "w", "")
	assert.Error(t, err)
	assert.False(t, NotFound(err))
	assert.True(t, NotFound(serviceerror.NewNotFound("x")))
}
