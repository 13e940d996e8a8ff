package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

func TestAugmentPublishesWhatPassed(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	env := start(t, s, input(), nil)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"Ingest", "Preprocess", "Train", "Train", "Train", "Sample", "CheckOverfit", "Assess",
		"Report", "Publish", "RecordRun"}, s.calls)

	var got AugmentResult
	require.NoError(t, env.GetWorkflowResult(&got))
	require.NotEmpty(t, got.Times)
	got.Times = nil
	require.Equal(t, AugmentResult{
		Verdict: spec.Pass, Release: "r1", Prefix: "releases/scratches/r1", ManifestSHA256: "m1",
		Report: ref("report.html"), Record: ref("run.json"), ImagesIn: 303, ImagesQuarantined: 3, ImagesPublished: 118,
		Approval: step.Approval{Approved: true, By: step.ByPolicy},
	}, got)
	require.Equal(t, got.Approval, s.publish.Approval)
	require.Equal(t, spec.CopyingPolicy(), s.assess.Policy, "as in earlier versions")
	require.Equal(t, ref("dataset"), s.assess.Dataset)
	require.False(t, s.assess.Utility.Done)
	for stage, queue := range s.queues {
		want := "default-test-taskqueue"
		if stage == "Train" || stage == "Sample" {
			want = step.TrainingQueue
		}
		require.Equal(t, want, queue, stage)
	}
	require.Equal(t, ref("after-12"), s.publish.Checkpoint)
	require.Equal(t, ref("neighbours"), s.publish.Neighbours)
	require.Equal(t, ref("html"), s.publish.Report.HTML)
	require.Equal(t, ref("tensors"), s.overfit.Tensors)
	require.Equal(t, "r1", s.record.Publish.Release)
	require.Equal(t, "default-test-workflow-id", s.record.Outcome.Run.WorkflowID)
	require.NotEmpty(t, s.record.Outcome.Run.RunID)

	var names []string
	for _, st := range s.record.Outcome.Times {
		names = append(names, st.Stage)
	}
	require.Equal(t, []string{"Ingest", "Preprocess", "Train", "Sample", "CheckOverfit", "Assess", "Report", "Publish"}, names)
}

func TestAugmentTrainsOnTheQueueItIsGiven(t *testing.T) {
	s, in := &stages{verdict: spec.Pass}, input()
	in.TrainingQueue = "gpu"
	require.NoError(t, start(t, s, in, nil).GetWorkflowError())
	require.Equal(t, "gpu", s.queues["Train"])
	require.Equal(t, "gpu", s.queues["Sample"])
	require.Equal(t, "default-test-taskqueue", s.queues["Publish"])
}

func TestAugmentSplitsTrainingIntoLegs(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	in := input()
	in.Recipe.Train.Epochs, in.Recipe.Train.LegEpochs = 21, 5
	require.NoError(t, start(t, s, in, nil).GetWorkflowError())
	type leg struct {
		from, to   int
		checkpoint string
		superseded []string
	}
	var legs []leg
	for _, in := range s.trained {
		l := leg{from: in.FromEpoch, to: in.ToEpoch, checkpoint: in.Checkpoint.Key}
		for _, r := range in.Superseded {
			l.superseded = append(l.superseded, r.Key)
		}
		require.Equal(t, ref("tensors"), in.Tensors)
		if !in.Checkpoint.IsZero() {
			require.Equal(t, in.Checkpoint.Key+".curves", in.Curves.Key)
		}
		legs = append(legs, l)
	}
	require.Equal(t, []leg{
		{0, 5, "", nil},
		{5, 10, "after-5", nil},
		{10, 15, "after-10", []string{"after-5"}},
		{15, 20, "after-15", []string{"after-10"}},
		{20, 21, "after-20", []string{"after-15"}},
	}, legs)
}

// What a recipe leaves to the images is decided once they are known: every stage from
// training on has one recipe, while the run is remembered by the one that was asked for.
func TestAugmentDecidesByTheImages(t *testing.T) {
	for coloured, channels := range map[int]string{0: spec.ChannelsGrey, 3: spec.ChannelsColour} {
		s := &stages{verdict: spec.Pass, coloured: &coloured}
		in := input()
		in.Recipe = spec.Quick()
		env := start(t, s, in, nil)
		require.NoError(t, env.GetWorkflowError())
		want := in.Recipe.ForImages(spec.Images{Training: 240, Grey: coloured == 0})
		require.Equal(t, channels, want.Model.Channels)
		require.Len(t, s.trained, want.Train.Legs())
		for _, leg := range s.trained {
			require.Equal(t, want, leg.Recipe)
		}
		require.Equal(t, want.Train.Epochs, s.trained[len(s.trained)-1].ToEpoch)
		require.Equal(t, in.Recipe, s.publish.Recipe)
		require.Equal(t, in.Recipe, s.record.Outcome.Recipe)
		require.Equal(t, want, s.record.Outcome.Decided())
		var status Status
		value, err := env.QueryWorkflow(StatusQuery)
		require.NoError(t, err)
		require.NoError(t, value.Get(&status))
		require.Equal(t, want.Train.Epochs, status.Epochs)
	}
}

