package workflows

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// asking is a policy that leaves the decision to a person.
func asking() spec.Policy {
	p := spec.CopyingPolicy()
	p.Name, p.Approval, p.DeadlineHours = "asking", spec.ApprovePerson, 48
	return p
}

// answer is what became of one update.
type answer struct {
	approval step.Approval
	err      error // of the validator
	done     bool
}

// decideAfter sends a decision after some of the workflow's time.
func decideAfter(env *testsuite.TestWorkflowEnvironment, after time.Duration, in DecideInput) *answer {
	out := &answer{}
	env.RegisterDelayedCallback(func() {
		env.UpdateWorkflow(DecideUpdate, "", &testsuite.TestUpdateCallback{
			OnAccept:   func() {},
			OnReject:   func(err error) { out.err, out.done = err, true },
			OnComplete: func(v any, err error) { out.done, out.err = true, err; out.approval, _ = v.(step.Approval) },
		}, in)
	}, after)
	return out
}

func person() AugmentInput {
	in := input()
	in.Policy = asking()
	return in
}

func TestApprovalByAPerson(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	var first, same, opposite *answer
	var waiting Status
	env := start(t, s, person(), func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { waiting = query(t, env) }, 30*time.Minute)
		first = decideAfter(env, time.Hour, DecideInput{Approve: true, Who: " ada@line-3 ", Why: "looked at all 118"})
		same = decideAfter(env, time.Hour, DecideInput{Approve: true, Who: "bob", Why: "me too"})
		opposite = decideAfter(env, time.Hour, DecideInput{Who: "bob", Why: "I would not"})
	})
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, []string{"Report", "Notify", "Report", "Publish", "RecordRun"}, s.calls[8:])
	require.Equal(t, step.AwaitApproval, waiting.Stage)
	require.NotNil(t, waiting.Deadline)
	require.Equal(t, "the webhook was told", waiting.Notice)

	require.NoError(t, first.err)
	want := step.Approval{Approved: true, By: step.ByPerson, Who: "ada@line-3", Why: "looked at all 118", At: first.approval.At}
	require.Equal(t, want, first.approval)
	require.InDelta(t, 47*3600, waiting.Deadline.Sub(first.approval.At).Seconds(), 1)
	require.Equal(t, want, same.approval, "the same decision again is answered alike")
	require.ErrorContains(t, opposite.err, "decided already: approved by ada@line-3")

	var got AugmentResult
	require.NoError(t, env.GetWorkflowResult(&got))
	require.Equal(t, want, got.Approval)
	require.Equal(t, "r1", got.Release)
	require.Empty(t, got.Reasons)
	require.Equal(t, want, s.publish.Approval)
	require.Equal(t, want, s.record.Outcome.Approval)
	require.Nil(t, query(t, env).Deadline)
	require.Contains(t, s.record.Outcome.Times, step.StageTime{Stage: step.AwaitApproval, Seconds: 3600})

	n := s.notices[0]
	require.Equal(t, step.NoticeWaiting, n.Kind)
	require.Equal(t, "scratches", n.Class)
	require.Equal(t, "html", n.Report)
	require.Equal(t, *waiting.Deadline, n.Deadline)
	require.Len(t, s.reports, 2)
	require.Equal(t, waiting.Deadline, s.reports[0].Outcome.Deadline, "the report that is decided on names the moment")
	require.Empty(t, s.reports[0].Outcome.Approval.By)
	require.Equal(t, want, s.reports[1].Outcome.Approval)
}

// The deadline counts from the verdict, also where the report takes its time.
func TestApprovalCountsFromTheVerdict(t *testing.T) {
	s, in := &stages{verdict: spec.Pass}, person()
	in.Policy.DeadlineHours = 1.0 / 3600
	s.fail = func(stage string, call int) error {
		if stage == "Report" && call <= 3 { // retried for 7 seconds
			return errors.New("connection refused")
		}
		return nil
	}
	env := start(t, s, in, nil)
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, step.ByDeadline, s.record.Outcome.Approval.By)
	require.True(t, s.record.Outcome.Approval.At.After(*s.record.Outcome.Deadline))
	require.Contains(t, s.record.Outcome.Times, step.StageTime{Stage: step.AwaitApproval, Seconds: 1})
}

func TestApprovalRefusedByAPerson(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	var no, yes *answer
	env := start(t, s, person(), func(env *testsuite.TestWorkflowEnvironment) {
		no = decideAfter(env, time.Hour, DecideInput{Who: "ada", Why: "they all show one scratch"})
		yes = decideAfter(env, time.Hour, DecideInput{Approve: true, Who: "bob", Why: "looks fine"})
	})
	require.NoError(t, env.GetWorkflowError())
	require.NotContains(t, s.calls, "Publish")
	require.NoError(t, no.err)
	require.False(t, no.approval.Approved)
	require.ErrorContains(t, yes.err, "decided already: refused by ada")
	var got AugmentResult
	require.NoError(t, env.GetWorkflowResult(&got))
	require.Equal(t, spec.Pass, got.Verdict)
	require.Empty(t, got.Release)
	require.Len(t, got.Reasons, 1)
	require.Contains(t, got.Reasons[0], "approval: refused by ada")
	require.Contains(t, got.Reasons[0], "they all show one scratch")
}

