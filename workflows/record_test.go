//go:build record

package workflows

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/deploy/devstack"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// TestMain lets the embedded stack start its store from this binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == devstack.StoreCommand {
		os.Exit(devstack.StoreMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// recorder is a server with workers on a bucket in memory.
func recorder(t *testing.T) (context.Context, client.Client, storage.Bucket) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	stack, err := devstack.Start(ctx, devstack.Config{DataDir: t.TempDir(), SearchAttributes: SearchAttributes()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stack.Stop(context.Background())) })
	c, err := client.Dial(client.Options{
		HostPort: stack.TemporalAddress, Namespace: stack.Namespace, Identity: "recorder",
		Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	b := memory.New()
	for queue, role := range map[string]step.Role{step.Queue: step.IO, step.TrainingQueue: step.Training} {
		w := worker.New(c, queue, worker.Options{})
		stages := actual(b)
		stages.Runs = recordedRuns{c}
		activities.Register(w, stages, role)
		if role == step.IO {
			Register(w)
		}
		require.NoError(t, w.Start())
		t.Cleanup(w.Stop)
	}
	return ctx, c, b
}

// TestRecord runs the workflow on an actual server and writes its histories to
// testdata/histories. It is no test of its own: see the README there.
func TestRecord(t *testing.T) {
	ctx, c, b := recorder(t)
	plain, chosen := tinyInput(t, b, "many", 110), selectingInput(t, b, "more")
	approved, late, unstable := plain, plain, plain
	approved.Policy = asking()
	late.Policy = asking()
	late.Policy.DeadlineHours = 2.0 / 3600
	unstable.Recipe.Seed = 2
	unstable.Recipe.Monitor.MemorisingAbove = 1e-6 // every discriminator is sure of something
	byImages := plain
	byImages.Recipe.Model.Channels, byImages.Recipe.Model.DiscriminatorNorm = spec.ChannelsAuto, spec.NormNone
	byImages.Recipe.Train.Steps, byImages.Recipe.Train.Epochs, byImages.Recipe.Train.LegEpochs = 20, 0, 0
	compared := comparingInput(t, b, "compared")
	compared.Policy = asking()
	for name, in := range map[string]AugmentInput{
		"augment-v4-published":          chosen,
		"augment-v4-not-approved":       tinyInput(t, b, "few", 20),
		"augment-v4-failed":             tinyInput(t, b, "none", 3),
		"augment-v4-approved-by-person": approved,
		"augment-v4-deadline":           late,
		"augment-v4-unstable":           unstable,
		"augment-v5-compared":           compared,
		"augment-v5-recovered":          hastyInput(t, b, "hasty"),
		"augment-v6-by-images":          byImages,
	} {
		if _, err := os.Stat(filepath.Join(histories, name+".json")); err == nil {
			continue // it may have been released
		}
		record(ctx, t, c, name, in)
	}
}

// TestRecordChange writes the histories of runs that ask whether there is
// something to do: one goes on, one finds that nothing changed, one waits.
func TestRecordChange(t *testing.T) {
	ctx, c, b := recorder(t)
	in := tinyInput(t, b, "many", 110)
	in.IfChanged = &step.IfChanged{}
	record(ctx, t, c, "augment-v3-changed", in)
	record(ctx, t, c, "augment-v3-unchanged", in)
	in.Recipe.Seed, in.IfChanged = 3, &step.IfChanged{MinNew: 200}
	in.Class = "dents"
	record(ctx, t, c, "augment-v3-waiting", in)
}

// TestRecordCleanUp writes the histories of a dry run and of a clean-up.
func TestRecordCleanUp(t *testing.T) {
	ctx, c, _ := recorder(t)
	for name, apply := range map[string]bool{"cleanup-v1-dry-run": false, "cleanup-v1-applied": true} {
		run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: name, TaskQueue: step.Queue}, CleanUpName,
			CleanUpInput{Apply: apply, Retention: step.Retention{GraceHours: 168, CheckpointHours: 168}})
		require.NoError(t, err)
		require.NoError(t, run.Get(ctx, nil))
		save(ctx, t, c, name, run)
	}
}

// approveWhenAsked sends a person's decision as soon as the run waits for one.
func approveWhenAsked(ctx context.Context, t *testing.T, c client.Client, id string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var s Status
		v, err := c.QueryWorkflow(ctx, id, "", StatusQuery)
		return err == nil && v.Get(&s) == nil && s.Deadline != nil
	}, time.Minute, 50*time.Millisecond)
	handle, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: DecideUpdate, WaitForStage: client.WorkflowUpdateStageCompleted,
		Args: []any{DecideInput{Approve: true, Who: "ada@line-3", Why: "looked at every image"}},
	})
	require.NoError(t, err)
	require.NoError(t, handle.Get(ctx, nil))
}

func record(ctx context.Context, t *testing.T, c client.Client, name string, in AugmentInput) {
	t.Helper()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: name, TaskQueue: step.Queue}, AugmentName, in)
	require.NoError(t, err)
	if in.Policy.DeadlineHours > 1 {
		approveWhenAsked(ctx, t, c, name)
	}
	t.Logf("%s: %v", name, run.Get(ctx, nil))
	keepHistory(ctx, t, c, run, name)
}

// keepHistory writes a run's history to testdata.
func keepHistory(ctx context.Context, t *testing.T, c client.Client, run client.WorkflowRun, name string) {
	t.Helper()
	save(ctx, t, c, name, run)
}

func save(ctx context.Context, t *testing.T, c client.Client, name string, run client.WorkflowRun) {
	t.Helper()
	var history historypb.History
	for events := c.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		require.NoError(t, err)
		history.Events = append(history.Events, event)
	}
	raw, err := temporalproto.CustomJSONMarshalOptions{Indent: " "}.Marshal(&history)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(histories, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(histories, name+".json"), raw, 0o644))
}