func TestKeepLastKeepsWhatARetryNeeds(t *testing.T) {
	a, b, c := ref("a"), ref("b"), ref("c")
	for _, tt := range []struct {
		stored     []step.Ref
		keep       int
		stay, gone int
	}{
		{nil, 2, 0, 0}, {[]step.Ref{a}, 2, 1, 0}, {[]step.Ref{a, b}, 2, 1, 1}, {[]step.Ref{a, b, c}, 2, 1, 2},
		{[]step.Ref{a}, 1, 1, 0}, {[]step.Ref{a, b}, 0, 1, 1}, {[]step.Ref{a, b, c}, 9, 3, 0},
	} {
		stay, gone := keepLast(tt.stored, tt.keep)
		require.Len(t, stay, tt.stay, "%v", tt)
		require.Len(t, gone, tt.gone, "%v", tt)
		if len(tt.stored) > 0 {
			require.Equal(t, tt.stored[len(tt.stored)-1], stay[len(stay)-1])
		}
	}
}

func TestAugmentTakesALaterStateThanAsked(t *testing.T) {
	s := &stages{verdict: spec.Pass, trainTo: func(in step.TrainInput) int { return in.Recipe.Train.Epochs }}
	require.NoError(t, start(t, s, input(), nil).GetWorkflowError())
	require.Len(t, s.trained, 1)
	require.Equal(t, ref("after-12"), s.publish.Checkpoint)
}

func TestAugmentRefusesALegThatStoppedShort(t *testing.T) {
	s := &stages{verdict: spec.Pass, trainTo: func(in step.TrainInput) int { return in.FromEpoch }}
	err := start(t, s, input(), nil).GetWorkflowError()
	require.ErrorContains(t, err, "training stopped after epoch 0")
	require.Len(t, s.trained, 1)
}

func TestAugmentPublishesNothingElse(t *testing.T) {
	for _, verdict := range []string{spec.Fail, spec.Inconclusive, "", "PASS"} {
		t.Run("verdict "+verdict, func(t *testing.T) {
			s := &stages{verdict: verdict}
			env := start(t, s, input(), nil)
			require.NoError(t, env.GetWorkflowError())
			require.NotContains(t, s.calls, "Publish")
			require.Equal(t, []string{"Report", "RecordRun"}, s.calls[len(s.calls)-2:])
			var got AugmentResult
			require.NoError(t, env.GetWorkflowResult(&got))
			require.Equal(t, verdict, got.Verdict)
			require.Empty(t, got.Release+got.Prefix+got.ManifestSHA256)
			require.Zero(t, got.ImagesPublished)
			require.Equal(t, ref("report.html"), got.Report)
			require.Equal(t, []string{"tail: 12% of the candidates are nearer than the tail distance"}, got.Reasons)
			require.Equal(t, verdict, s.record.Verdict)
		})
	}
}

func TestAugmentRetriesWhatPasses(t *testing.T) {
	s := &stages{verdict: spec.Pass, fail: func(stage string, call int) error {
		if call <= 3 && (stage == "Ingest" || stage == "Train" || stage == "Publish") {
			return errors.New("connection refused")
		}
		return nil
	}}
	env := start(t, s, input(), nil)
	require.NoError(t, env.GetWorkflowError())
	n := 0
	for _, c := range s.calls {
		if c == "Publish" {
			n++
		}
	}
	require.Equal(t, 4, n)
}

func TestAugmentFailsWithTheStagesType(t *testing.T) {
	for _, kind := range step.Permanent() {
		t.Run(kind, func(t *testing.T) {
			s := &stages{verdict: spec.Pass, fail: func(stage string, _ int) error {
				if stage == "Train" {
					// Retryable as such: the workflow's policy knows the type.
					return temporal.NewApplicationError("losses are NaN", kind)
				}
				return nil
			}}
			env := start(t, s, input(), nil)
			var app *temporal.ApplicationError
			require.ErrorAs(t, env.GetWorkflowError(), &app)
			require.Equal(t, kind, app.Type())
			require.Equal(t, "Train: losses are NaN", app.Message())
			require.Equal(t, []string{"Ingest", "Preprocess", "Train"}, s.calls)
			status := query(t, env)
			require.Equal(t, "Train", status.Stage)
		})
	}
}

func TestAugmentRefusesInputNoStageCouldUse(t *testing.T) {
	for field, spoil := range map[string]func(*AugmentInput){
		"policy.rules":            func(in *AugmentInput) { in.Policy = spec.Policy{Name: "mine"} },
		"policy.approval":         func(in *AugmentInput) { in.Policy = spec.CopyingPolicy(); in.Policy.Approval = "perhaps" },
		"policy.deadline_hours":   func(in *AugmentInput) { in.Policy = asking(); in.Policy.DeadlineHours = 0 },
		"class":                   func(in *AugmentInput) { in.Class = "" },
		"recipe.train.epochs":     func(in *AugmentInput) { in.Recipe.Train.Epochs = 0 },
		"recipe.train.leg_epochs": func(in *AugmentInput) { in.Recipe.Train.LegEpochs = -1 },
	} {
		t.Run(field, func(t *testing.T) {
			s, in := &stages{}, input()
			spoil(&in)
			err := start(t, s, in, nil).GetWorkflowError()
			var app *temporal.ApplicationError
			require.ErrorAs(t, err, &app)
			require.Equal(t, step.ErrBadInput, app.Type())
			require.Contains(t, app.Message(), field+":")
			require.Empty(t, s.calls)
		})
	}
}

