package activities

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// good is what a run that passes hands to Assess.
func good() step.AssessInput {
	return step.AssessInput{
		Ingest:  step.IngestResult{Found: 300, Usable: 300, Training: 240, Holdout: 60},
		Sample:  step.SampleResult{Count: 120},
		Check:   step.OverfitResult{Accepted: 118, Rejected: 2, RejectAt: 10, TailAt: 20, TailShare: 0.05, Nearest: 9, Real: 300},
		Overfit: spec.Quick().Overfit,
	}
}

func TestAssess(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(*step.AssessInput)
		verdict string
		rule    string // that did not pass
	}{
		{"all well", func(*step.AssessInput) {}, step.Pass, ""},
		{"tail at the limit", func(in *step.AssessInput) { in.Check.TailShare = 0.09 }, step.Pass, ""},
		{"too many near", func(in *step.AssessInput) { in.Check.TailShare = 0.0901 }, step.Fail, "not copying"},
		{"one real image too few", func(in *step.AssessInput) { in.Ingest.Training, in.Check.Real = 39, 99 }, step.Inconclusive, "enough real images"},
		{"just enough real images", func(in *step.AssessInput) { in.Ingest.Training, in.Check.Real = 40, 100 }, step.Pass, ""},
		{"no hold-out", func(in *step.AssessInput) { in.Ingest.Holdout, in.Check.Real = 0, 240 }, step.Inconclusive, "hold-out"},
		{"no training images", func(in *step.AssessInput) { in.Ingest.Training, in.Ingest.Holdout = 0, 300 }, step.Inconclusive, "hold-out"},
		{"a candidate not compared", func(in *step.AssessInput) { in.Check.Accepted-- }, step.Inconclusive, "all compared"},
		{"a real image not compared", func(in *step.AssessInput) { in.Check.Real-- }, step.Inconclusive, "all compared"},
		{"nothing sampled", func(in *step.AssessInput) { in.Sample.Count, in.Check.Accepted, in.Check.Rejected = 0, 0, 0 }, step.Fail, "all compared"},
		{"real images alike", func(in *step.AssessInput) { in.Check.TailAt = 0 }, step.Inconclusive, "not copying"},
		{"no reject distance", func(in *step.AssessInput) { in.Check.RejectAt = math.NaN() }, step.Inconclusive, "not copying"},
		{"tail share missing", func(in *step.AssessInput) { in.Check.TailShare = math.NaN() }, step.Inconclusive, "not copying"},
		{"tail distance infinite", func(in *step.AssessInput) { in.Check.TailAt = math.Inf(1); in.Check.TailShare = math.Inf(1) }, step.Inconclusive, "not copying"},
		{"no tail limit", func(in *step.AssessInput) { in.Overfit.MaxTailShare = math.NaN() }, step.Inconclusive, "not copying"},
		{"none may be near", func(in *step.AssessInput) { in.Overfit.MaxTailShare = 0 }, step.Fail, "not copying"},
		{"collapsed", func(in *step.AssessInput) { in.Check.Repeated = 13 }, step.Fail, "not alike"},
		{"blank", func(in *step.AssessInput) { in.Check.Repeated, in.Check.Blank = 6, 7 }, step.Fail, "not alike"},
		{"a few repeats", func(in *step.AssessInput) { in.Check.Repeated, in.Check.Blank = 6, 6 }, step.Pass, ""},
		{"too few accepted", func(in *step.AssessInput) { in.Check.Accepted, in.Check.Rejected = 7, 113 }, step.Fail, "enough accepted"},
		{"none accepted and none asked for", func(in *step.AssessInput) {
			in.Check.Accepted, in.Check.Rejected, in.Overfit.MinPublished = 0, 120, 0
		}, step.Fail, "enough accepted"},
		{"failure outweighs doubt", func(in *step.AssessInput) { in.Ingest.Training, in.Check.Real, in.Check.TailShare = 1, 61, 0.5 }, step.Fail, "enough real images"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := good()
			tt.change(&in)
			got, err := Assess(context.Background(), in)
			require.NoError(t, err)
			require.Equal(t, tt.verdict, got.Verdict, "%+v", got.Rules)
			var bad []string
			for _, r := range got.Rules {
				require.NotEmpty(t, r.Reason)
				if r.Outcome != step.Pass {
					bad = append(bad, r.Name)
				}
			}
			if tt.rule == "" {
				require.Empty(t, bad)
			} else {
				require.Contains(t, bad, tt.rule)
			}
			_, err = json.Marshal(got)
			require.NoError(t, err)
			require.True(t, strings.Contains(got.Scope, "copying only"))
		})
	}
}

func TestAssessPassesNothingWithoutNumbers(t *testing.T) {
	got, err := Assess(context.Background(), step.AssessInput{})
	require.NoError(t, err)
	require.NotEqual(t, step.Pass, got.Verdict)
	for _, r := range got.Rules {
		require.NotEqual(t, step.Pass, r.Outcome, r.Name)
	}
}
