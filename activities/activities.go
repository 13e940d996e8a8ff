// Package activities holds the stages of an augmentation. Each takes and gives
// references into the store, may run more than once, and leaves the same bytes
// however often it was stopped on the way.
package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/campaign"
	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/retention"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// Activities is what the stages work with.
type Activities struct {
	Store *storage.Store
	// Releases is the bucket that releases are published in, by a credential of
	// its own; nil where that is Store's.
	Releases storage.Bucket
	// Sources opens the bucket that images are read from.
	Sources func(ctx context.Context, bucket string) (storage.Reader, error)
	// Scratch is the folder for temporary files; empty means the system's.
	Scratch string
	// Webhook gets notices of runs that wait for somebody, and of how runs end.
	Webhook Webhook
	// Lineage gets events that say what runs read and made.
	Lineage Lineage
	// Signer signs releases' manifests; nil leaves them unsigned.
	Signer release.Signer
	// License is that of published images, as release.Draft takes it.
	License string
	// Runs looks up, for campaigns, how the runs stand that they cannot wait for.
	Runs campaign.Runs
}

// Register makes the stages of a role known to a worker.
func Register(r step.Registry, a Activities, role step.Role) {
	if role&step.IO != 0 {
		step.Ingest.Register(r, guard(func(ctx context.Context, in step.IngestInput) (step.IngestResult, error) {
			a.Lineage.started(ctx, in)
			return Ingester{Store: a.Store, Sources: a.Sources, Progress: counter(ctx)}.Ingest(ctx, in)
		}))
		step.Preprocess.Register(r, guard(func(ctx context.Context, in step.PreprocessInput) (step.PreprocessResult, error) {
			return Preprocessor{Store: a.Store, Sources: a.Sources, Progress: counter(ctx)}.Preprocess(ctx, in)
		}))
		step.CheckChange.Register(r, guard(ChangeChecker{Store: a.Store, Lineage: a.Lineage}.CheckChange))
		step.Choose.Register(r, guard(Chooser{Store: a.Store, Scratch: a.Scratch}.Choose))
		step.CheckOverfit.Register(r, guard(Checker{Store: a.Store, Scratch: a.Scratch}.CheckOverfit))
		step.Assess.Register(r, guard(Assessor{Store: a.Store, Scratch: a.Scratch}.Assess))
		step.Report.Register(r, guard(Reporter{Store: a.Store}.Report))
		step.Notify.Register(r, guard(Notifier{Webhook: a.Webhook, Lineage: a.Lineage}.Notify))
		step.Publish.Register(r, guard(Publisher{Store: a.Store, Releases: a.Releases, Signer: a.Signer, License: a.License}.Publish))
		step.RecordRun.Register(r, guard(Recorder{Store: a.Store, Lineage: a.Lineage}.RecordRun))
		registerCampaign(r, a)
		registerCleanUp(r, a)
	}
	if role&step.Training != 0 {
		// Train beats by itself: its heartbeats say how far it is.
		step.Train.Register(r, classify(Trainer{Store: a.Store, Scratch: a.Scratch}.Train))
		step.Evaluate.Register(r, guard(Evaluator{Store: a.Store, Scratch: a.Scratch}.Evaluate))
		step.Sample.Register(r, guard(Sampler{Store: a.Store, Scratch: a.Scratch}.Sample))
		step.Utility.Register(r, guard(func(ctx context.Context, in step.UtilityInput) (step.UtilityResult, error) {
			return UtilityTester{Store: a.Store, Sources: a.Sources, Scratch: a.Scratch, Progress: counter(ctx)}.TestUtility(ctx, in)
		}))
	}
}

func registerCleanUp(r step.Registry, a Activities) {
	cleaner := func(ctx context.Context) retention.Cleaner {
		return retention.Cleaner{
			Store: a.Store, KeepReleases: a.Releases != nil, Progress: counter(ctx),
			Scratch: func() (string, func(), error) { return scratch(a.Scratch) },
		}
	}
	step.MarkReferences.Register(r, guard(func(ctx context.Context, in step.MarkInput) (step.MarkResult, error) {
		return cleaner(ctx).MarkReferences(ctx, in)
	}))
	step.Sweep.Register(r, guard(func(ctx context.Context, in step.SweepInput) (step.SweepResult, error) {
		return cleaner(ctx).Sweep(ctx, in)
	}))
	step.RecordCleanUp.Register(r, guard(retention.Cleaner{Store: a.Store}.RecordCleanUp))
}