func TestAugmentAnswersWithItsStatus(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	var seen []string
	var env *testsuite.TestWorkflowEnvironment
	s.fail = func(stage string, _ int) error {
		st := query(t, env)
		seen = append(seen, fmt.Sprintf("%s %d/%d %s", st.Stage, st.Epoch, st.Epochs, st.Verdict))
		return nil
	}
	start(t, s, input(), func(e *testsuite.TestWorkflowEnvironment) { env = e })
	require.Equal(t, []string{
		"Ingest 0/12 ", "Preprocess 0/12 ", "Train 0/12 ", "Train 5/12 ", "Train 10/12 ",
		"Sample 12/12 ", "CheckOverfit 12/12 ", "Assess 12/12 ", "Report 12/12 pass", "Publish 12/12 pass", "RecordRun 12/12 pass",
	}, seen)
	last := query(t, env)
	require.Equal(t, "Done", last.Stage)
	require.Equal(t, "r1", last.Release)
	require.Equal(t, int64(240), last.Step)
	require.Len(t, last.StagesDone, 9)
}

func TestAugmentSetsSearchAttributes(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	got := map[string]string{}
	env := start(t, s, input(), func(env *testsuite.TestWorkflowEnvironment) {
		env.OnUpsertTypedSearchAttributes(matchAll(got)).Return(nil)
	})
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, map[string]string{
		"DefectClass": "scratches", "Stage": "Done", "Verdict": spec.Pass, "DatasetDigest": "sha-dataset", "Release": "r1",
	}, got)
	got[CampaignAttribute.GetName()] = "set by the campaign that began the run"
	for name, kind := range SearchAttributes() {
		require.Contains(t, got, name)
		require.Equal(t, "Keyword", kind)
	}
}

func TestAugmentContinuesAsNewBetweenLegs(t *testing.T) {
	s, in := &stages{verdict: spec.Pass}, input()
	in.Recipe.Train.Epochs, in.Recipe.Train.LegEpochs = 100_000, 1
	// The history grows long after the third leg.
	var env *testsuite.TestWorkflowEnvironment
	s.trainTo = func(in step.TrainInput) int {
		if len(s.trained) == 3 {
			env.SetContinueAsNewSuggested(true)
		}
		return in.ToEpoch
	}
	env = start(t, s, in, func(e *testsuite.TestWorkflowEnvironment) { env = e })
	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, env.GetWorkflowError(), &again)
	require.Len(t, s.trained, 3)
	require.Less(t, again.Input.Size(), 64<<10)
	firstRun := s.trained[0].Run

	var next AugmentInput
	require.NoError(t, json.Unmarshal(again.Input.Payloads[0].Data, &next))
	next.Recipe.Train.Epochs = 5
	s.calls, s.trainTo = nil, nil
	env = start(t, s, next, nil)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"Train", "Train", "Sample"}, s.calls[:3], "stages before training are not repeated")
	require.Equal(t, 3, s.trained[3].FromEpoch)
	require.Equal(t, ref("after-3"), s.trained[3].Checkpoint)
	require.Equal(t, []step.Ref{ref("after-2")}, s.trained[3].Superseded)
	require.Equal(t, firstRun, s.trained[3].Run)
	require.Equal(t, ref("dataset"), s.publish.Dataset)
	require.Equal(t, "Ingest", s.record.Outcome.Times[0].Stage)
}

func TestAugmentEndsCanceled(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	var env *testsuite.TestWorkflowEnvironment
	s.fail = func(stage string, _ int) error {
		if stage == "Sample" {
			env.CancelWorkflow()
			return temporal.NewCanceledError()
		}
		return nil
	}
	env = start(t, s, input(), func(e *testsuite.TestWorkflowEnvironment) { env = e })
	require.True(t, temporal.IsCanceledError(env.GetWorkflowError()), "%v", env.GetWorkflowError())
	require.Equal(t, "Sample", s.calls[len(s.calls)-1])
}

func TestEveryStageIsBoundedAndKnowsPermanentFailures(t *testing.T) {
	for _, o := range []workflow.ActivityOptions{short("s"), (&augmentation{}).computing("t")} {
		require.NotZero(t, o.StartToCloseTimeout)
		require.NotZero(t, o.HeartbeatTimeout)
		require.True(t, o.WaitForCancellation)
		require.NotZero(t, o.RetryPolicy.MaximumAttempts)
		require.Contains(t, o.RetryPolicy.NonRetryableErrorTypes, step.ErrDiverged)
	}
}
