package workflows

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// registerNotify keeps notices of a run's end apart from the calls, which tell
// the order of its stages.
func (s *stages) registerNotify(r step.Registry) {
	step.Notify.Register(r, func(ctx context.Context, in step.NotifyInput) (step.NotifyResult, error) {
		if strings.HasPrefix(in.Notice.Kind, "run.") {
			s.ends = append(s.ends, in.Notice)
			return step.NotifyResult{Sent: s.deaf == nil}, s.deaf
		}
		if err := s.called(ctx, string(step.Notify)); err != nil {
			return step.NotifyResult{}, err
		}
		s.notices = append(s.notices, in.Notice)
		return step.NotifyResult{Sent: true}, nil
	})
}

func TestEveryEndIsTold(t *testing.T) {
	fails := func(stage, kind string) func(string, int) error {
		return func(called string, _ int) error {
			if called == stage {
				return temporal.NewNonRetryableApplicationError("5 usable images; add more", kind, nil)
			}
			return nil
		}
	}
	bad := input()
	bad.Class = ""
	for name, c := range map[string]struct {
		s    stages
		in   AugmentInput
		want step.Notice
	}{
		"published": {stages{verdict: spec.Pass}, input(), step.Notice{
			Kind: step.NoticePublished, Class: "scratches", Verdict: spec.Pass, Report: "report.html",
			Release: "releases/scratches/r1", ManifestSHA256: "m1", Images: 118,
		}},
		"not passed": {stages{verdict: spec.Fail}, input(), step.Notice{
			Kind: step.NoticeRejected, Class: "scratches", Verdict: spec.Fail, Report: "report.html",
			Reasons: []string{"tail: 12% of the candidates are nearer than the tail distance"},
		}},
		"nobody decided": {stages{verdict: spec.Pass}, person(), step.Notice{
			Kind: step.NoticeRejected, Class: "scratches", Verdict: spec.Pass, Report: "report.html",
			Reasons: []string{"approval: nobody decided before the deadline, which means no"},
		}},
		"too few images": {stages{fail: fails("Ingest", step.ErrTooFewImages)}, input(), step.Notice{
			Kind: step.NoticeFailed, Class: "scratches", Failure: &step.NoticeFailure{Type: step.ErrTooFewImages,
				Message: "Ingest: 5 usable images; add more"},
		}},
		"not recorded": {stages{verdict: spec.Fail, fail: fails("RecordRun", step.ErrCorrupt)}, input(), step.Notice{
			Kind: step.NoticeFailed, Class: "scratches", Verdict: spec.Fail, Report: "html",
			Failure: &step.NoticeFailure{Type: step.ErrCorrupt, Message: "RecordRun: 5 usable images; add more"},
		}},
		"bad input": {stages{}, bad, step.Notice{
			Kind: step.NoticeFailed, Failure: &step.NoticeFailure{Type: step.ErrBadInput, Message: `class: "" is not usable; name the defect class`},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			env := start(t, &c.s, c.in, nil)
			require.Equal(t, c.want.Kind == step.NoticeFailed, env.GetWorkflowError() != nil)
			require.Len(t, c.s.ends, 1)
			require.NotEmpty(t, c.s.ends[0].Run.RunID)
			c.want.Run = c.s.ends[0].Run
			require.Equal(t, c.want, c.s.ends[0])
		})
	}
}

func TestAnEndThatNobodyHearsOfStaysAsItIs(t *testing.T) {
	s := &stages{verdict: spec.Pass, deaf: errors.New("call webhook at hooks.example: it answered 500")}
	var began time.Time
	env := start(t, s, input(), func(env *testsuite.TestWorkflowEnvironment) { began = env.Now() })
	require.NoError(t, env.GetWorkflowError())
	var got AugmentResult
	require.NoError(t, env.GetWorkflowResult(&got))
	require.Equal(t, "r1", got.Release)
	require.Greater(t, len(s.ends), 3, "it is tried again")
	require.LessOrEqual(t, env.Now().Sub(began), endPatience+time.Minute, "but not for long")
}

func TestACancelledRunNotifiesNobody(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	env := start(t, s, person(), func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(env.CancelWorkflow, time.Hour)
	})
	require.True(t, temporal.IsCanceledError(env.GetWorkflowError()))
	require.Empty(t, s.ends)
}

func TestARunThatContinuesNotifiesNobody(t *testing.T) {
	s := &stages{}
	env := start(t, s, input(), func(env *testsuite.TestWorkflowEnvironment) { env.SetContinueAsNewSuggested(true) })
	require.ErrorContains(t, env.GetWorkflowError(), "continue as new")
	require.Empty(t, s.ends)
}

func TestARunWithNothingToDoNotifiesNobody(t *testing.T) {
	s, _, _, _ := checked(t, 0, step.ChangeResult{Verdict: step.Unchanged, Reason: "as before", Release: "r0"})
	require.Empty(t, s.ends)
	s, _, _, _ = checked(t, 2, step.ChangeResult{Reason: "5 new images since release r0", NewImages: 5})
	require.Len(t, s.ends, 1)
}

func TestNoticesAreBounded(t *testing.T) {
	a := &augmentation{in: input()}
	out := AugmentResult{}
	for i := range 100 {
		out.Reasons = append(out.Reasons, fmt.Sprint(i, strings.Repeat("ö", maxWords)))
	}
	n := a.endNotice(out, nil)
	require.Len(t, n.Reasons, maxReasons)
	require.LessOrEqual(t, len(n.Reasons[0]), maxWords+3)
	require.True(t, strings.HasSuffix(n.Reasons[0], "ö..."))
	n = a.endNotice(AugmentResult{}, errors.New(strings.Repeat("x", 1<<20)))
	require.Less(t, len(n.Failure.Message), 1<<12)
	require.Equal(t, "StageFailed", n.Failure.Type)
}

// The notice of a run's end comes last, and runs of earlier versions have none.
func TestHistoryNotifiesOfItsEnd(t *testing.T) {
	for name, want := range map[string]string{
		"augment-v4-published.json":    "published: scratches",
		"augment-v4-not-approved.json": "rejected: scratches",
		"augment-v4-failed.json":       "failed: scratches",
	} {
		stages, summaries, last := scheduled(t, name)
		require.Equal(t, string(step.Notify), stages[len(stages)-1], name)
		require.Equal(t, want, summaries[len(summaries)-1])
		require.Equal(t, strings.Contains(name, "failed"), last == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED)
	}
	old, err := filepath.Glob(filepath.Join(histories, "augment-v[123]-*.json"))
	require.NoError(t, err)
	require.Len(t, old, 10, "the former shapes stay")
}
