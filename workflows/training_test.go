package workflows

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// selecting is a run of 12 epochs in legs of 2 that chooses its checkpoint.
func selecting() AugmentInput {
	in := input()
	in.Recipe.Train.Epochs, in.Recipe.Train.LegEpochs, in.Recipe.Train.KeepCheckpoints = 12, 2, 1
	return in
}

// kids evaluates every state with the KID that a test gives for its epoch, 1
// where it gives none.
func kids(by map[int]float64) func(step.EvaluateInput) step.EvaluateResult {
	return func(in step.EvaluateInput) step.EvaluateResult {
		kid, ok := by[in.Epoch]
		if !ok {
			kid = 1
		}
		return step.EvaluateResult{Evaluation: step.Evaluation{Epoch: in.Epoch, Step: in.Step, KID: kid, Spread: 0.8 + float64(in.Epoch)/100}}
	}
}

func names(refs []step.Ref) (out []string) {
	for _, r := range refs {
		out = append(out, r.Key)
	}
	return out
}

func TestTrainingChoosesTheBestCheckpoint(t *testing.T) {
	s := &stages{verdict: spec.Pass, selection: 24, evaluate: kids(map[int]float64{4: 0.3, 8: 0.3, 10: 0.4})}
	env := start(t, s, selecting(), nil)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{
		"Ingest", "Preprocess", "Train", "Evaluate", "Train", "Evaluate", "Train", "Evaluate", "Train", "Evaluate", "Train", "Evaluate",
		"Train", "Evaluate", "Choose", "Sample", "CheckOverfit", "Assess", "Report", "Publish", "RecordRun",
	}, s.calls)
	require.Equal(t, step.TrainingQueue, s.queues["Evaluate"])
	require.Equal(t, "default-test-taskqueue", s.queues["Choose"])

	choice := s.choices[0].Choice
	require.Equal(t, 4, choice.Epoch, "the first of two equal ones")
	require.Equal(t, int64(80), choice.Step)
	require.Equal(t, ref("after-4"), choice.Checkpoint)
	require.Equal(t, ref("after-12.curves"), choice.Curves, "of the whole training")
	require.Equal(t, 12, choice.LastEpoch)
	require.Len(t, choice.Evaluations, 6)
	require.Equal(t, choice.Checkpoint, s.choices[0].Train.Checkpoint)
	require.Equal(t, "the smallest KID to the selection split of 6 evaluated states", choice.Reason)
	require.Equal(t, ref("kept after-4"), s.publish.Checkpoint)
	require.Equal(t, ref("kept after-12.curves"), s.record.Outcome.Train.Curves)
	require.Equal(t, 4, s.record.Outcome.Train.Epoch)
	require.Equal(t, ref("kept after-4"), s.record.Outcome.Choice.Checkpoint)

	// Neither the best nor the last good state is ever given up.
	gone := [][]string{nil, nil, {"after-2"}, nil, {"after-6"}, {"after-8"}}
	for i, in := range s.trained {
		require.True(t, in.Evaluated)
		require.Equal(t, gone[i], names(in.Superseded), "leg %d", i)
	}
	require.Equal(t, []string{"after-10"}, names(s.choices[0].Superseded))

	for i, e := range s.seen {
		if i == 0 {
			require.Zero(t, e.First)
			continue
		}
		require.Equal(t, 2, e.First.Epoch)
		require.InDelta(t, 0.8+float64(2*i)/100, e.Widest, 1e-12)
	}
	st := query(t, env)
	require.Equal(t, 4, st.ChosenEpoch)
	require.Equal(t, 12, st.Epoch)
	require.Equal(t, 6, st.Evaluations)
	require.Equal(t, 4, st.Best.Epoch)
}

