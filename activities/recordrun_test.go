package activities

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

func TestRecordRun(t *testing.T) {
	ctx := context.Background()
	s := storage.New(memory.New())
	html, err := s.PutArtifact(ctx, []byte("<html>"), ".html")
	require.NoError(t, err)
	twin, err := s.PutArtifact(ctx, []byte("{}"), ".json")
	require.NoError(t, err)
	for _, name := range []string{"step-000000002.safetensors", "step-000000002.curves.json", "leg-000000004.safetensors"} {
		_, err := s.PutNamed(ctx, runCheckpoints+name, []byte("x"))
		require.NoError(t, err)
	}
	in := step.RecordRunInput{
		Outcome: step.Outcome{Run: testRun, Class: "scratches", Recipe: tiny(), Times: []step.StageTime{{Stage: "Train", Seconds: 2}}},
		Report:  step.ReportResult{HTML: step.Ref(html), JSON: step.Ref(twin)}, Verdict: spec.Fail,
	}
	out, err := Recorder{Store: s}.RecordRun(ctx, in)
	require.NoError(t, err)
	require.Equal(t, "runs/augment-scratches/run-1/run.json", out.Record.Key)
	require.Equal(t, "runs/augment-scratches/run-1/report.html", out.Report.Key)
	require.Equal(t, []string{"checkpoints/leg-000000004.safetensors", "report.html", "report.json", "run.json"}, keys(t, s, "runs/augment-scratches/run-1/"))
	raw, err := s.Read(ctx, storage.Object(out.Record), 1<<20)
	require.NoError(t, err)
	require.Contains(t, string(raw), `"format": "defectforge.run/1"`)
	record, err := ledger.DecodeRun(raw)
	require.NoError(t, err)
	require.Equal(t, in, record)

	again, err := Recorder{Store: s}.RecordRun(ctx, in)
	require.NoError(t, err)
	require.Equal(t, out, again)

	in.Publish.Release = "r1"
	_, err = Recorder{Store: s}.RecordRun(ctx, in)
	require.ErrorContains(t, err, "only what passed is published")
	in.Outcome.Run = step.Run{}
	_, err = Recorder{Store: s}.RecordRun(ctx, in)
	require.ErrorContains(t, err, "needs a workflow and a run identifier")
}
