//go:build !nodevstack && !windows

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
)

// session opens one for a test.
func (d *desk) session() *process.Session {
	d.t.Helper()
	s, err := d.process.Open(d.t.Context())
	require.NoError(d.t, err)
	d.t.Cleanup(s.Close)
	require.False(d.t, s.Owns(), "another process runs the stack")
	return s
}

// await waits until a run is at a stage.
func (d *desk) await(s *process.Session, id, stage string) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		now, err := client.Runs.Look(d.t.Context(), s.Client(), id)
		return err == nil && now.Stage == stage && (stage != step.AwaitApproval || now.Status.Deadline != nil)
	}, patienceHere, 50*time.Millisecond, "%s does not come to %s", id, stage)
}

const patienceHere = time.Minute

// started starts a run and returns its workflow identifier.
func (d *desk) started(o runOptions) string {
	d.t.Helper()
	o.detach = true
	require.NoError(d.t, augment(d.t.Context(), d.app, o))
	got := d.printed()
	assert.Contains(d.t, got.stderr, "started; `defectforge runs watch augment-"+o.class+"-")
	return strings.TrimSpace(got.stdout)
}

// A run is followed to its end: its report is put where a browser finds it, and
// the same command again finds the same run.
func TestRunIsFollowedToItsEnd(t *testing.T) {
	d := newDesk(t)
	o := d.options("metal")
	require.NoError(t, augment(t.Context(), d.app, o))
	got := d.printed()
	for _, line := range []string{
		"verdict    pass\n", "images     33 in, 3 quarantined, 12 published\n", "release    releases/metal/r1\n", "manifest   sha256 1111",
	} {
		assert.Contains(t, got.stdout, line)
	}
	assert.Regexp(t, `(?m)^upload +1 files, .*, 1 of them new`, got.stderr)
	assert.Contains(t, got.stderr, "where the time went:")

	s := d.session()
	lines, err := s.Client().List(t.Context(), "WorkflowType = 'AugmentDefectClass' AND DefectClass = 'metal'", 10)
	require.NoError(t, err)
	require.Len(t, lines, 1)
	page, err := os.ReadFile(reportFile(d.app, lines[0].WorkflowID, lines[0].RunID, "report.html"))
	require.NoError(t, err)
	assert.Equal(t, "<p>metal", string(page))

	require.NoError(t, showRun(t.Context(), d.app, s, lines[0].WorkflowID, ""))
	shown := d.printed().stdout
	assert.Contains(t, shown, "status     completed, stage done\n")
	assert.Contains(t, shown, "record     runs/"+lines[0].WorkflowID+"/"+lines[0].RunID+"/run.json\n")
	require.NoError(t, watchRun(t.Context(), d.app, s, lines[0].WorkflowID, ""))
	assert.Contains(t, d.printed().stdout, "verdict    pass\n")

	require.NoError(t, augment(t.Context(), d.app, o))
	assert.Contains(t, d.printed().stderr, "run "+lines[0].WorkflowID)
	require.NoError(t, listRuns(t.Context(), d.app, listOptions{class: "metal", verdict: "pass", limit: 1}))
	listed := d.printed().stdout
	assert.Equal(t, 1, strings.Count(listed, lines[0].WorkflowID), "no more than the limit")
	assert.ErrorContains(t, notFound(showRun(t.Context(), d.app, s, "augment-none", ""), "augment-none"), "run augment-none: not found")
}

// What was not approved ends with its own status, what failed says what to do.
func TestRunsThatPublishNothing(t *testing.T) {
	d := newDesk(t)
	err := augment(t.Context(), d.app, d.options(classPoor))
	assert.Equal(t, console.ExitNotApproved, statusOf(err))
	assert.Contains(t, d.printed().stdout, "release    none: what was not approved is not published")

	err = augment(t.Context(), d.app, d.options(classFew))
	assert.Equal(t, console.ExitFailed, statusOf(err))
	assert.EqualError(t, err, "Ingest: too few images: 2 usable; add more")
	o := d.options(classFew)
	got := d.cli("run", "--images", o.images, "--class", o.class, "--recipe", "quick", "--json")
	assert.Equal(t, console.ExitFailed, got.status)
	assert.Equal(t, "Ingest: too few images: 2 usable; add more", got.object(t)["error"])
	assert.Equal(t, float64(0), got.object(t)["images_published"])
}

