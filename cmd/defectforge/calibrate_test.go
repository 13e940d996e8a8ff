package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage/folder"
)

// TestEstimate extrapolates from tried steps to what is left to do.
func TestEstimate(t *testing.T) {
	r := spec.Quick()
	r.Model.GeneratorDepth, r.Model.DiscriminatorDepth, r.Sample.StatisticsBatches = 1, 1, 1
	j := job{recipe: r, uploads: []folderSource{{files: make([]folder.File, 150)}}}
	p := newProgram(t.Output(), t.Output())
	e, err := p.estimate(t.Context(), j, nil)
	require.NoError(t, err)
	assert.True(t, e.Guessed)
	assert.Equal(t, 120, e.Images)
	assert.Equal(t, int64(750), e.Steps, "75 epochs of 10 batches of 12")
	assert.GreaterOrEqual(t, e.Tried, minTried)
	assert.LessOrEqual(t, e.StepLow, e.StepSeconds)
	assert.LessOrEqual(t, e.StepSeconds, e.StepHigh)
	assert.InDelta(t, 750*e.StepSeconds, e.Training, 1e-9)
	assert.Equal(t, int64(150*spec.ImageLen), e.TensorBytes)
	assert.Positive(t, e.CheckpointBytes)
	assert.Greater(t, e.CheckpointPeak, e.CheckpointBytes)
	assert.Positive(t, e.CandidateBytes)

	f := &activities.Forecast{Ingest: step.IngestResult{Usable: 100, Training: 80}, Epochs: 75, Found: []activities.FoundStage{
		{Stage: "Preprocess", Found: true}, {Stage: "Train", Found: true}, {Stage: "Sample", Found: true},
	}}
	e, err = p.estimate(t.Context(), j, f)
	require.NoError(t, err)
	assert.Zero(t, e.Steps)
	assert.Zero(t, e.Seconds, "what is found takes no time")
	assert.Zero(t, e.TensorBytes+e.CheckpointPeak+e.CandidateBytes, "and no room")
	f.Epochs, f.Found = 50, nil
	e, err = p.estimate(t.Context(), j, f)
	require.NoError(t, err)
	assert.Equal(t, int64(25*7), e.Steps, "the last 25 epochs of 6 batches and one of 8")
}
