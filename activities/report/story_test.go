package report

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

func storyOutcome() step.Outcome {
	ref := func(name string) step.Ref { return step.Ref{Key: name, SHA256: name} }
	o := step.Outcome{
		Run: step.Run{WorkflowID: "w", RunID: "r"}, Class: "pits", Source: step.Source{Bucket: "b", Prefix: "p/"},
		Recipe: spectest.Quick(), Policy: spec.CopyingPolicy(),
		Ingest: step.IngestResult{Dataset: ref("dataset"), Usable: 110}, Preprocess: step.PreprocessResult{Tensors: ref("tensors")},
		Train: step.TrainResult{Checkpoint: ref("checkpoint")}, Sample: step.SampleResult{Candidates: ref("candidates")},
	}
	for _, s := range []step.StageTime{
		{Stage: "Ingest"}, {Stage: "Preprocess", Cached: true}, {Stage: "Train", Cached: true}, {Stage: "Sample"},
		{Stage: "CheckOverfit"}, {Stage: "Assess"}, {Stage: "Report"}, {Stage: "Publish"},
	} {
		s.Seconds = 2
		o.Times = append(o.Times, s)
	}
	return o
}

// TestStory: every stage says why it was reused or done again.
func TestStory(t *testing.T) {
	before, after := storyOutcome(), storyOutcome()
	after.Recipe.Sample.Count = 2000
	after.Sample.Candidates.SHA256 = "others"
	got, err := Story(before, after)
	require.NoError(t, err)
	var lines []string
	for _, s := range got {
		done := "redone"
		if s.Reused {
			done = "reused"
		}
		stage, known := step.StageNamed(s.Stage)
		require.True(t, known)
		lines = append(lines, stage.Word+" "+done+": "+s.Why)
	}
	assert.Equal(t, []string{
		"ingest redone: the source is always looked at; it holds the same data set",
		"preprocess reused: the same data set",
		"train reused: the same tensors and training settings",
		"sample redone: sample.count 120 -> 2000",
		"check redone: other candidates",
		"assess redone: other candidates",
		"report redone: is always done, from the same results",
	}, lines)

	after = storyOutcome()
	after.Rerun = &step.Rerun{From: "Train"}
	after.Times[2].Cached = false
	got, err = Story(before, after)
	require.NoError(t, err)
	assert.Equal(t, "--from train, from the same tensors and training settings", got[2].Why)
	after.Rerun = nil
	got, err = Story(before, after)
	require.NoError(t, err)
	assert.Contains(t, got[2].Why, "no result of it was kept")
	after.Ingest.Dataset.SHA256, after.Ingest.Usable = "more", 120
	got, err = Story(before, after)
	require.NoError(t, err)
	assert.Equal(t, "another data set: 120 usable images, before 110", got[0].Why)
}

// A recipe's JSON leaves out fields at their default, so that two recipes need not
// have the same ones.
func TestChangesOfFieldsThatOneRecipeLeavesOut(t *testing.T) {
	words := func(before, after spec.Recipe) (out []string) {
		changed, err := Changes(before, after)
		require.NoError(t, err)
		for _, c := range changed {
			out = append(out, c.Stage+": "+c.String())
		}
		return out
	}
	few := spectest.Quick()
	few.Ingest.MaxImages, few.Train.Decay, few.Train.Epochs = 50, spec.DecayLate, 9
	assert.Equal(t, []string{"Ingest: ingest.max_images none -> 50", "Train: train.epochs 75 -> 9", "Train: train.decay none -> late"},
		words(spectest.Quick(), few))
	assert.Equal(t, []string{"Train: train.epochs 9 -> 75", "Ingest: ingest.max_images 50 -> none", "Train: train.decay late -> none"},
		words(few, spectest.Quick()))
	assert.Empty(t, words(few, few))
}