func TestTrainingEndsWhenPatienceDoes(t *testing.T) {
	s, in := &stages{verdict: spec.Pass, selection: 24, evaluate: kids(map[int]float64{4: 0.3})}, selecting()
	in.Recipe.Monitor.Patience = 2
	require.NoError(t, start(t, s, in, nil).GetWorkflowError())
	require.Len(t, s.trained, 4)
	require.Equal(t, 8, s.choices[0].Choice.LastEpoch)
	require.Equal(t, 4, s.choices[0].Choice.Epoch)
	require.Contains(t, s.choices[0].Choice.Reason, "training ended after epoch 8 of 12, as 2 evaluations brought no smaller one")
}

func TestTrainingTakesTheLastCheckpointWithoutASelection(t *testing.T) {
	for _, n := range []int{0, 1} {
		s, in := &stages{verdict: spec.Pass, selection: n}, selecting()
		in.Recipe.Monitor.Patience = 1
		require.NoError(t, start(t, s, in, nil).GetWorkflowError())
		require.Len(t, s.trained, 6)
		require.NotContains(t, s.calls, "Evaluate")
		require.NotContains(t, s.calls, "Choose")
		require.Nil(t, s.record.Outcome.Choice)
		require.False(t, s.trained[0].Evaluated)
	}
}

func TestTrainingTakesWhatWasChosenBefore(t *testing.T) {
	choice := &step.Choice{
		Checkpoint: ref("kept"), Curves: ref("curves"), Epoch: 8, Step: 160, LastEpoch: 12, Reason: "the smallest KID",
		Evaluations: []step.Evaluation{{Epoch: 8}}, Rollbacks: []step.Rollback{{ToEpoch: 2, DiscriminatorScale: 0.5}},
	}
	s := &stages{verdict: spec.Pass, selection: 24, known: &step.TrainResult{Checkpoint: ref("kept"),
		Curves: ref("curves"), Epoch: 8, Step: 160, Chosen: choice}}
	env := start(t, s, selecting(), nil)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"Ingest", "Preprocess", "Train", "Sample"}, s.calls[:4])
	require.Equal(t, choice, s.record.Outcome.Choice)
	require.Equal(t, choice.Rollbacks, s.record.Outcome.Rollbacks)
	require.Nil(t, s.record.Outcome.Train.Chosen)
	require.Equal(t, ref("kept"), s.publish.Checkpoint)
	require.Equal(t, 12, query(t, env).Epoch)
}

func overpowering(in step.TrainInput) *step.Alarm {
	return &step.Alarm{Kind: step.AlarmOverpowered, Epoch: in.ToEpoch, Reason: fmt.Sprintf("D won in epoch %d", in.ToEpoch)}
}

func TestTrainingGoesBackAtAnAlarm(t *testing.T) {
	s := &stages{verdict: spec.Pass, alarm: func(in step.TrainInput) *step.Alarm {
		if n := len(in.Rollbacks); in.ToEpoch == 4 && n == 0 || in.ToEpoch == 8 && n < 3 {
			return overpowering(in)
		}
		return nil
	}}
	env := start(t, s, selecting(), nil)
	require.NoError(t, env.GetWorkflowError())
	type leg struct {
		to         int
		checkpoint string
		rollbacks  int
	}
	var legs []leg
	for _, in := range s.trained {
		legs = append(legs, leg{in.ToEpoch, in.Checkpoint.Key, len(in.Rollbacks)})
		require.NotContains(t, names(in.Superseded), in.Checkpoint.Key)
	}
	require.Equal(t, []leg{
		{2, "", 0}, {4, "after-2", 0}, {4, "after-2", 1}, {6, "after-4-try-2", 1}, {8, "after-6-try-2", 1}, {8, "after-6-try-2", 2},
		{8, "after-6-try-2", 3}, {10, "after-8-try-4", 3}, {12, "after-10-try-4", 3},
	}, legs)
	want := []step.Rollback{
		{Alarm: *overpowering(step.TrainInput{ToEpoch: 4}), ToEpoch: 2, DiscriminatorScale: 0.5},
		{Alarm: *overpowering(step.TrainInput{ToEpoch: 8}), ToEpoch: 6, DiscriminatorScale: 0.25},
		{Alarm: *overpowering(step.TrainInput{ToEpoch: 8}), ToEpoch: 6, DiscriminatorScale: 0.125},
	}
	require.Equal(t, want, s.record.Outcome.Rollbacks)
	require.Equal(t, want, query(t, env).Rollbacks)
	require.Nil(t, s.record.Outcome.Choice)
}

