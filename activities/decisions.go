package activities

import (
	"context"
	"slices"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// decisionStage keeps decisions in the store's memory of outcomes.
const decisionStage = "decision"

// maxDecisions bounds how many data sets are remembered for one class, recipe
// and policy.
const maxDecisions = 64

// failedVerdict stands for a run that failed in a way that its inputs decide, as
// a training does that no try could keep stable.
const failedVerdict = "failed"

// decisions are how runs of one class with one recipe and policy ended, the last
// one last. A run repeats to the same bytes, so the same data set need not be
// trained on again whether it was published or refused.
type decisions struct {
	Decided []decision `json:"decided"`
}

type decision struct {
	Dataset step.Ref `json:"dataset"`
	Verdict string   `json:"verdict"`
	// Approval is the decision on a set that passed, in words that Approval.By has.
	Approval string    `json:"approval"`
	Release  string    `json:"release"` // empty where nothing was published
	Run      step.Run  `json:"run"`
	At       time.Time `json:"at"`
}

// decisionKey names what runs may share decisions: everything but the images.
// Stages that need another class's images look at them anew in every run.
func decisionKey(class string, r spec.Recipe, p spec.Policy, u *step.UtilityPlan) string {
	return spec.Digest([]any{1, class, r, p, u})
}

// remember enters how a run ended. Of two that end at once one entry may be
// lost: a later run then does the same work again, to the same release.
func (r Recorder) remember(ctx context.Context, in step.RecordRunInput) error {
	o := in.Outcome
	// A set that passed and was not to be published waits for a run that may.
	if o.Ingest.Dataset.IsZero() || in.Verdict == "" && in.Failure == "" || in.Verdict == step.Pass && o.Approval.By == "" {
		return nil
	}
	key := decisionKey(o.Class, o.Recipe, o.Policy, in.UtilityPlan)
	var known decisions
	if _, err := r.Store.Recall(ctx, decisionStage, key, &known); err != nil {
		return wrap("look up earlier decisions", err)
	}
	d := decision{Dataset: o.Ingest.Dataset, Verdict: in.Verdict, Approval: o.Approval.By, Release: in.Publish.Release, Run: o.Run, At: time.Now().UTC().Truncate(time.Second)}
	if d.Verdict == "" {
		d.Verdict = failedVerdict
	}
	known.Decided = append(slices.DeleteFunc(known.Decided, func(k decision) bool { return k.Dataset.SHA256 == d.Dataset.SHA256 }), d)
	known.Decided = known.Decided[max(0, len(known.Decided)-maxDecisions):]
	return wrap("remember decision", r.Store.Remember(ctx, decisionStage, key, known))
}

func recallDecisions(ctx context.Context, s *storage.Store, in step.ChangeInput) ([]decision, error) {
	var known decisions
	_, err := s.Recall(ctx, decisionStage, decisionKey(in.Class, in.Recipe, in.Policy, in.Utility), &known)
	return known.Decided, wrap("look up earlier decisions", err)
}

// words tell how a run without a release ended.
func (d decision) words() string {
	switch {
	case d.Verdict == failedVerdict:
		return "its training failed"
	case d.Verdict == step.Pass && d.Approval == step.ByDeadline:
		return "nobody approved the set before the deadline"
	case d.Verdict == step.Pass:
		return "its set passed but was not approved"
	}
	return "its verdict was " + d.Verdict
}
