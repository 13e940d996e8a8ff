// Package observe watches stages from outside, as an interceptor of the worker
// that runs them: it logs, counts and times them, and follows a training by its
// heartbeats. Stages know nothing of it.
package observe

import (
	"context"
	"log/slog"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// classHeader is the header in which a workflow sends its activities the class
// that it works on: few of their inputs have it.
const classHeader = "defectforge-class"

// Observer is what stages are observed with.
type Observer struct {
	// Log takes a line at each start and end of a stage, and what stages log
	// themselves. Every line says workflow_id, run_id, class, stage and attempt.
	Log     *slog.Logger
	Metrics *Metrics
	// Class is the search attribute that holds a workflow's class.
	Class temporal.SearchAttributeKeyKeyword
}

// Interceptor is for the options of workers, of those that run the workflows as
// well as those that run the stages.
func (o *Observer) Interceptor() interceptor.WorkerInterceptor {
	return &worker{observer: o}
}

type worker struct {
	interceptor.WorkerInterceptorBase
	observer *Observer
}

func (w *worker) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	a := &attempt{observer: w.observer}
	a.Next = next
	return a
}

func (w *worker) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &inbound{observer: w.observer}
	in.Next = next
	return in
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	observer *Observer
}

func (in *inbound) Init(next interceptor.WorkflowOutboundInterceptor) error {
	out := &outbound{observer: in.observer}
	out.Next = next
	return in.Next.Init(out)
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	observer *Observer
}

// ExecuteActivity sends the class along. Headers take no part in replay, so
// earlier histories replay as well.
func (out *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	if class, ok := workflow.GetTypedSearchAttributes(ctx).GetKeyword(out.observer.Class); ok {
		if p, err := converter.GetDefaultDataConverter().ToPayload(class); err == nil { // a string always has one
			interceptor.WorkflowHeader(ctx)[classHeader] = p
		}
	}
	return out.Next.ExecuteActivity(ctx, name, args...)
}

// classOf is the class that the workflow sent along, "" where it sent none.
func classOf(ctx context.Context) (class string) {
	if p, ok := interceptor.Header(ctx)[classHeader]; ok {
		_ = converter.GetDefaultDataConverter().FromPayload(p, &class) // else it stays unknown
	}
	return class
}
