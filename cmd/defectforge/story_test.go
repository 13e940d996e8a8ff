package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/spec"
)

func storyOutcome() step.Outcome {
	ref := func(name string) step.Ref { return step.Ref{Key: name, SHA256: name} }
	o := step.Outcome{
		Run: step.Run{WorkflowID: "w", RunID: "r"}, Class: "pits", Source: step.Source{Bucket: "b", Prefix: "p/"}, Recipe: spec.Quick(), Policy: spec.CopyingPolicy(),
		Ingest: step.IngestResult{Dataset: ref("dataset"), Usable: 110}, Preprocess: step.PreprocessResult{Tensors: ref("tensors")},
		Train: step.TrainResult{Checkpoint: ref("checkpoint")}, Sample: step.SampleResult{Candidates: ref("candidates")},
	}
	for _, s := range []step.StageTime{{Stage: "Ingest"}, {Stage: "Preprocess", Cached: true}, {Stage: "Train", Cached: true}, {Stage: "Sample"}, {Stage: "CheckOverfit"}, {Stage: "Assess"}, {Stage: "Report"}, {Stage: "Publish"}} {
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
	got, err := story(before, after)
	require.NoError(t, err)
	var lines []string
	for _, s := range got {
		lines = append(lines, rerunName(s.Stage)+" "+console.Either(s.Reused, "reused", "redone")+": "+s.Why)
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
	got, err = story(before, after)
	require.NoError(t, err)
	assert.Equal(t, "--from train, from the same tensors and training settings", got[2].Why)
	after.Rerun = nil
	got, err = story(before, after)
	require.NoError(t, err)
	assert.Contains(t, got[2].Why, "no result of it was kept")
	after.Ingest.Dataset.SHA256, after.Ingest.Usable = "more", 120
	got, err = story(before, after)
	require.NoError(t, err)
	assert.Equal(t, "another data set: 120 usable images, before 110", got[0].Why)
}

func TestRerunRefusesWhatComesBefore(t *testing.T) {
	record := step.RecordRunInput{Outcome: storyOutcome()}
	job := func(from string, set ...string) error {
		stage, err := rerunStage(from)
		require.NoError(t, err)
		_, err = planRerun(record, stage, rerunOptions{set: set})
		return err
	}
	assert.NoError(t, job("sample", "sample.count=500", "overfit.neighbours=3"))
	assert.NoError(t, job("", "train.epochs=9"))
	err := job("sample", "train.epochs=9")
	assert.Equal(t, console.ExitUsage, statusOf(err))
	assert.EqualError(t, err, "--set: train.epochs 75 -> 9 changes the stage train, which comes before --from sample; give --from train, or leave --from out")
	assert.ErrorContains(t, job("check", "sample.count=9"), "give --from sample")
	assert.ErrorContains(t, job("sample", "train.epoch=9"), "train.epochs")
	_, err = rerunStage("assess")
	assert.ErrorContains(t, err, "choose one of ingest, preprocess, train, sample, check")

	j, err := planRerun(record, "", rerunOptions{})
	require.NoError(t, err)
	again, err := planRerun(record, "Sample", rerunOptions{})
	require.NoError(t, err)
	assert.NotEqual(t, j.workflowID(), again.workflowID(), "a run that finds everything is another one")
	_, err = config.Change(spec.Quick(), []string{"train.epochs=0"})
	assert.Error(t, err)
}
