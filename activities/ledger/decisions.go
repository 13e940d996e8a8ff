package ledger

import (
	"context"
	"slices"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// decisionList is how runs of one class with one recipe and policy ended, the last
// one last. A run repeats to the same bytes, so the same data set need not be
// trained on again whether it was published or refused.
type decisionList struct {
	Decided []Decision `json:"decided"`
}

// maxDecisions bounds how many data sets are remembered of one list.
const maxDecisions = 64

// verdictFailed stands for a run that failed in a way that its inputs decide, as a
// training does that no try could keep stable.
const verdictFailed = "failed"

// Decision is how a run of one data set ended.
type Decision struct {
	Dataset step.Ref `json:"dataset"`
	Verdict string   `json:"verdict"`
	// Approval is the decision on a set that passed, one of the values of
	// Approval.By.
	Approval string    `json:"approval"`
	Release  string    `json:"release"` // empty where nothing was published
	Run      step.Run  `json:"run"`
	At       time.Time `json:"at"`
}

// decisionMemo is where runs remember their decisions; runs whose inputs differ
// in their images alone share it. Stages that need another class's images look
// at them anew in every run. The number counted versions before Memo did.
func decisionMemo(class string, r spec.Recipe, p spec.Policy, u *step.UtilityPlan) Memo[decisionList] {
	return Memo[decisionList]{Stage: "decision", Version: 1, Inputs: []any{1, class, r, p, u}}
}

// DecisionFolder is the prefix of all remembered decisions.
func DecisionFolder() string { return decisionMemo("", spec.Recipe{}, spec.Policy{}, nil).Folder() }

// RememberDecision enters how a run ended, if that is a decision.
func RememberDecision(ctx context.Context, s *storage.Store, in step.RecordRunInput) error {
	o := in.Outcome
	// A set that passed and was not to be published waits for a run that may.
	if o.Ingest.Dataset.IsZero() || in.Verdict == "" && in.Failure == "" || in.Verdict == spec.Pass && o.Approval.By == "" {
		return nil
	}
	d := Decision{
		Dataset: o.Ingest.Dataset, Verdict: in.Verdict, Approval: o.Approval.By, Release: in.Publish.Release,
		Run: o.Run, At: time.Now().UTC().Truncate(time.Second),
	}
	if d.Verdict == "" {
		d.Verdict = verdictFailed
	}
	return decisionMemo(o.Class, o.Recipe, o.Policy, in.UtilityPlan).Update(ctx, s, func(known decisionList) decisionList {
		others := slices.DeleteFunc(known.Decided, func(k Decision) bool { return k.Dataset.SHA256 == d.Dataset.SHA256 })
		all := append(others, d)
		return decisionList{Decided: all[max(0, len(all)-maxDecisions):]}
	})
}

// DecisionsOn are the decisions that a run's inputs, but for its images, share.
func DecisionsOn(ctx context.Context, s *storage.Store, in step.ChangeInput) ([]Decision, error) {
	known, _, err := decisionMemo(in.Class, in.Recipe, in.Policy, in.Utility).Look(ctx, s)
	return known.Decided, err
}

// Words say how a run without a release ended.
func (d Decision) Words() string {
	switch {
	case d.Verdict == verdictFailed:
		return "its training failed"
	case d.Verdict == spec.Pass && d.Approval == step.ByDeadline:
		return "nobody approved the set before the deadline"
	case d.Verdict == spec.Pass:
		return "its set passed but was not approved"
	}
	return "its verdict was " + d.Verdict
}