func TestTrainingStartsAnewWhereTheFirstLegFails(t *testing.T) {
	s := &stages{verdict: spec.Pass, alarm: func(in step.TrainInput) *step.Alarm {
		if len(in.Rollbacks) == 0 {
			return overpowering(in)
		}
		return nil
	}}
	require.NoError(t, start(t, s, selecting(), nil).GetWorkflowError())
	require.Zero(t, s.trained[1].FromEpoch)
	require.True(t, s.trained[1].Checkpoint.IsZero())
	require.Zero(t, s.trained[1].Rollbacks[0].ToEpoch)
}

func TestTrainingGoesBackWhereItCollapsed(t *testing.T) {
	s := &stages{verdict: spec.Pass, selection: 24}
	good := kids(map[int]float64{2: 0.1})
	s.evaluate = func(in step.EvaluateInput) step.EvaluateResult {
		out := good(in)
		if in.Checkpoint == ref("after-6") {
			out.Evaluation.KID = 0.01 // however good: it is given up
			out.Alarm = &step.Alarm{Kind: step.AlarmCollapsed, Epoch: 6, Reason: "collapsed"}
		}
		return out
	}
	require.NoError(t, start(t, s, selecting(), nil).GetWorkflowError())
	require.Equal(t, ref("after-4"), s.trained[3].Checkpoint, "back to the last good state")
	require.Equal(t, []string{"after-6"}, names(s.trained[3].Superseded), "what was given up goes first")
	require.Equal(t, []int{0, 0, 0, 1, 1, 1, 1}, func() (n []int) {
		for _, in := range s.trained {
			n = append(n, len(in.Rollbacks))
			require.NotContains(t, names(in.Superseded), "after-2", "the best one stays")
			require.NotContains(t, names(in.Superseded), in.Checkpoint.Key)
		}
		return n
	}())
	require.Equal(t, 2, s.choices[0].Choice.Epoch)
	require.Len(t, s.choices[0].Choice.Evaluations, 6, "one of each leg that counts")
	require.Len(t, s.choices[0].Choice.Rollbacks, 1)
}

func TestTrainingGivesUpAfterEveryTry(t *testing.T) {
	s := &stages{verdict: spec.Pass, alarm: func(in step.TrainInput) *step.Alarm {
		if in.ToEpoch == 4 {
			return overpowering(in)
		}
		return nil
	}}
	env := start(t, s, selecting(), nil)
	var app *temporal.ApplicationError
	require.ErrorAs(t, env.GetWorkflowError(), &app)
	require.Equal(t, step.ErrUnstable, app.Type())
	require.True(t, app.NonRetryable())
	require.Equal(t, "Train: training failed after 4 tries; try 1: D won in epoch 4 (epoch 4); try 2: D won in epoch 4 (epoch 4); "+
		"try 3: D won in epoch 4 (epoch 4); try 4: D won in epoch 4 (epoch 4)", app.Message())
	require.Equal(t, []string{"Ingest", "Preprocess", "Train", "Train", "Train", "Train", "Train", "Report", "RecordRun"}, s.calls)
	require.Len(t, s.record.Outcome.Rollbacks, 3)
	require.Contains(t, s.record.Failure, "after 4 tries")
	require.Empty(t, s.record.Verdict)
	require.Equal(t, "Train", query(t, env).Stage)
}