func registerCampaign(r step.Registry, a Activities) {
	step.PlanCampaign.Register(r, guard(func(ctx context.Context, in step.PlanInput) (step.PlanResult, error) {
		return campaign.Planner{Store: a.Store, Sources: a.Sources, Progress: counter(ctx)}.PlanCampaign(ctx, in)
	}))
	step.ReadPlan.Register(r, guard(campaign.Planner{Store: a.Store}.ReadPlan))
	step.LookAtRuns.Register(r, guard(campaign.Looker{Runs: a.Runs}.LookAtRuns))
	step.KeepOutcomes.Register(r, guard(campaign.Campaigner{Store: a.Store}.KeepOutcomes))
	step.SummariseCampaign.Register(r, guard(campaign.Campaigner{Store: a.Store}.SummariseCampaign))
}

// errHandOver is why a stage's context ends when its worker stops.
var errHandOver = errors.New("worker stops: the stage is handed over")

// handedOver is the failure of a stage whose worker stops: a benign one, after
// which another attempt may begin at once.
func handedOver() error {
	return temporal.NewApplicationErrorWithOptions(errHandOver.Error(), "HandOver", temporal.ApplicationErrorOptions{
		Category: temporal.ApplicationErrorCategoryBenign, NextRetryDelay: 100 * time.Millisecond,
	})
}

// stopping reports whether the activity's worker is being stopped.
func stopping(ctx context.Context) bool {
	select {
	case <-activity.GetWorkerStopChannel(ctx):
		return true
	default:
		return false
	}
}

// guard makes fn a well-behaved activity: it shows signs of life, ends at once
// when the worker stops or the run is cancelled, and gives failures that no
// retry mends their type.
func guard[In, Out any](fn func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	return classify(func(ctx context.Context, in In) (Out, error) {
		var counted atomic.Pointer[step.Progress]
		ctx, cancel := context.WithCancelCause(context.WithValue(ctx, counterKey{}, &counted))
		defer cancel(nil)
		stop := beat(ctx, func() []any {
			if p := counted.Load(); p != nil {
				return []any{*p}
			}
			return nil
		})
		defer stop()
		go func() {
			select {
			case <-activity.GetWorkerStopChannel(ctx):
				cancel(errHandOver)
			case <-ctx.Done():
			}
		}()
		out, err := fn(ctx, in)
		if err != nil && errors.Is(context.Cause(ctx), errHandOver) {
			return out, handedOver()
		}
		return out, outOfTouch(ctx, err)
	})
}

// outOfTouch says why a stage's context ended where Temporal lost touch with
// it: no heartbeat arrived in time, or the attempt was given up.
func outOfTouch(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if !errors.Is(err, context.Canceled) || cause == nil || errors.Is(cause, context.Canceled) || temporal.IsCanceledError(cause) {
		return err
	}
	return fmt.Errorf("%w, as Temporal did not take a heartbeat: %w", err, cause)
}

// counterKey is the context key of a guarded stage's progress.
type counterKey struct{}

// counter is what a guarded stage reports its progress to, for its heartbeats
// to carry. Outside guard it does nothing. It may be called from several
// goroutines.
func counter(ctx context.Context) func(done, total int) {
	counted, ok := ctx.Value(counterKey{}).(*atomic.Pointer[step.Progress])
	if !ok {
		return func(int, int) {}
	}
	return func(done, total int) { counted.Store(&step.Progress{Done: done, Total: total}) }
}

// beat records heartbeats with what details gives, often enough for the
// activity's heartbeat timeout, until the returned function is called.
func beat(ctx context.Context, details func() []any) (stop func()) {
	every := activity.GetInfo(ctx).HeartbeatTimeout / 4
	every = min(cmp.Or(every, 2*time.Second), 2*time.Second)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				activity.RecordHeartbeat(ctx, details()...)
			case <-done:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// classify gives their type to errors that no retry mends.
func classify[In, Out any](fn func(context.Context, In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) {
		out, err := fn(ctx, in)
		return out, typed(err)
	}
}

// typed is err as the workflow should see it.
func typed(err error) error {
	var app *temporal.ApplicationError
	if err == nil || errors.As(err, &app) {
		return err
	}
	for _, known := range []struct {
		sentinel error
		kind     string
	}{
		{model.ErrForeign, step.ErrCheckpointForeign},
		{storage.ErrCorrupt, step.ErrCorrupt},
		{checkpoint.ErrChecksum, step.ErrCorrupt},
		{checkpoint.ErrFormat, step.ErrCorrupt},
		{checkpoint.ErrLimit, step.ErrCorrupt},
		{ledger.ErrFormat, step.ErrCorrupt},
		{release.ErrConflict, step.ErrReleaseConflict},
		{release.ErrWithdrawn, step.ErrReleaseConflict},
		{release.ErrMalformed, step.ErrBadInput},
	} {
		if errors.Is(err, known.sentinel) {
			return ledger.Permanent(known.kind, "%w", err)
		}
	}
	return err
}
