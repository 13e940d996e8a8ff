package workflows

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

func TestCampaignKeepsItsLimit(t *testing.T) {
	f := newFleet(t, 30)
	f.run = func(ctx workflow.Context, in AugmentInput) (AugmentResult, error) {
		require.Equal(t, "campaign-queue", in.TrainingQueue)
		require.Equal(t, AugmentID(in), workflow.GetInfo(ctx).WorkflowExecution.ID, "as `run` would call it")
		seconds := 10 + 7*int(in.Class[len(in.Class)-1]-'0')
		return published(in), workflow.Sleep(ctx, time.Duration(seconds)*time.Second)
	}
	in := campaignInput(4)
	in.TrainingQueue = "campaign-queue"
	env := f.start(in, nil)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, 4, f.top)
	require.Len(t, f.outcomes(), 30)
	for _, item := range f.items {
		require.Equal(t, 1, f.began[item.Class])
	}
	var out CampaignResult
	require.NoError(t, env.GetWorkflowResult(&out))
	require.Equal(t, step.RunCounts{Published: 30}, out.Counts)
	require.Equal(t, ref("page"), out.Report)
	require.Equal(t, ref("plan"), f.sum.Plan)
	require.Equal(t, 2, f.sum.Loose)
	require.Greater(t, f.sum.Seconds, 100.0)
	// Each document of outcomes names the one before it.
	require.True(t, f.kept[0].Before.IsZero())
	for i, k := range f.kept[1:] {
		require.Equal(t, ref(fmt.Sprintf("outcomes-%d", i)), k.Before)
	}
	require.Equal(t, ref(fmt.Sprintf("outcomes-%d", len(f.kept)-1)), f.sum.Head)
}

func TestCampaignGoesOnAfterFailures(t *testing.T) {
	f := newFleet(t, 9)
	f.run = func(ctx workflow.Context, in AugmentInput) (AugmentResult, error) {
		switch in.Class {
		case "class-00001":
			return AugmentResult{}, temporal.NewNonRetryableApplicationError("Ingest: 3 usable images", step.ErrTooFewImages, nil)
		case "class-00004":
			return AugmentResult{}, errors.New("a bug")
		case "class-00006":
			return AugmentResult{Verdict: spec.Fail, Reasons: []string{"1", "2", "3", "4", "5", string(make([]byte, 10_000))}}, nil
		}
		return published(in), workflow.Sleep(ctx, time.Second)
	}
	env := f.start(campaignInput(2), nil)
	require.NoError(t, env.GetWorkflowError())
	var out CampaignResult
	require.NoError(t, env.GetWorkflowResult(&out))
	require.Equal(t, step.RunCounts{Published: 6, NotApproved: 1, Failed: 2}, out.Counts)
	all := f.outcomes()
	require.Equal(t, step.ErrTooFewImages, all["class-00001"].FailureType)
	require.Equal(t, []string{"Ingest: 3 usable images"}, all["class-00001"].Reasons)
	require.Equal(t, step.RunFailed, all["class-00004"].Status)
	require.Len(t, all["class-00006"].Reasons, 5, "bounded")
	require.Equal(t, "and 2 more", all["class-00006"].Reasons[4])
	require.Equal(t, "r-class-00008", all["class-00008"].Release)
}

// TestCampaignContinuesAsNew: the second execution finds the runs that the first
// one started by looking, as the server reports nothing of them to it.
func TestCampaignContinuesAsNew(t *testing.T) {
	f := newFleet(t, 25)
	f.perPage = 10
	looks := map[string]int{}
	f.look = func(run step.Run) step.RunState {
		require.NotEmpty(t, run.RunID)
		if looks[run.WorkflowID]++; looks[run.WorkflowID] < 3 {
			return step.RunState{Run: run}
		}
		return step.RunState{Run: run, Ended: &step.RunOutcome{Status: step.RunPublished, Verdict: spec.Pass, Release: "r"}}
	}
	last, executions := f.chain(campaignInput(3), func(n int, env *testsuite.TestWorkflowEnvironment) {
		if n < 3 {
			env.RegisterDelayedCallback(func() { env.SetContinueAsNewSuggested(true) }, 150*time.Second)
		}
	})
	require.NoError(t, last.GetWorkflowError())
	require.Equal(t, 3, executions)
	require.Len(t, f.outcomes(), 25, "none lost, none twice")
	for _, item := range f.items {
		require.Equal(t, 1, f.began[item.Class], item.Class)
	}
	require.Equal(t, 3, f.top)
	require.NotEmpty(t, looks)
	var out CampaignResult
	require.NoError(t, last.GetWorkflowResult(&out))
	require.Equal(t, step.RunCounts{Published: 25}, out.Counts)
	require.Equal(t, len(f.kept)-1, f.kept[len(f.kept)-1].Number)
}

