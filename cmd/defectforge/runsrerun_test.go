package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

func TestRerunRefusesWhatComesBefore(t *testing.T) {
	record := step.RecordRunInput{Outcome: step.Outcome{
		Run: step.Run{WorkflowID: "w", RunID: "r"}, Class: "pits", Source: step.Source{Bucket: "b", Prefix: "p/"},
		Recipe: spectest.Quick(), Policy: spec.CopyingPolicy(),
	}}
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
	assert.EqualError(t, err, "--set: train.epochs 75 -> 9 changes the stage train, which comes before --from sample; "+
		"give --from train, or leave --from out")
	assert.ErrorContains(t, job("check", "sample.count=9"), "give --from sample")
	assert.ErrorContains(t, job("sample", "train.epoch=9"), "train.epochs")
	_, err = rerunStage("assess")
	assert.ErrorContains(t, err, "choose one of ingest, preprocess, train, sample, check")

	j, err := planRerun(record, "", rerunOptions{})
	require.NoError(t, err)
	again, err := planRerun(record, "Sample", rerunOptions{})
	require.NoError(t, err)
	assert.NotEqual(t, j.workflowID(), again.workflowID(), "a run that finds everything is another one")
	_, err = config.Change(spectest.Quick(), []string{"train.epochs=0"})
	assert.Error(t, err)
}