// A decision is taken once: the same again is answered alike, the opposite is
// refused, before the run's end and after it.
func TestDecisions(t *testing.T) {
	d := newDesk(t)
	policy := writeFile(t, filepath.Join(t.TempDir(), "asking.yaml"), askingPolicy)
	o := d.options("asked")
	o.policy = policy
	id := d.started(o)
	s := d.session()
	d.await(s, id, step.AwaitApproval)
	require.NoError(t, showRun(t.Context(), d.app, s, id, ""))
	assert.Contains(t, d.printed().stdout, "approval   waiting until")

	yes := decideOptions{id: id, Decision: client.Decision{Approve: true, Who: "ada", Why: "looked at it"}}
	no := decideOptions{id: id, Decision: client.Decision{Who: "bob", Why: "too dark"}}
	assert.Equal(t, console.ExitUsage, statusOf(decide(t.Context(), d.app, decideOptions{id: id})), "a reason is needed")
	none := yes
	none.id = "augment-none"
	assert.ErrorContains(t, decide(t.Context(), d.app, none), "not found")
	require.NoError(t, decide(t.Context(), d.app, yes))
	assert.Contains(t, d.printed().stdout, "approval   approved by ada")
	require.NoError(t, watchRun(t.Context(), d.app, s, id, ""))
	d.printed()
	require.NoError(t, decide(t.Context(), d.app, yes), "the same again")
	assert.Contains(t, d.printed().stdout, "release    r1\n")
	assert.ErrorContains(t, decide(t.Context(), d.app, no), "it has ended (approved by ada")

	o.seed, o.seeded = 2, true
	no.id = d.started(o)
	d.await(s, no.id, step.AwaitApproval)
	require.NoError(t, decide(t.Context(), d.app, no))
	err := watchRun(t.Context(), d.app, s, no.id, "")
	assert.Equal(t, console.ExitNotApproved, statusOf(err))
	assert.Contains(t, d.printed().stdout, "too dark")
}

// A run under way shows how far it is, and ends where it is cancelled.
func TestCancel(t *testing.T) {
	d := newDesk(t)
	id := d.started(d.options(classStuck))
	s := d.session()
	d.await(s, id, step.Train.String())
	require.Eventually(t, func() bool {
		details, err := detailsOf(t.Context(), d.app, s, id, "")
		require.NoError(t, err)
		return details.Train != nil && details.Attempt == 1
	}, patienceHere, 50*time.Millisecond)
	got := d.cli("__complete", "runs", "cancel", "augment-"+classStuck)
	assert.Contains(t, got.stdout, id+"\t"+classStuck+", running")
	assert.NotContains(t, d.cli("__complete", "runs", "approve", "").stdout, id)
	require.NoError(t, cancelWorkflow(t.Context(), d.app, s, id, ""))
	assert.Contains(t, d.printed().stderr, "cancellation of "+id+" requested\n")
	assert.ErrorContains(t, watchRun(t.Context(), d.app, s, id, ""), "the run was cancelled; run the same command again")
}

// A run that repeats another says of each stage whether it was reused.
func TestRerun(t *testing.T) {
	d := newDesk(t)
	id := d.started(d.options("again"))
	s := d.session()
	require.NoError(t, watchRun(t.Context(), d.app, s, id, ""))
	d.printed()
	require.NoError(t, rerun(t.Context(), d.app, id, rerunOptions{from: "sample", set: []string{"sample.count=500"}}))
	assert.Regexp(t, `(?m)^sample +redone +sample\.count 120 -> 500`, d.printed().stderr)
	err := rerun(t.Context(), d.app, id, rerunOptions{from: "sample", set: []string{"train.epochs=5"}})
	assert.Equal(t, console.ExitUsage, statusOf(err))
	assert.ErrorContains(t, rerun(t.Context(), d.app, "augment-none", rerunOptions{}), "left no record")
}

// Other commands find the stack, and leave it alone.
func TestDoctorAndUpFindTheStack(t *testing.T) {
	d := newDesk(t)
	got := d.cli("doctor", "--json")
	assert.Equal(t, console.ExitOK, got.status, got.stdout)
	checks := map[string]string{}
	var report struct{ Checks []check }
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &report))
	for _, c := range report.Checks {
		checks[c.Name] = c.Detail
	}
	assert.Contains(t, checks["embedded stack"], "runs already")
	assert.Equal(t, "all registered", checks["search attributes"])
	assert.Equal(t, "honoured", checks["conditional writes"])
	assert.ErrorContains(t, up(t.Context(), d.app), "runs already")
	require.NoError(t, cleanUp(t.Context(), d.app, cleanUpOfAll(t)))
	assert.Regexp(t, `(?m)^WOULD GO +OBJECTS +SIZE`, d.printed().stdout)
}