func TestApprovalEndsWithItsDeadline(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	began := time.Time{}
	env := start(t, s, person(), func(env *testsuite.TestWorkflowEnvironment) { began = env.Now() })
	require.NoError(t, env.GetWorkflowError())
	require.NotContains(t, s.calls, "Publish")
	var got AugmentResult
	require.NoError(t, env.GetWorkflowResult(&got))
	require.False(t, got.Approval.Approved)
	require.Equal(t, step.ByDeadline, got.Approval.By)
	require.InDelta(t, 48*3600, got.Approval.At.Sub(began).Seconds(), 60)
	require.Equal(t, []string{"approval: nobody decided before the deadline, which means no"}, got.Reasons)
	require.Equal(t, got.Approval, s.record.Outcome.Approval)
}

func TestApprovalComesTooLate(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	var late *answer
	s.fail = func(stage string, call int) error { // the record takes its time
		if stage == "RecordRun" && call == 1 {
			return errors.New("connection refused")
		}
		return nil
	}
	env := start(t, s, person(), func(env *testsuite.TestWorkflowEnvironment) {
		late = decideAfter(env, 48*time.Hour+500*time.Millisecond, DecideInput{Approve: true, Who: "ada", Why: "was on holiday"})
	})
	require.NoError(t, env.GetWorkflowError())
	require.True(t, late.done)
	require.ErrorContains(t, late.err, "nobody decided before the deadline")
	require.NotContains(t, s.calls, "Publish")
}

func TestApprovalRefusesWhatIsNoDecision(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	cases := map[string]*answer{}
	s.fail = func(stage string, call int) error { // so that a callback finds training under way
		if stage == "Train" && call == 1 {
			return errors.New("connection refused")
		}
		return nil
	}
	start(t, s, person(), func(env *testsuite.TestWorkflowEnvironment) {
		cases["not waiting for approval; its stage is Train"] = decideAfter(env, 500*time.Millisecond,
			DecideInput{Approve: true, Who: "ada", Why: "early"})
		cases["who is empty"] = decideAfter(env, time.Hour, DecideInput{Approve: true, Who: " ", Why: "fine"})
		cases["why is empty"] = decideAfter(env, time.Hour, DecideInput{Approve: true, Who: "ada"})
		cases["at most 2000"] = decideAfter(env, time.Hour, DecideInput{Who: "ada", Why: strings.Repeat("x", 2001)})
	})
	for want, got := range cases {
		require.True(t, got.done, want)
		require.ErrorContains(t, got.err, want)
	}
	require.NotContains(t, s.calls, "Publish")
}

func TestApprovalByPolicyRefusesAPerson(t *testing.T) {
	s := &stages{verdict: spec.Pass}
	var late *answer
	s.fail = func(stage string, call int) error {
		if stage == "Publish" && call == 1 {
			return errors.New("connection refused")
		}
		return nil
	}
	start(t, s, input(), func(env *testsuite.TestWorkflowEnvironment) {
		late = decideAfter(env, 500*time.Millisecond, DecideInput{Who: "ada", Why: "wait"})
	})
	require.ErrorContains(t, late.err, "decided already: approved by policy")
	require.NotContains(t, s.calls, "Notify")
}

func TestApprovalWaitsThoughNobodyCanBeTold(t *testing.T) {
	s := &stages{verdict: spec.Pass, fail: func(stage string, _ int) error {
		if stage == "Notify" {
			return errors.New("call webhook at hooks.example: it answered 500")
		}
		return nil
	}}
	var waiting Status
	env := start(t, s, person(), func(env *testsuite.TestWorkflowEnvironment) {
		env.RegisterDelayedCallback(func() { waiting = query(t, env) }, 2*time.Hour)
		decideAfter(env, 3*time.Hour, DecideInput{Approve: true, Who: "ada", Why: "saw it by chance"})
	})
	require.NoError(t, env.GetWorkflowError())
	require.Equal(t, step.AwaitApproval, waiting.Stage)
	require.Equal(t, "the notice could not be sent: call webhook at hooks.example: it answered 500", waiting.Notice)
	require.Contains(t, s.calls, "Publish")
}

func TestApprovalIsNotAskedForWhatDidNotPass(t *testing.T) {
	s := &stages{verdict: spec.Inconclusive}
	env := start(t, s, person(), nil)
	require.NoError(t, env.GetWorkflowError())
	require.NotContains(t, s.calls, "Notify")
	var got AugmentResult
	require.NoError(t, env.GetWorkflowResult(&got))
	require.Zero(t, got.Approval)
}