// TestCampaignOfThousands: no payload grows with the number of classes.
func TestCampaignOfThousands(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of runs; skipped in short mode")
	}
	const classes = 2000
	f := newFleet(t, classes)
	f.look = func(run step.Run) step.RunState {
		return step.RunState{Run: run, Ended: &step.RunOutcome{Status: step.RunPublished}}
	}
	last, executions := f.chain(campaignInput(20), func(n int, env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { env.SetContinueAsNewSuggested(true) }, 30*time.Minute)
	})
	require.NoError(t, last.GetWorkflowError())
	require.Greater(t, executions, 3)
	require.Len(t, f.outcomes(), classes)
	require.Equal(t, 20, f.top)
	require.Less(t, f.largest, 64<<10)
}

// TestCampaignAttaches: a run that is under way already is found and waited for,
// not begun again and not failed. Here two items ask for the same run.
func TestCampaignAttaches(t *testing.T) {
	f := newFleet(t, 3)
	f.items[1].Class, f.items[1].Source = f.items[0].Class, f.items[0].Source
	there := AugmentID(AugmentInput{Class: f.items[0].Class, Source: f.items[0].Source, Recipe: spectest.Quick(), Policy: spec.CopyingPolicy()})
	f.look = func(run step.Run) step.RunState {
		require.Equal(t, there, run.WorkflowID)
		run.RunID = "theirs"
		if f.looked < 3 {
			return step.RunState{Run: run}
		}
		return step.RunState{Run: run, Ended: &step.RunOutcome{Status: step.RunPublished, Release: "r"}}
	}
	env := f.start(campaignInput(3), nil)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, 1, f.began[f.items[0].Class])
	out := f.outcomes()["class-00001"]
	require.True(t, out.Attached)
	require.Equal(t, step.Run{WorkflowID: there, RunID: "theirs"}, out.Run)
	require.Equal(t, step.RunPublished, out.Status)
}

// TestCampaignDoesNotWaitForPeople: a run that waits for a person leaves its place
// to others.
func TestCampaignDoesNotWaitForPeople(t *testing.T) {
	f := newFleet(t, 6)
	in := campaignInput(2)
	in.Policy = asking()
	deciding := 0
	f.run = func(ctx workflow.Context, in AugmentInput) (AugmentResult, error) {
		deciding++
		return published(in), workflow.Sleep(ctx, 20*time.Hour)
	}
	f.look = func(run step.Run) step.RunState { return step.RunState{Run: run, Waiting: true} }
	env := f.start(in, nil)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, 6, f.top)
	require.Less(t, f.sum.Seconds, 21*3600.0, "all waited at the same time")
}

func TestCampaignOfUnpublished(t *testing.T) {
	f := newFleet(t, 2)
	f.run = func(_ workflow.Context, in AugmentInput) (AugmentResult, error) {
		require.True(t, in.Unpublished)
		return AugmentResult{Verdict: spec.Pass, Unpublished: true, Reasons: []string{"publishing: no"}}, nil
	}
	in := campaignInput(2)
	in.Kind, in.Plan, in.Unpublished = step.KindSweep, ref("plan"), true
	other := spectest.Quick()
	other.Seed = 9
	f.items[1].Recipe, f.items[1].Class = &other, f.items[0].Class+"b"
	env := f.start(in, nil)
	require.NoError(t, env.GetWorkflowError())
	var out CampaignResult
	require.NoError(t, env.GetWorkflowResult(&out))
	require.Equal(t, step.RunCounts{Passed: 2}, out.Counts)
	require.Empty(t, f.outcomes()[f.items[0].Class].Reasons)
}

