package activities

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

func TestEstimateExtrapolates(t *testing.T) {
	r := spectest.SmallData()
	r.Ingest.HoldoutShare, r.Ingest.SelectionShare = 0.1, 0.1
	r.Train.Batch, r.Train.Epochs, r.Train.LegEpochs, r.Train.KeepCheckpoints = 12, 75, 5, 2
	r.Sample.Count, r.Monitor.Images = 120, 100
	c := model.Calibration{Steps: []float64{1, 2, 4}, Image: 0.5, PNG: 1000, Checkpoint: 1_000_000}
	e := EstimateRun(r, 150, nil, c)
	require.Equal(t, Estimate{
		Images: 120, Guessed: true, Steps: 750, Tried: 3, StepSeconds: 2, StepLow: 1, StepHigh: 4, // 75 epochs of 10 batches
		Training: 1500, Sampling: 60 + 15*50, Seconds: 2310, Low: 1560, High: 3810,
		TensorBytes: 150 * spec.ImageLen, CheckpointPeak: 5_000_000, CheckpointBytes: 2_000_000,
		CandidateBytes: 120_000, ReleaseBytes: 240_000 + 3<<20,
	}, e)
}

func TestEstimateLeavesOutWhatIsFound(t *testing.T) {
	r := spectest.Quick()
	c := model.Calibration{Steps: []float64{1}, Image: 1, PNG: 1, Checkpoint: 1}
	f := &Forecast{Ingest: step.IngestResult{Usable: 100, Training: 80}, Epochs: 75, Found: []FoundStage{
		{Stage: "Preprocess", Found: true}, {Stage: "Train", Found: true}, {Stage: "Sample", Found: true},
	}}
	e := EstimateRun(r, 0, f, c)
	require.Zero(t, e.Steps)
	require.Zero(t, e.Seconds, "what is found takes no time")
	require.Zero(t, e.TensorBytes+e.CheckpointPeak+e.CandidateBytes, "and no room")
	f.Epochs, f.Found = 50, nil
	e = EstimateRun(r, 0, f, c)
	require.Equal(t, int64(25*7), e.Steps, "the last 25 epochs of 6 batches and one of 8")
	require.Equal(t, int64(100*spec.ImageLen), e.TensorBytes)
}