func TestTrainingGivesUpThoughTheFailureCannotBeRecorded(t *testing.T) {
	s := &stages{alarm: overpowering, fail: func(stage string, _ int) error {
		if stage == "Report" || stage == "RecordRun" {
			return temporal.NewNonRetryableApplicationError("no page without candidates", step.ErrBadInput, nil)
		}
		return nil
	}}
	in := selecting()
	in.Recipe.Monitor.Tries = 0
	var app *temporal.ApplicationError
	require.ErrorAs(t, start(t, s, in, nil).GetWorkflowError(), &app)
	require.Equal(t, step.ErrUnstable, app.Type())
	require.Contains(t, app.Message(), "after 1 tries")
}

// A run that is cut by continuing as new asks for the same as one in one piece.
func TestTrainingContinuesAsNewWithAllItKnows(t *testing.T) {
	script := func() *stages {
		s := &stages{verdict: spec.Pass, selection: 24, evaluate: kids(map[int]float64{4: 0.5, 6: 0.6})}
		s.alarm = func(in step.TrainInput) *step.Alarm {
			if in.ToEpoch == 6 && len(in.Rollbacks) == 0 {
				return overpowering(in)
			}
			return nil
		}
		return s
	}
	whole := script()
	require.NoError(t, start(t, whole, selecting(), nil).GetWorkflowError())

	s, in := script(), selecting()
	for cuts := 0; ; cuts++ {
		var env *testsuite.TestWorkflowEnvironment
		began := len(s.trained)
		s.trainTo = func(in step.TrainInput) int {
			env.SetContinueAsNewSuggested(len(s.trained) > began)
			return in.ToEpoch
		}
		env = start(t, s, in, func(e *testsuite.TestWorkflowEnvironment) { env = e })
		var again *workflow.ContinueAsNewError
		if env.GetWorkflowError() == nil {
			require.Equal(t, 5, cuts)
			break
		}
		require.ErrorAs(t, env.GetWorkflowError(), &again)
		in = AugmentInput{}
		require.NoError(t, json.Unmarshal(again.Input.Payloads[0].Data, &in))
	}
	strip := func(list []step.TrainInput) []string {
		var out []string
		for _, in := range list {
			in.Run = step.Run{}
			out = append(out, spec.Digest(in))
		}
		return out
	}
	require.Equal(t, strip(whole.trained), strip(s.trained))
	require.Equal(t, whole.seen, s.seen)
	require.Equal(t, whole.choices[0].Choice, s.choices[0].Choice)
	require.Equal(t, whole.record.Outcome.Choice, s.record.Outcome.Choice)
	require.Equal(t, whole.record.Outcome.Rollbacks, s.record.Outcome.Rollbacks)
}

func TestUtilityIsAskedForBeforeTheDecision(t *testing.T) {
	s, in := &stages{verdict: spec.Pass}, input()
	in.Policy = spec.ProductionPolicy()
	in.Utility = &step.UtilityPlan{Others: []step.ClassSource{{Class: "dents", Source: step.Source{Bucket: "b",
		Prefix: "d/"}}}, Splits: 3, Seeds: 10}
	env := start(t, s, in, nil)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"Sample", "CheckOverfit", "Utility", "Assess"}, s.calls[5:9])
	require.Equal(t, step.TrainingQueue, s.queues["Utility"])
	require.Equal(t, *in.Utility, s.utility.Plan)
	require.Equal(t, ref("neighbours"), s.utility.Neighbours)
	require.Equal(t, in.Recipe.Ingest, s.utility.Ingest)
	require.True(t, s.assess.Utility.Done)
	require.Equal(t, "production", s.assess.Policy.Name)
	require.Equal(t, in.Recipe.Seed, s.assess.Seed)
	require.True(t, s.record.Outcome.Utility.Done)
	require.Equal(t, "no gain", s.publish.Utility.Summary)
	require.Equal(t, "no gain", query(t, env).Utility.Summary)
	var got AugmentResult
	require.NoError(t, env.GetWorkflowResult(&got))
	require.Equal(t, "no gain", got.Utility.Summary)
}
