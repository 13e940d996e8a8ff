//go:build !nodevstack && !windows

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"

	"github.com/defectforge/defectforge/activities/report"
)

// TestEndToEndRerun changes what is drawn: the training is found, and every stage
// says why it was reused or done again.
func TestEndToEndRerun(t *testing.T) {
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	first := b.published(b.do(b.runArgs(data, "--set", "train.epochs=4")...))
	require.NotEmpty(t, first.Times)
	assert.Contains(t, first.stderr, "where the time went:")
	assert.Empty(t, first.Stages)

	o := b.do("runs", "rerun", first.WorkflowID, "--from", "sample", "--set", "sample.count=20", "--data-dir", data, "--json")
	require.Equal(t, console.ExitOK, o.status, o.stderr)
	again := b.published(o)
	assert.NotEqual(t, first.WorkflowID, again.WorkflowID)
	assert.Equal(t, 20, again.ImagesPublished)
	reused := map[string]bool{}
	for _, s := range again.Stages {
		reused[s.Stage] = s.Reused
		assert.NotEmpty(t, s.Why, s.Stage)
	}
	assert.Equal(t, map[string]bool{
		"Ingest": false, "Preprocess": true, "Train": true, "Sample": false, "CheckOverfit": false, "Assess": false, "Report": false,
	}, reused)
	assert.Regexp(t, `(?m)^train +reused +the same tensors and training settings$`, again.stderr)
	assert.Regexp(t, `(?m)^sample +redone +sample\.count 12 -> 20$`, again.stderr)

	planned := b.do(b.runArgs(data, "--set", "train.epochs=4", "--dry-run", "--no-estimate")...).object(t)
	for _, stage := range planned["found"].([]any) {
		assert.Equal(t, true, stage.(map[string]any)["found"], stage)
	}
	assert.Len(t, planned["found"], 4)
	planned = b.do(b.runArgs(data, "--set", "train.epochs=6", "--set", "train.leg_epochs=2", "--dry-run")...).object(t)
	assert.Equal(t, "the first 4 of 6 epochs are there", planned["found"].([]any)[1].(map[string]any)["why"])
	assert.Equal(t, 2*8.0, planned["estimate"].(map[string]any)["steps"], "two epochs of eight batches are left")

	page := filepath.Join(t.TempDir(), "compared.html")
	o = b.do("runs", "compare", first.WorkflowID, again.WorkflowID, "--out", page, "--data-dir", data, "--json")
	require.Equal(t, console.ExitOK, o.status, o.stderr)
	var compared comparisonReport
	require.NoError(t, json.Unmarshal([]byte(o.stdout), &compared))
	assert.Equal(t, report.Difference{Name: "sample.count", Values: []string{"12", "20"}}, compared.Settings[0])
	assert.True(t, compared.Settings[1].Same)
	assert.Len(t, compared.Stages, 7)
	raw, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Equal(t, 12+20, strings.Count(string(raw), `src="data:image/jpeg`))
	o = b.do("runs", "compare", "metal/"+first.Release, first.WorkflowID+"/"+first.RunID, "--data-dir", data, "--json")
	require.Equal(t, console.ExitOK, o.status, o.stderr)

	refused := b.do("runs", "rerun", first.WorkflowID, "--from", "sample", "--set", "train.epochs=5", "--data-dir", data)
	assert.Equal(t, console.ExitUsage, refused.status)
	assert.Contains(t, refused.stderr, "comes before --from sample; give --from train")
	none := b.do("runs", "rerun", "augment-none", "--data-dir", data)
	assert.Equal(t, console.ExitFailed, none.status)
	assert.Contains(t, none.stderr, "left no record")
}