// TestCampaignCancelled cancels what it began, and sums up what there is.
func TestCampaignCancelled(t *testing.T) {
	f := newFleet(t, 10)
	cancelled := 0
	f.run = func(ctx workflow.Context, in AugmentInput) (AugmentResult, error) {
		err := workflow.Sleep(ctx, time.Hour)
		if temporal.IsCanceledError(err) {
			cancelled++
		}
		return published(in), err
	}
	env := f.start(campaignInput(3), func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(env.CancelWorkflow, 90*time.Minute)
	})
	require.True(t, temporal.IsCanceledError(env.GetWorkflowError()), env.GetWorkflowError())
	require.Equal(t, 3, cancelled)
	require.True(t, f.sum.Cancelled)
	require.Len(t, f.outcomes(), 6)
	counts := step.RunCounts{}
	for _, o := range f.outcomes() {
		counts.Add(o.Status)
	}
	require.Equal(t, step.RunCounts{Published: 3, Cancelled: 3}, counts)
}

// TestCampaignCancelledAfterContinuing cancels the runs of earlier executions too.
func TestCampaignCancelledAfterContinuing(t *testing.T) {
	f := newFleet(t, 4)
	told := map[string]bool{}
	f.look = func(run step.Run) step.RunState {
		if !told[run.WorkflowID] {
			return step.RunState{Run: run}
		}
		return step.RunState{Run: run, Ended: &step.RunOutcome{Status: step.RunCancelled}}
	}
	last, executions := f.chain(campaignInput(2), func(n int, env *testsuite.TestWorkflowEnvironment) {
		if n == 1 {
			env.RegisterDelayedCallback(func() { env.SetContinueAsNewSuggested(true) }, 10*time.Second)
			return
		}
		env.OnRequestCancelExternalWorkflow(mock.Anything, mock.Anything, mock.Anything).Return(func(_, id,
			_ string) error {
			told[id] = true
			return nil
		})
		env.RegisterDelayedCallback(env.CancelWorkflow, time.Hour)
	})
	require.True(t, temporal.IsCanceledError(last.GetWorkflowError()))
	require.Equal(t, 2, executions)
	require.Len(t, told, 2)
	require.Len(t, f.outcomes(), 2)
	require.True(t, f.sum.Cancelled)
}

func TestCampaignStatus(t *testing.T) {
	f := newFleet(t, 8)
	f.start(campaignInput(2), func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() {
			v, err := env.QueryWorkflow(StatusQuery)
			require.NoError(t, err)
			var s CampaignStatus
			require.NoError(t, v.Get(&s))
			require.Equal(t, 8, s.Items)
			require.Equal(t, 2, s.Counts.Done())
			require.Len(t, s.Running, 2)
			require.Equal(t, "class-00002", s.Running[0].Name)
			require.Equal(t, 1, s.Recent[0].Number)
			require.Equal(t, stageRuns, s.Stage)

			v, err = env.QueryWorkflow(ReferencesQuery)
			require.NoError(t, err)
			var refs campaignReferences
			require.NoError(t, v.Get(&refs))
			require.Equal(t, ref("plan"), refs.Progress.Plan, "a clean-up must keep it")
		}, 90*time.Second)
	})
}

func TestCampaignRefuses(t *testing.T) {
	for name, change := range map[string]func(*CampaignInput){
		"concurrency":   func(in *CampaignInput) { in.Concurrency = 0 },
		"kind":          func(in *CampaignInput) { in.Kind = "other" },
		"source.bucket": func(in *CampaignInput) { in.Source = step.Source{} },
	} {
		in := campaignInput(1)
		change(&in)
		require.ErrorContains(t, newFleet(t, 1).start(in, nil).GetWorkflowError(), name)
	}
}

// TestAugmentIDStays: a run under way is found by later versions.
func TestAugmentIDStays(t *testing.T) {
	in := AugmentInput{Class: "scratches", Source: step.Source{Bucket: "b", Prefix: "p/"}, Policy: spec.Policy{}}
	require.Equal(t, "augment-scratches-"+spec.Digest(struct {
		Source  step.Source
		Recipe  spec.Recipe
		Policy  spec.Policy
		Utility *step.UtilityPlan
	}{in.Source, in.Recipe, in.Policy, in.Utility})[:12], AugmentID(in))
	in.Unpublished = true
	require.NotEqual(t, AugmentID(AugmentInput{Class: "scratches", Source: in.Source}), AugmentID(in))
}
