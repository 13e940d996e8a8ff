package workflows

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/defectforge/defectforge/activities/retention"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/storagetest"
)

// cleanUp runs the workflow on the actual activities.
func cleanUp(t *testing.T, b storage.Bucket, apply bool) CleanUpResult {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	Register(env)
	nobody := func(context.Context, []string, string, func(string, []byte)) error { return nil }
	cleaner := retention.Cleaner{Store: storage.New(b), Running: nobody}
	step.MarkReferences.Register(env, cleaner.MarkReferences)
	step.Sweep.Register(env, cleaner.Sweep)
	step.RecordCleanUp.Register(env, cleaner.RecordCleanUp)
	env.ExecuteWorkflow(CleanUpName, CleanUpInput{Apply: apply, Retention: step.Retention{GraceHours: 24 * 7, CheckpointHours: 24 * 7}})
	require.NoError(t, env.GetWorkflowError())
	var out CleanUpResult
	require.NoError(t, env.GetWorkflowResult(&out))
	val, err := env.QueryWorkflow(StatusQuery)
	require.NoError(t, err)
	var told step.CleanUpReport
	require.NoError(t, val.Get(&told))
	require.Equal(t, out.Report, told)
	return out
}

// After a clean-up every release is as it was published, and the same run again
// ends with it.
func TestCleanUpLeavesReleasesAndRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; skipped in short mode")
	}
	b := memory.New()
	in := tinyInput(t, b, "many", 110)
	refused := tinyInput(t, b, "few", 20)
	refused.Recipe.Seed = 2
	first, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, spec.Pass, first.Verdict, first.Reasons)
	second, err := pipeline(t, b, refused)
	require.NoError(t, err)
	require.NotEqual(t, spec.Pass, second.Verdict)
	aged := storagetest.NewAged(b)
	require.NoError(t, aged.Age(t.Context(), "", 30*24*time.Hour))
	before := under(t, aged, "")

	dry := cleanUp(t, aged, false)
	require.NotZero(t, dry.Report.Total.Objects)
	require.Subset(t, under(t, aged, ""), before)
	done := cleanUp(t, aged, true)
	require.Equal(t, dry.Report.Removed, done.Report.Removed)
	require.True(t, done.Report.Applied)
	require.Equal(t, 1, done.Report.Mark.Releases)
	require.Less(t, len(under(t, aged, "artifacts/")), len(before))
	var stored step.CleanUpReport
	raw, err := storage.New(aged).Read(context.Background(), storage.Object(done.Record), 1<<20)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &stored))
	require.Equal(t, done.Report.Removed, stored.Removed)

	verified, err := release.Verify(context.Background(), aged, "scratches", first.Release)
	require.NoError(t, err)
	require.True(t, verified.OK, verified.Problems)
	again, err := pipeline(t, aged, in)
	require.NoError(t, err)
	require.Equal(t, first.ManifestSHA256, again.ManifestSHA256)
	redone, err := pipeline(t, aged, refused)
	require.NoError(t, err)
	require.Equal(t, second.Verdict, redone.Verdict)
	require.Equal(t, second.Reasons, redone.Reasons)
}

func TestCleanUpFailsWithTheStagesType(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	Register(env)
	step.MarkReferences.Register(env, func(context.Context, step.MarkInput) (step.MarkResult, error) {
		return step.MarkResult{}, temporal.NewNonRetryableApplicationError("no", step.ErrBadInput, errors.New("no"))
	})
	env.ExecuteWorkflow(CleanUpName, CleanUpInput{})
	var app *temporal.ApplicationError
	require.ErrorAs(t, env.GetWorkflowError(), &app)
	require.Equal(t, step.ErrBadInput, app.Type())
	require.Equal(t, "MarkReferences: no", app.Message())
}

func TestARunAnswersWhatItRefersTo(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	env := start(t, s, input(), nil)
	val, err := env.QueryWorkflow(ReferencesQuery)
	require.NoError(t, err)
	var told json.RawMessage
	require.NoError(t, val.Get(&told))
	for _, key := range []string{"dataset", "tensors", "after-12", "after-12.curves", "candidates", "neighbours", "html"} {
		require.Contains(t, string(told), `"key":"`+key+`"`)
	}
	require.Equal(t, []string{AugmentName, CampaignName}, typesThatRefer())
}
