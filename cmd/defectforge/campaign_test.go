//go:build !nodevstack && !windows

package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/workflows"
)

// A campaign makes a run of each folder, sums them up, and does again by itself
// what failed.
func TestCampaign(t *testing.T) {
	d := newDesk(t)
	dir := t.TempDir()
	for _, class := range []string{"Pits A", "rust", classFew} {
		writeFile(t, filepath.Join(dir, class, "one.png"), dir+class)
	}
	writeFile(t, filepath.Join(dir, "loose.png"), "x")
	o := campaignOptions{runOptions: runOptions{images: dir, recipe: "quick", set: []string{"train.epochs=2"}}, name: "nightly", concurrency: 2}
	err := runCampaign(t.Context(), d.app, o, planCampaign)
	assert.Equal(t, console.ExitFailed, statusOf(err), "one failed")
	got := d.printed()
	assert.Contains(t, got.stderr, "1 files directly in "+dir+" belong to no class")
	assert.Contains(t, got.stdout, "runs       2 published\nruns       1 failed\n")

	s := d.session()
	lines, err := s.Client().List(t.Context(), "WorkflowType = '"+workflows.CampaignName+"'", 5)
	require.NoError(t, err)
	require.Len(t, lines, 1)
	id := lines[0].WorkflowID
	assert.Regexp(t, `^campaign-nightly-[0-9a-f]{12}$`, id)
	require.NoError(t, listCampaigns(t.Context(), d.app, 5))
	assert.Contains(t, d.printed().stdout, id)
	require.NoError(t, showCampaign(t.Context(), d.app, s, id, ""))
	assert.Contains(t, d.printed().stdout, "status     completed\n")

	plan, err := planRetry(t.Context(), d.app, id)
	require.NoError(t, err)
	require.Len(t, plan.items, 1)
	assert.Equal(t, classFew, plan.items[0].Class)
	err = retryCampaign(t.Context(), d.app, retryOptions{id: id})
	assert.Equal(t, console.ExitFailed, statusOf(err))
	assert.Contains(t, d.printed().stdout, "runs       2 published\nruns       1 failed\n", "those that stand are counted")
	assert.Equal(t, console.ExitUsage, statusOf(retryCampaign(t.Context(), d.app, retryOptions{id: id, concurrency: 1000})))

	run := d.started(d.options("nocampaign"))
	err = watchCampaign(t.Context(), d.app, s, run, "")
	assert.Equal(t, console.ExitUsage, statusOf(err))
	assert.ErrorContains(t, err, "is no campaign but a "+workflows.AugmentName)
}

// A sweep makes a run of each choice of values, and publishes nothing.
func TestSweepPlan(t *testing.T) {
	isolate(t)
	d := newApp(t.Output(), t.Output())
	require.NoError(t, loadDefaults(d))
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "one.png"), "x")
	o := campaignOptions{runOptions: runOptions{images: dir, class: "metal", recipe: "quick"}, concurrency: 2, vary: []string{
		"train.generator_rate=1e-6,2e-6", "seed=1,2",
	}}
	p, err := planSweep(t.Context(), d, o)
	require.NoError(t, err)
	require.Len(t, p.items, 4)
	assert.Equal(t, []step.Setting{{Key: "train.generator_rate", Value: "2e-6"}, {Key: "seed", Value: "1"}}, p.items[2].Settings)
	assert.Equal(t, 2e-6, p.items[2].Recipe.Train.GeneratorRate)
	assert.True(t, p.input.Unpublished)
	assert.Equal(t, "metal", p.input.Name)
	o.publish = true
	p, err = planSweep(t.Context(), d, o)
	require.NoError(t, err)
	assert.False(t, p.input.Unpublished)
	for _, bad := range [][]string{
		{"train.no=1"}, {"seed=1,1"}, {"seed"}, {"seed=1", "seed=2"}, {"train.batch=0"}, {},
	} {
		o.vary = bad
		_, err := planSweep(t.Context(), d, o)
		assert.Equal(t, console.ExitUsage, statusOf(err), "%v", bad)
		assert.ErrorContains(t, err, "--vary", "%v", bad)
	}
	assert.NoError(t, campaignStatus(step.RunCounts{Passed: 3, NotApproved: 1}, true), "a sweep is complete")
	assert.Equal(t, console.ExitNotApproved, statusOf(campaignStatus(step.RunCounts{Published: 3, NotApproved: 1}, false)))
	assert.Equal(t, console.ExitFailed, statusOf(campaignStatus(step.RunCounts{Published: 3, NotApproved: 1, Cancelled: 1}, false)))
}
