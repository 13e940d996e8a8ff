package workflows

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// TestRefreshFromAStage: that stage and the later ones are refreshed, the earlier ones
// are not, and without --from none is.
func TestRefreshFromAStage(t *testing.T) {
	order := step.RerunStages()
	for from := range len(order) + 1 {
		a := &augmentation{in: AugmentInput{Rerun: &step.Rerun{}}}
		if from < len(order) {
			a.in.Rerun.From = order[from]
		}
		for i, s := range []interface{ String() string }{step.Ingest, step.Preprocess, step.Train, step.Sample, step.CheckOverfit} {
			require.Equal(t, order[i], s.String())
			require.Equal(t, i >= from, a.refresh(s), "%s from %v", s, a.in.Rerun)
		}
	}
	require.False(t, (&augmentation{}).refresh(step.Train))
}

func TestRerunSaysItsStages(t *testing.T) {
	s, in := &stages{verdict: spec.Pass}, input()
	in.Rerun = &step.Rerun{Of: step.Run{WorkflowID: "w", RunID: "r"}, From: string(step.CheckOverfit)}
	require.NoError(t, start(t, s, in, nil).GetWorkflowError())
	require.Equal(t, in.Rerun, s.record.Outcome.Rerun)
	require.True(t, s.overfit.Refresh)
	require.False(t, s.trained[0].Refresh)
}

// TestPipelineFromAStage does nothing twice that nobody asked for, and says so.
func TestPipelineFromAStage(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; skipped in short mode")
	}
	b := memory.New()
	in := tinyInput(t, b, "many", 110)
	found := func(out AugmentResult) map[string]bool {
		raw, err := storage.New(b).Read(context.Background(), storage.Object(out.Record), 1<<20)
		require.NoError(t, err)
		var record step.RecordRunInput
		require.NoError(t, json.Unmarshal(raw, &record))
		require.Equal(t, out.Times[:len(record.Outcome.Times)], record.Outcome.Times)
		m := map[string]bool{}
		for _, s := range record.Outcome.Times {
			m[s.Stage] = s.Cached
		}
		return m
	}
	first, err := pipeline(t, b, in)
	require.NoError(t, err)
	for stage, cached := range found(first) {
		require.False(t, cached, stage)
	}
	again, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, map[string]bool{
		"Ingest": false, "Preprocess": true, "Train": true, "Sample": true, "CheckOverfit": true, "Assess": false,
		"Report": false, "Publish": false,
	}, found(again))
	in.Rerun = &step.Rerun{From: string(step.Sample)}
	forced, err := pipeline(t, b, in)
	require.NoError(t, err)
	require.Equal(t, map[string]bool{
		"Ingest": false, "Preprocess": true, "Train": true, "Sample": false, "CheckOverfit": false, "Assess": false,
		"Report": false, "Publish": false,
	}, found(forced))
	require.Equal(t, first.ManifestSHA256, forced.ManifestSHA256, "done again, to the same bytes")
	in.Rerun = &step.Rerun{From: string(step.Ingest)}
	all, err := pipeline(t, b, in)
	require.NoError(t, err)
	for stage, cached := range found(all) {
		require.False(t, cached, stage)
	}
	require.Equal(t, first.ManifestSHA256, all.ManifestSHA256)
}
