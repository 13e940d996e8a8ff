//go:build !nodevstack && !windows

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
)

// A run that knows another class says whether its set helps; a policy that asks
// for it lets nothing out where it does not, or where nobody could tell.
func TestEndToEndCompare(t *testing.T) {
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	args := b.runArgs(data, "--set", "train.epochs=2", "--utility-splits", "2", "--utility-seeds", "2", "--utility-steps", "10", "--utility-per-class", "10")
	compared := append(args, "--compare", "bright="+metalFolder(t, numbers(200, 230)...))
	first := b.published(b.do(compared...))
	require.NotNil(t, first.Utility)
	require.True(t, first.Utility.Done, first.Utility.Why)
	assert.Equal(t, []string{"metal", "bright"}, first.Utility.Classes)
	assert.Len(t, first.Utility.Arms, 5)
	assert.Regexp(t, `(?m)^compare classifiers [0-9]`, first.stderr, "how long it took")
	assert.Contains(t, first.stderr, first.Utility.Summary)
	page, err := os.ReadFile(first.Report)
	require.NoError(t, err)
	assert.Contains(t, string(page), "Told apart: ")

	shown := b.do("runs", "show", first.WorkflowID, "--data-dir", data)
	assert.Contains(t, shown.stdout, "utility    "+first.Utility.Summary)
	dir := filepath.Join(t.TempDir(), "pulled")
	require.Equal(t, console.ExitOK, b.do("releases", "pull", "metal", "--dir", dir, "--data-dir", data).status)
	card, err := os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	assert.Contains(t, string(card), first.Utility.Summary)
	assert.FileExists(t, filepath.Join(dir, "utility.json"))
	assert.Equal(t, first.ManifestSHA256, b.published(b.do(compared...)).ManifestSHA256)

	policy := writeFile(t, filepath.Join(t.TempDir(), "demanding.yaml"), "rules:\n- {measure: accepted_images, min: 8}\n- {measure: utility_gain, min: 0.001}\n")
	alone := b.do(append(args, "--policy", policy)...)
	assert.Equal(t, console.ExitNotApproved, alone.status, alone.stderr)
	assert.Equal(t, "inconclusive", alone.object(t)["verdict"])
	assert.Nil(t, alone.object(t)["utility"])
	assert.Contains(t, alone.stderr, "only --compare can tell")
	// Three held out are too few to test with: the run is not lost, and no pass.
	few := b.do(append(compared, "--policy", policy, "--set", "ingest.holdout_share=0.03")...)
	assert.Equal(t, console.ExitNotApproved, few.status, few.stderr)
	assert.Equal(t, "inconclusive", few.object(t)["verdict"])
	assert.Contains(t, fmt.Sprint(few.object(t)["reasons"]), "has 3 held out, at least 5 are needed")
}

// The stack of another process has the images, and those to judge.
func TestEndToEndAssessBucket(t *testing.T) {
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	args := b.runArgs(data, "--set", "train.epochs=2")
	made := b.published(b.do(args...))
	planned := b.do(append(args, "--dry-run", "--no-estimate")...).object(t)["source"].(map[string]any)
	bucket := "s3://" + planned["bucket"].(string) + "/"
	up := b.start("up", "--data-dir", data, "--json")
	require.Eventually(t, func() bool { return strings.Contains(up.stdout.String(), "}") }, patience, 20*time.Millisecond, "it says when it is ready")
	judge := func(more ...string) (outcome, assessReport) {
		o := b.do(append([]string{"assess", "--real", bucket + planned["prefix"].(string), "--data-dir", data, "--json"}, more...)...)
		var r assessReport
		require.NoError(t, json.Unmarshal([]byte(o.stdout), &r), "%s%s", o.stdout, o.stderr)
		return o, r
	}
	drawn := bucket + "releases/metal/" + made.Release + "/images/metal"
	o, report := judge("--candidates", drawn, "--policy", "copying")
	assert.Equal(t, console.ExitOK, o.status, o.stderr)
	assert.Equal(t, "pass", report.Verdict)
	assert.Equal(t, 12, report.Candidates)
	assert.Equal(t, goodImages, report.Training+report.Holdout)

	// The same images as candidates, beside a hold-out in a folder.
	o, report = judge("--candidates", bucket+planned["prefix"].(string), "--holdout", metalFolder(t, numbers(300, 320)...))
	assert.Equal(t, console.ExitNotApproved, o.status, o.stderr)
	assert.Equal(t, "fail", report.Verdict)
	assert.Len(t, report.Rejected, goodImages)
	assert.Len(t, report.Unreadable, corruptImages)
	assert.Equal(t, 20, report.Holdout)

	o = b.do("assess", "--real", bucket+"nothing/here", "--candidates", drawn, "--data-dir", data)
	assert.Equal(t, console.ExitUsage, o.status, o.stderr)
	assert.Contains(t, o.stderr, "nothing found below "+bucket+"nothing/here/")
	o = b.do("assess", "--real", "s3://no-such-bucket/x", "--candidates", drawn, "--data-dir", data)
	assert.NotEqual(t, console.ExitOK, o.status)
	assert.Contains(t, o.stderr, "no-such-bucket")
	o = b.do("assess", "--real", bucket+planned["prefix"].(string), "--candidates", bucket+"none", "--data-dir", data)
	assert.Equal(t, console.ExitUsage, o.status, o.stderr)
	assert.Contains(t, o.stderr, "candidates: nothing found below")
	assert.True(t, up.running())
}
