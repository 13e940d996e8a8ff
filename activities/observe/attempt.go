package observe

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
)

// Outcomes of a stage's attempt, the values of the label "outcome".
const (
	Done       = "done"
	Failed     = "failed"      // and may be tried again
	Refused    = "refused"     // no retry would mend it
	Cancelled  = "cancelled"   // its run was
	HandedOver = "handed_over" // its worker stops, and another one takes over
)

var outcomes = []string{Done, Failed, Refused, Cancelled, HandedOver}

// attempt is one attempt at one stage.
type attempt struct {
	interceptor.ActivityInboundInterceptorBase
	observer *Observer
	stage    string
	class    string
	log      *slog.Logger
	slog     sdklog.Logger // log, as the SDK's

	mu   sync.Mutex
	last step.TrainProgress // of a training
}

func (a *attempt) Init(next interceptor.ActivityOutboundInterceptor) error {
	out := &attemptOutbound{attempt: a}
	out.Next = next
	return a.Next.Init(out)
}

// ExecuteActivity runs the stage.
func (a *attempt) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (out any, err error) {
	info := activity.GetInfo(ctx)
	a.begin(ctx, info)
	began, returned := time.Now(), false
	defer func() {
		if !returned { // it panics, which the SDK makes a failure of
			a.end(ctx, began, in, nil, errors.New("panic"))
		}
	}()
	out, err = a.Next.ExecuteActivity(ctx, in)
	returned = true
	a.end(ctx, began, in, out, err)
	return out, err
}

func (a *attempt) begin(ctx context.Context, info activity.Info) {
	a.stage, a.class = info.ActivityType.Name, classOf(ctx)
	a.log = a.observer.Log.With("workflow_id", info.WorkflowExecution.ID, "run_id", info.WorkflowExecution.RunID,
		"class", a.class, "stage", a.stage, "attempt", info.Attempt)
	span := trace.SpanFromContext(ctx)
	if c := span.SpanContext(); c.IsValid() {
		a.log = a.log.With("trace_id", c.TraceID().String(), "span_id", c.SpanID().String())
	}
	span.SetAttributes(attribute.String("defectforge.class", a.class), attribute.String("defectforge.stage", a.stage),
		attribute.Int("defectforge.attempt", int(info.Attempt)))
	a.slog = sdklog.NewStructuredLogger(a.log)
	a.observer.Metrics.begin(a.stage, a.class, info.Attempt)
	a.log.Info("stage starts")
}

func (a *attempt) end(ctx context.Context, began time.Time, in *interceptor.ExecuteActivityInput, out any, err error) {
	took := time.Since(began)
	result := outcome(err)
	m := a.observer.Metrics
	m.end(a.stage, a.class, result, took)
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("defectforge.outcome", result))
	log := a.log.With("outcome", result, "seconds", math.Round(took.Seconds()*1000)/1000)
	switch result {
	case Done:
		m.result(a.class, in, out)
		a.epochs(out)
		log.Info("stage ends", facts(out)...)
	case Failed:
		log.Warn("stage fails, and may be tried again", "error", err)
	case Refused:
		log.Error("stage fails for good", "error", err)
	default:
		log.Info("stage ends")
	}
}

// outcome is how an attempt ended, by its error.
func outcome(err error) string {
	var app *temporal.ApplicationError
	switch {
	case err == nil:
		return Done
	case errors.As(err, &app) && app.Category() == temporal.ApplicationErrorCategoryBenign:
		return HandedOver
	case errors.As(err, &app) && app.NonRetryable():
		return Refused
	case temporal.IsCanceledError(err) || errors.Is(err, context.Canceled):
		return Cancelled
	}
	return Failed
}

// progress takes a training's heartbeat.
func (a *attempt) progress(p step.TrainProgress) {
	a.mu.Lock()
	last := a.last
	a.last = p
	a.mu.Unlock()
	if p.Epoch == 0 || p.Step == last.Step { // nothing was done yet, or nothing since
		return
	}
	done := 0
	if last.Epoch > 0 && p.Epoch > last.Epoch {
		done = p.Epoch - last.Epoch
		a.log.Info("epochs done", "epoch", last.Epoch, "epochs", p.Epochs, "step", last.Step,
			"loss_real", last.LossReal, "loss_fake", last.LossFake, "loss_generator", last.LossG,
			"images_per_second", last.ImagesPerSecond)
	}
	a.observer.Metrics.training(a.class, p, done)
}

// epochs counts the last epoch of a leg, which no further heartbeat ends.
func (a *attempt) epochs(out any) {
	r, ok := out.(step.TrainResult)
	a.mu.Lock()
	last := a.last
	a.mu.Unlock()
	if ok && r.Alarm == nil && last.Epoch > 0 && r.Epoch == last.Epoch {
		a.observer.Metrics.epochs.Inc()
	}
}

// attemptOutbound stands between a stage and the SDK.
type attemptOutbound struct {
	interceptor.ActivityOutboundInterceptorBase
	attempt *attempt
}

func (o *attemptOutbound) GetLogger(context.Context) sdklog.Logger { return o.attempt.slog }

func (o *attemptOutbound) RecordHeartbeat(ctx context.Context, details ...any) {
	if len(details) == 1 {
		if p, ok := details[0].(step.TrainProgress); ok {
			o.attempt.progress(p)
		}
	}
	o.Next.RecordHeartbeat(ctx, details...)
}

// facts are what a stage's result says in a log line.
func facts(out any) []any {
	if r, ok := out.(interface{ Facts() []any }); ok {
		return r.Facts()
	}
	return nil
}
