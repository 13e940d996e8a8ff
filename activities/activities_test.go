package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
)

type names []string

func (n *names) RegisterActivityWithOptions(_ any, o activity.RegisterOptions) {
	*n = append(*n, o.Name)
}

// Every stage of the table is registered in its role, and nothing but the steps of
// campaigns and clean-ups besides.
func TestRegisterByRole(t *testing.T) {
	want := map[step.Role][]string{step.IO: {
		"PlanCampaign", "ReadPlan", "LookAtRuns", "KeepOutcomes", "SummariseCampaign", "MarkReferences", "Sweep", "RecordCleanUp",
	}}
	for _, s := range step.Stages() {
		want[s.Role] = append(want[s.Role], s.Name)
	}
	require.Equal(t, []string{step.AwaitApproval}, want[0], "every other stage has a worker")
	want[step.All] = slices.Concat(want[step.IO], want[step.Training])
	for _, role := range []step.Role{step.IO, step.Training, step.All} {
		var got names
		Register(&got, Activities{Store: storage.New(memory.New())}, role)
		require.ElementsMatch(t, want[role], got, "role %d", role)
	}
}

// Every stage that a rerun may begin with is forecast, but for Ingest, which a
// forecast does.
func TestEveryStageIsForecast(t *testing.T) {
	for _, s := range step.Stages() {
		_, ok := looks[s.Name]
		require.Equal(t, s.From && s.Name != step.Ingest.String(), ok, s.Name)
	}
}

func TestTypedKnowsWhatNoRetryMends(t *testing.T) {
	for kind, err := range map[string]error{
		step.ErrCorrupt:           storage.ErrCorrupt,
		step.ErrCheckpointForeign: model.ErrForeign,
		step.ErrReleaseConflict:   release.ErrConflict,
		step.ErrBadInput:          release.ErrMalformed,
	} {
		var app *temporal.ApplicationError
		require.ErrorAs(t, typed(fmt.Errorf("read: %w", err)), &app)
		require.Equal(t, kind, app.Type())
		require.True(t, app.NonRetryable())
	}
	passing := errors.New("connection refused")
	require.Equal(t, passing, typed(passing))
	require.NoError(t, typed(nil))
}

// guarded runs fn as an activity behind guard.
func guarded(t *testing.T, stop chan struct{}, fn func(context.Context, int) (int, error)) error {
	t.Helper()
	env := activityEnv()
	env.SetTestTimeout(10 * time.Second)
	if stop != nil {
		env.SetWorkerStopChannel(stop)
	}
	s := step.Step[int, int]("Stage")
	s.Register(env, guard(fn))
	_, err := env.ExecuteActivity("Stage", 1)
	return err
}

func TestGuardHandsOverAStageWhoseWorkerStops(t *testing.T) {
	stop := make(chan struct{})
	err := guarded(t, stop, func(ctx context.Context, _ int) (int, error) {
		close(stop)
		<-ctx.Done()
		return 0, fmt.Errorf("read object: %w", ctx.Err())
	})
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, "HandOver", app.Type())
	require.False(t, app.NonRetryable())
	require.Equal(t, temporal.ApplicationErrorCategoryBenign, app.Category())
}

func TestGuardReportsHowFarAStageIs(t *testing.T) {
	env := activityEnv()
	var last atomic.Pointer[step.Progress]
	env.SetOnActivityHeartbeatListener(func(_ *activity.Info, v converter.EncodedValues) {
		var p step.Progress
		if v.HasValues() && v.Get(&p) == nil {
			last.Store(&p)
		}
	})
	s := step.Step[int, int]("Stage")
	s.Register(env, guard(func(ctx context.Context, _ int) (int, error) {
		counter(ctx)(3, 7)
		for deadline := time.Now().Add(20 * time.Second); last.Load() == nil && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		return 1, nil
	}))
	_, err := env.ExecuteActivity("Stage", 1)
	require.NoError(t, err)
	require.Equal(t, &step.Progress{Done: 3, Total: 7}, last.Load())
	counter(context.Background())(1, 2) // nobody listens
}

func TestGuardPassesOnOtherFailures(t *testing.T) {
	require.NoError(t, guarded(t, nil, func(context.Context, int) (int, error) { return 1, nil }))
	err := guarded(t, nil, func(context.Context, int) (int, error) { return 0, errors.New("connection refused") })
	require.ErrorContains(t, err, "connection refused")
	err = guarded(t, nil, func(context.Context, int) (int, error) { return 0, storage.ErrCorrupt })
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, step.ErrCorrupt, app.Type())
}

func TestStagesOutOfTouchSayWhy(t *testing.T) {
	ended := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		return ctx
	}
	err := fmt.Errorf("group images: %w", context.Canceled)
	late := outOfTouch(ended(context.DeadlineExceeded), err)
	require.EqualError(t, late, "group images: context canceled, as Temporal did not take a heartbeat: context deadline exceeded")
	require.ErrorIs(t, late, context.Canceled)
	require.Equal(t, err, outOfTouch(ended(nil), err), "a worker that ends")
	require.Equal(t, err, outOfTouch(ended(temporal.NewCanceledError()), err), "a run that is cancelled")
	require.Equal(t, storage.ErrCorrupt, outOfTouch(ended(context.DeadlineExceeded), storage.ErrCorrupt), "a failure of its own")
}
