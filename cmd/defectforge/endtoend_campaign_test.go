//go:build !nodevstack && !windows

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"

	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
)

// classes makes a folder with a folder of the bench's images for each name.
func (b *bench) classes(names ...string) string {
	dir := filepath.Join(b.t.TempDir(), "classes")
	require.NoError(b.t, os.MkdirAll(dir, 0o755))
	for i, name := range names {
		require.NoError(b.t, os.MkdirAll(filepath.Join(dir, name), 0o755))
		for j := range goodImages - i { // no class equals another
			file := fmt.Sprintf("dark-%03d.png", j)
			raw, err := os.ReadFile(filepath.Join(b.images, file))
			require.NoError(b.t, err)
			writeFile(b.t, filepath.Join(dir, name, file), string(raw))
		}
	}
	return dir
}

func (b *bench) campaign(o outcome) campaignReport {
	b.t.Helper()
	var r campaignReport
	require.NoError(b.t, json.Unmarshal([]byte(o.stdout), &r), o.stdout+o.stderr)
	return r
}

func readCampaign(t *testing.T, r campaignReport) report.Campaign {
	t.Helper()
	raw, err := os.ReadFile(r.Summary)
	require.NoError(t, err)
	c, err := report.DecodeCampaign(raw)
	require.NoError(t, err)
	return c
}

// TestEndToEndCampaign kills a campaign and starts it again: it goes on where it
// was, each class becomes the release that it would be alone, and what failed is
// tried again by itself.
func TestEndToEndCampaign(t *testing.T) {
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	dir := b.classes("metal-a", "metal-b", "Metal C")
	writeFile(t, filepath.Join(dir, "empty", "text.png"), "no image")
	args := []string{"campaign", "run", "--images", dir, "--recipe", b.recipe, "--set", "train.epochs=16", "--concurrency", "2", "--name", "nightly", "--data-dir", data, "--json"}
	killed := b.start(args...)
	killed.seen(`(?m)^failed +empty`)
	killed.seen(`under way: `)
	require.NoError(t, killed.cmd.Process.Kill())
	<-killed.done

	o := b.do(args...)
	require.Equal(t, console.ExitFailed, o.status, o.stderr)
	first := b.campaign(o)
	assert.Equal(t, step.RunCounts{Published: 3, Failed: 1}, first.Counts)
	assert.Regexp(t, `^campaign-nightly-[0-9a-f]{12}$`, first.WorkflowID)
	summary := readCampaign(t, first)
	require.Len(t, summary.Rows, 4)
	assert.Equal(t, "metal-c", summary.Rows[0].Class, "of the folder Metal C")
	assert.Equal(t, step.ErrTooFewImages, summary.Rows[1].FailureType)
	page, err := os.ReadFile(first.Report)
	require.NoError(t, err)
	for _, link := range regexp.MustCompile(`href="(\.\./[^"]+)"`).FindAllStringSubmatch(string(page), -1) {
		assert.FileExists(t, filepath.Join(filepath.Dir(first.Report), link[1]))
	}
	assert.Equal(t, 3, strings.Count(string(page), `href="../`))

	alone := b.published(b.do("run", "--images", filepath.Join(dir, "metal-b"), "--class", "metal-b", "--recipe", b.recipe, "--set", "train.epochs=16", "--data-dir", data, "--json"))
	assert.Equal(t, summary.Rows[3].Run.WorkflowID, alone.WorkflowID, "the same run, whoever starts it")
	assert.Equal(t, summary.Rows[3].ManifestSHA256, alone.ManifestSHA256)

	o = b.do("campaign", "retry", first.WorkflowID, "--data-dir", data, "--json")
	assert.Equal(t, console.ExitFailed, o.status, o.stderr)
	again := b.campaign(o)
	assert.Equal(t, first.Counts, again.Counts, "all rows are there")
	assert.NotEqual(t, first.RunID, again.RunID)
	for i, row := range readCampaign(t, again).Rows {
		if row.Status == step.RunFailed {
			assert.NotEqual(t, summary.Rows[i].Run.RunID, row.Run.RunID, "tried again")
		} else {
			assert.Equal(t, summary.Rows[i], row, "stands")
		}
	}
	shown := b.do("campaign", "show", first.WorkflowID, "--data-dir", data, "--json")
	require.Equal(t, console.ExitOK, shown.status, shown.stderr)
	assert.Equal(t, "completed", shown.object(t)["status"])
	assert.Len(t, b.do("campaign", "list", "--data-dir", data, "--json").object(t)["campaigns"], 2)
}

// TestEndToEndSweep compares recipes of one class and publishes nothing.
func TestEndToEndSweep(t *testing.T) {
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	o := b.do("campaign", "sweep", "--images", b.images, "--class", "metal", "--recipe", b.recipe, "--set", "train.epochs=2",
		"--vary", "train.generator_rate=1e-6,2e-6", "--vary", "seed=1,2", "--data-dir", data, "--json")
	require.Equal(t, console.ExitOK, o.status, o.stderr)
	r := b.campaign(o)
	assert.Equal(t, step.RunCounts{Passed: 4}, r.Counts)
	summary := readCampaign(t, r)
	assert.Equal(t, []step.Setting{{Key: "train.generator_rate", Value: "2e-6"}, {Key: "seed", Value: "1"}}, summary.Rows[2].Settings)
	assert.NotEmpty(t, summary.Rows[2].Measures)
	releases := b.do("releases", "list", "--data-dir", data, "--json")
	require.Equal(t, console.ExitOK, releases.status, releases.stderr)
	assert.NotContains(t, releases.stdout, "metal")

	for _, bad := range [][]string{
		{"--vary", "train.no=1"}, {"--vary", "seed=1,1"}, {"--vary", "seed"}, {"--vary", "seed=1", "--vary", "seed=2"}, {"--vary", "train.batch=0"}, {},
	} {
		o := b.do(append([]string{"campaign", "sweep", "--images", b.images, "--class", "metal", "--recipe", b.recipe, "--data-dir", data}, bad...)...)
		assert.Equal(t, console.ExitUsage, o.status, "%v: %s", bad, o.stderr)
		assert.Contains(t, o.stderr, "--vary")
	}
}
