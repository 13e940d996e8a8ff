package activities

import (
	"context"
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// good is what a run that copies nothing hands to Assess: numbers alone, without
// the images, and a list of neighbours that change may alter.
func good(t *testing.T, s *storage.Store, change func(*ledger.NeighbourList)) step.AssessInput {
	t.Helper()
	list := ledger.NeighbourList{RejectAt: 10, TailAt: 20, TransformedRejectAt: 9, TransformedTailAt: 18, DisguisedRejectAt: 0.2, TailQuantile: 0.05}
	for i := range 120 {
		list.Candidates = append(list.Candidates, ledger.CandidateCheck{
			Index: i, Accepted: i >= 2, Training: 15 + float64(i), Transformed: &ledger.TransformedNeighbour{Neighbour: ledger.Neighbour{Distance: 14 + float64(i)}},
			Disguised: &ledger.TransformedNeighbour{Neighbour: ledger.Neighbour{Distance: 0.3}},
		})
	}
	for i := range 60 {
		list.HoldoutNearest = append(list.HoldoutNearest, 16+2*float64(i))
	}
	if change != nil {
		change(&list)
	}
	raw, err := ledger.Neighbours.Encode(list)
	require.NoError(t, err)
	obj, err := s.PutArtifact(context.Background(), raw, ".json")
	require.NoError(t, err)
	return step.AssessInput{
		Ingest: step.IngestResult{Found: 300, Usable: 300, Training: 240, Holdout: 60},
		Sample: step.SampleResult{Count: 120},
		Check:  step.OverfitResult{Neighbours: step.Ref(obj), Accepted: 118, Rejected: 2, Real: 300},
	}
}

func TestAssess(t *testing.T) {
	near := func(n int) func(*ledger.NeighbourList) {
		return func(l *ledger.NeighbourList) {
			for i := range l.Candidates {
				l.Candidates[i].Training = 100
				if i < n {
					l.Candidates[i].Training = 12
				}
			}
		}
	}
	for _, tt := range []struct {
		name    string
		list    func(*ledger.NeighbourList)
		change  func(*step.AssessInput)
		verdict string
		rule    string // that did not pass
	}{
		{"all well", nil, nil, spec.Pass, ""},
		{"tail within chance of the limit", near(14), nil, spec.Pass, ""},
		{"too many near", near(19), nil, spec.Fail, spec.MeasureTailShare},
		{"too many near when turned", func(l *ledger.NeighbourList) {
			for i := range 30 {
				l.Candidates[i].Transformed.Distance = 10
			}
		}, nil, spec.Fail, spec.MeasureTransformed},
		{"too many in disguise", func(l *ledger.NeighbourList) {
			for i := range 14 {
				l.Candidates[i].Disguised.Distance = 0.1
			}
		}, nil, spec.Fail, spec.MeasureDisguised},
		{"a few in disguise", func(l *ledger.NeighbourList) {
			for i := range 6 {
				l.Candidates[i].Disguised.Distance = 0.1
			}
			l.Candidates[8].Disguised = nil
		}, nil, spec.Pass, ""},
		{"not looked for in disguise", func(l *ledger.NeighbourList) { l.DisguisedRejectAt = 0 }, nil, spec.Inconclusive, spec.MeasureDisguised},
		{"nearer than the hold-out", func(l *ledger.NeighbourList) {
			for i := range l.HoldoutNearest {
				l.HoldoutNearest[i] = 500
			}
		}, nil, spec.Fail, spec.MeasureCopyZ},
		{"hold-out not compared", func(l *ledger.NeighbourList) { l.HoldoutNearest = nil }, nil, spec.Inconclusive, spec.MeasureCopyZ},
		{"a candidate without transformed neighbour", func(l *ledger.NeighbourList) { l.TransformedTailAt = 0 }, nil, spec.Inconclusive, spec.MeasureTransformed},
		{"real images alike", func(l *ledger.NeighbourList) { l.TailAt = 0 }, nil, spec.Inconclusive, spec.MeasureTailShare},
		{"one real image too few", nil, func(in *step.AssessInput) { in.Ingest.Training, in.Check.Real = 39, 99 }, spec.Inconclusive, spec.MeasureRealImages},
		{"just enough real images", nil, func(in *step.AssessInput) { in.Ingest.Training, in.Check.Real = 40, 100 }, spec.Pass, ""},
		{"no hold-out", nil, func(in *step.AssessInput) { in.Ingest.Holdout, in.Check.Real = 0, 240 }, spec.Inconclusive, spec.MeasureHoldoutImages},
		{"a candidate not compared", nil, func(in *step.AssessInput) { in.Check.Accepted-- }, spec.Inconclusive, spec.MeasureCompared},
		{"a real image not compared", nil, func(in *step.AssessInput) { in.Check.Real-- }, spec.Inconclusive, spec.MeasureCompared},
		{"more compared than there are", nil, func(in *step.AssessInput) { in.Check.Real++ }, spec.Inconclusive, spec.MeasureCompared},
		{"collapsed", nil, func(in *step.AssessInput) { in.Check.Repeated = 13 }, spec.Fail, spec.MeasureRepeated},
		{"blank", nil, func(in *step.AssessInput) { in.Check.Repeated, in.Check.Blank = 6, 7 }, spec.Fail, spec.MeasureRepeated},
		{"a few repeats", nil, func(in *step.AssessInput) { in.Check.Repeated, in.Check.Blank = 6, 6 }, spec.Pass, ""},
		{"too few accepted", nil, func(in *step.AssessInput) { in.Check.Accepted, in.Check.Rejected = 7, 113 }, spec.Fail, spec.MeasureAccepted},
		{"nothing compared at all", nil, func(in *step.AssessInput) { in.Check.Neighbours = step.Ref{} }, spec.Inconclusive, spec.MeasureTailShare},
		{"likeness asked for but not measured", nil, func(in *step.AssessInput) { in.Policy = spec.ProductionPolicy() }, spec.Inconclusive, spec.MeasureCoverage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := storage.New(memory.New())
			in := good(t, s, tt.list)
			if tt.change != nil {
				tt.change(&in)
			}
			got, err := Assessor{Store: s}.Assess(context.Background(), in)
			require.NoError(t, err)
			require.Equal(t, tt.verdict, got.Verdict, "%+v", got.Rules)
			var bad []string
			for _, r := range got.Rules {
				require.NotEmpty(t, r.Reason)
				if r.Outcome != spec.Pass {
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
			if in.Policy.Name == "" {
				require.Equal(t, "copying", got.Policy)
				require.Contains(t, got.Scope, "copying only")
			}
			doc, err := ledger.Measures.Read(context.Background(), s, got.Measures)
			require.NoError(t, err)
			require.NotEmpty(t, doc.Taken)
		})
	}
}

func TestAssessPassesNothingWithoutNumbers(t *testing.T) {
	got, err := Assessor{Store: storage.New(memory.New())}.Assess(context.Background(), step.AssessInput{})
	require.NoError(t, err)
	require.NotEqual(t, spec.Pass, got.Verdict)
	for _, r := range got.Rules {
		require.NotEqual(t, spec.Pass, r.Outcome, r.Name)
	}
}

// TestAssessMeasuresLikeness goes through check and decision with images.
func TestAssessMeasuresLikeness(t *testing.T) {
	ctx := context.Background()
	s := storage.New(memory.New())
	dataset, tensors := smallSet(t, s, 24)
	var images [][]uint8
	for i := range 12 {
		images = append(images, boxes(4+i))
	}
	images = append(images, realImage(t, s, tensors, 2))
	list := candidates(t, s, images...)
	check, err := Checker{Store: s}.CheckOverfit(ctx, step.OverfitInput{Candidates: list, Dataset: dataset, Tensors: tensors, Overfit: spec.Classic().Overfit})
	require.NoError(t, err)
	require.Equal(t, 1, check.Rejected)
	in := step.AssessInput{
		Ingest: step.IngestResult{Training: 21, Holdout: 3}, Sample: step.SampleResult{Candidates: list, Count: 13},
		Check: check, Tensors: tensors, Dataset: dataset, Policy: spec.ProductionPolicy(), Seed: 1,
	}
	got, err := Assessor{Store: s, Scratch: t.TempDir()}.Assess(ctx, in)
	require.NoError(t, err)
	require.Equal(t, spec.Fail, got.Verdict)
	doc, err := ledger.Measures.Read(ctx, s, got.Measures)
	require.NoError(t, err)
	require.Zero(t, doc.Taken[spec.MeasureCoverage].Value)
	require.InDelta(t, 1.0/13, doc.Taken[spec.MeasureTailShare].Value, 1e-12, "copying is measured of all candidates")
	require.Equal(t, 12.0, doc.Taken[spec.MeasureAccepted].Value)
	require.Greater(t, doc.Taken[spec.MeasureSWDRatio].Value, 3.0)
	again, err := Assessor{Store: s}.Assess(ctx, in)
	require.NoError(t, err)
	require.Equal(t, got, again)
	in.Sample.Candidates = candidates(t, s, boxes(3))
	_, err = Assessor{Store: s}.Assess(ctx, in)
	require.ErrorContains(t, err, "do not belong together")
}

func TestUtilityGainOfTheBestArm(t *testing.T) {
	in := step.AssessInput{Utility: step.UtilityResult{Done: true, Gains: []step.GainResult{
		{Arm: spec.ArmGenerated, Over: spec.ArmClassic, Low: -0.02}, {Arm: spec.ArmBoth, Over: spec.ArmClassic, Low: 0.01},
		{Arm: spec.ArmBoth, Over: spec.ArmReal, Low: 0.3}, {Arm: spec.ArmOversampled, Over: spec.ArmClassic, Low: 0.5},
	}}}
	require.InDelta(t, 0.01, counted(in).Taken[spec.MeasureUtilityGain].Value, 0)
	in.Utility.Gains = nil
	require.NotContains(t, counted(in).Taken, spec.MeasureUtilityGain)
	in.Utility.Done = false
	require.NotContains(t, counted(in).Taken, spec.MeasureUtilityGain)
}

func TestNeighbourListCopies(t *testing.T) {
	c := copies(ledger.NeighbourList{TailAt: 1, Candidates: []ledger.CandidateCheck{{Training: 0.5}}})
	require.InDelta(t, 1, c.TailShare(), 0)
	require.True(t, math.IsNaN(c.TransformedShare()), "no threshold")
	require.IsType(t, quality.Copies{}, c)
}
