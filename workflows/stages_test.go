package workflows

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

// stages stands in for the activities: it keeps what each was asked, and fails
// where a test says so.
type stages struct {
	calls   []string
	trained []step.TrainInput
	queues  map[string]string
	verdict string
	// fail gives the error of a stage's nth call, from 1.
	fail    func(stage string, call int) error
	trainTo func(in step.TrainInput) int
	publish step.PublishInput
	record  step.RecordRunInput
	overfit step.OverfitInput
	assess  step.AssessInput
	utility step.UtilityInput
	notices []step.Notice
	ends    []step.Notice // of how runs ended; no calls
	deaf    error         // why nobody can be notified of that
	reports []step.ReportInput
	// selection is how many images are kept to choose the checkpoint with.
	selection int
	coloured  *int // what Preprocess counts
	// alarm gives what a monitor finds in a leg, evaluate what an evaluation does.
	alarm    func(in step.TrainInput) *step.Alarm
	evaluate func(in step.EvaluateInput) step.EvaluateResult
	seen     []step.EvaluateInput
	choices  []step.ChooseInput
	known    *step.TrainResult // what Train finds at once
}

func (s *stages) called(ctx context.Context, stage string) error {
	s.calls = append(s.calls, stage)
	if s.queues == nil {
		s.queues = map[string]string{}
	}
	s.queues[stage] = activity.GetInfo(ctx).TaskQueue
	if s.fail == nil {
		return nil
	}
	n := 0
	for _, c := range s.calls {
		if c == stage {
			n++
		}
	}
	return s.fail(stage, n)
}

func ref(name string) step.Ref { return step.Ref{Key: name, SHA256: "sha-" + name, Size: 1} }

// stub registers a stage that answers out, after calling note.
func stub[In, Out any](s *stages, r step.Registry, name step.Step[In, Out], out Out, note func(In)) {
	name.Register(r, func(ctx context.Context, in In) (Out, error) {
		if err := s.called(ctx, string(name)); err != nil {
			return *new(Out), err
		}
		if note != nil {
			note(in)
		}
		return out, nil
	})
}

func (s *stages) register(r step.Registry) {
	stub(s, r, step.Ingest, step.IngestResult{Dataset: ref("dataset"), Found: 303, Usable: 300, Quarantined: 3,
		Training: 240, Holdout: 60}, nil)
	stub(s, r, step.Preprocess, step.PreprocessResult{
		Tensors: ref("tensors"), Training: 240, Holdout: 60, Selection: s.selection, Coloured: s.coloured,
	}, nil)
	step.Train.Register(r, func(ctx context.Context, in step.TrainInput) (step.TrainResult, error) {
		if err := s.called(ctx, string(step.Train)); err != nil {
			return step.TrainResult{}, err
		}
		s.trained = append(s.trained, in)
		if s.known != nil {
			return *s.known, nil
		}
		if s.alarm != nil {
			if alarm := s.alarm(in); alarm != nil {
				return step.TrainResult{Alarm: alarm}, nil
			}
		}
		to := in.ToEpoch
		if s.trainTo != nil {
			to = s.trainTo(in)
		}
		name := fmt.Sprintf("after-%d", to)
		if n := len(in.Rollbacks); n > 0 {
			name += fmt.Sprintf("-try-%d", n+1)
		}
		return step.TrainResult{Checkpoint: ref(name), Curves: ref(name + ".curves"), Epoch: to, Step: int64(to) * 20}, nil
	})
	step.Evaluate.Register(r, func(ctx context.Context, in step.EvaluateInput) (step.EvaluateResult, error) {
		if err := s.called(ctx, string(step.Evaluate)); err != nil {
			return step.EvaluateResult{}, err
		}
		s.seen = append(s.seen, in)
		return s.evaluate(in), nil
	})
	step.Choose.Register(r, func(ctx context.Context, in step.ChooseInput) (step.ChooseResult, error) {
		if err := s.called(ctx, string(step.Choose)); err != nil {
			return step.ChooseResult{}, err
		}
		s.choices = append(s.choices, in)
		out := step.ChooseResult{Choice: in.Choice}
		out.Choice.Checkpoint, out.Choice.Curves = ref("kept "+in.Choice.Checkpoint.Key), ref("kept "+in.Choice.Curves.Key)
		return out, nil
	})
	stub(s, r, step.Utility, step.UtilityResult{Done: true, Summary: "no gain"}, func(in step.UtilityInput) { s.utility = in })
	s.registerNotify(r)
	stub(s, r, step.Sample, step.SampleResult{Candidates: ref("candidates"), Count: 120}, nil)
	stub(s, r, step.CheckOverfit, step.OverfitResult{Neighbours: ref("neighbours"), Accepted: 118, Rejected: 2},
		func(in step.OverfitInput) { s.overfit = in })
	stub(s, r, step.Assess, step.AssessResult{Verdict: s.verdict, Rules: []spec.Judged{
		{Name: "enough", Outcome: spec.Pass, Reason: "300 images"},
		{Name: "tail", Outcome: s.verdict, Reason: "12% of the candidates are nearer than the tail distance"},
	}}, func(in step.AssessInput) { s.assess = in })
	stub(s, r, step.Report, step.ReportResult{HTML: ref("html")}, func(in step.ReportInput) { s.reports = append(s.reports, in) })
	stub(s, r, step.Publish, step.PublishResult{Release: "r1", Prefix: "releases/scratches/r1", ManifestSHA256: "m1",
		Images: 118, Sequence: 1},
		func(in step.PublishInput) { s.publish = in })
	stub(s, r, step.RecordRun, step.RecordRunResult{Record: ref("run.json"), Report: ref("report.html")},
		func(in step.RecordRunInput) { s.record = in })
}

func input() AugmentInput {
	r := spectest.Quick()
	r.Train.Epochs, r.Train.LegEpochs, r.Train.KeepCheckpoints = 12, 5, 2
	return AugmentInput{Class: "scratches", Source: step.Source{Bucket: "b", Prefix: "p/"}, Recipe: r}
}

func start(t *testing.T, s *stages, in AugmentInput, arrange func(*testsuite.TestWorkflowEnvironment)) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterWorkflowWithOptions(Augment, workflow.RegisterOptions{Name: AugmentName})
	s.register(env)
	if arrange != nil {
		arrange(env)
	}
	env.ExecuteWorkflow(AugmentName, in)
	require.True(t, env.IsWorkflowCompleted())
	return env
}

func query(t *testing.T, env *testsuite.TestWorkflowEnvironment) Status {
	t.Helper()
	val, err := env.QueryWorkflow(StatusQuery)
	require.NoError(t, err)
	var s Status
	require.NoError(t, val.Get(&s))
	return s
}
