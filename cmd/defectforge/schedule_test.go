//go:build !nodevstack && !windows

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/workflows"
)

func cleanUpOfAll(t *testing.T) workflows.CleanUpInput {
	t.Helper()
	r, err := keeping{grace: usualGrace, checkpoints: usualGrace}.retention()
	require.NoError(t, err)
	return workflows.CleanUpInput{Retention: r}
}

// described reads a schedule as `schedule describe` does.
func (d *desk) described(s *process.Session, name string) scheduleDetails {
	d.t.Helper()
	h := s.Temporal.ScheduleClient().GetHandle(d.t.Context(), name)
	got, err := h.Describe(d.t.Context())
	require.NoError(d.t, err)
	return readSchedule(name, got, s.Payloads.Data)
}

func TestSchedules(t *testing.T) {
	d := newDesk(t)
	o := scheduleOptions{name: "nightly", run: runOptions{images: "s3://factory/metal", class: "scheduled", recipe: "quick", minNew: 5}}
	o.timing = timing{cron: "0 2 * * *", zone: "Europe/Berlin", overlap: "bufferone", catchup: time.Hour}
	require.NoError(t, createSchedule(t.Context(), d.app, o))
	assert.Contains(t, d.printed().stdout, "schedule nightly created\n")
	assert.ErrorContains(t, createSchedule(t.Context(), d.app, o), "is there already")
	bad := o
	bad.name, bad.timing.cron = "bad", "0 25 * * *"
	err := createSchedule(t.Context(), d.app, bad)
	assert.Equal(t, console.ExitUsage, statusOf(err))
	assert.ErrorContains(t, err, `--cron: "0 25 * * *"`)

	s := d.session()
	h := s.Temporal.ScheduleClient().GetHandle(t.Context(), "nightly")
	got := d.described(s, "nightly")
	assert.Equal(t, "0 2 * * * Europe/Berlin", got.When)
	assert.Equal(t, "BufferOne", got.Overlap)
	assert.Equal(t, 5, got.MinNew)
	assert.Equal(t, "scheduled", got.Class)
	require.NoError(t, describeSchedule(t.Context(), d.app, s, h))
	assert.Contains(t, d.printed().stdout, "images     s3://factory/metal/\n")

	assert.Equal(t, console.ExitOK, d.cli("schedule", "pause", "nightly", "--note", "line stopped").status)
	assert.True(t, d.described(s, "nightly").Paused)
	assert.Contains(t, d.cli("__complete", "schedule", "resume", "").stdout, "nightly")
	assert.Equal(t, console.ExitOK, d.cli("schedule", "resume", "nightly").status)
	require.NoError(t, triggerSchedule(t.Context(), d.app, s, h, ""))
	assert.Regexp(t, `^augment-nightly-2`, d.printed().stdout)
	require.Eventually(t, func() bool {
		require.NoError(t, describeSchedule(t.Context(), d.app, s, h))
		return strings.Contains(d.printed().stdout, "completed  waiting ")
	}, patienceHere, 100*time.Millisecond, "what it started is told")

	cleaning := scheduleOptions{name: "weekly", cleanUp: true, keep: keeping{grace: usualGrace, checkpoints: usualGrace}}
	cleaning.timing = timing{every: 1000 * time.Hour, overlap: "Skip", catchup: time.Hour}
	require.NoError(t, createSchedule(t.Context(), d.app, cleaning))
	d.printed()
	require.Eventually(t, func() bool {
		lines, err := scheduleLines(t.Context(), s.Temporal.ScheduleClient())
		return err == nil && len(lines) == 2 && lines[1].Workflow == workflows.CleanUpName && lines[0].Class == "scheduled"
	}, patienceHere, 100*time.Millisecond, "both are listed")
	for _, name := range []string{"nightly", "weekly"} {
		assert.Equal(t, console.ExitOK, d.cli("schedule", "delete", name).status)
	}
	assert.Contains(t, d.cli("schedule", "describe", "nightly").stderr, "schedule nightly: not found; `defectforge schedule list`")
}

func TestBackfillNamesAStretchOfTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	b, err := backfillOptions{from: "2026-11-20T02:00:00Z"}.backfill(now)
	require.NoError(t, err)
	assert.Equal(t, sdk.ScheduleBackfill{Start: time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC), End: now}, b)
	for _, o := range []backfillOptions{
		{}, {from: "yesterday"}, {from: "2026-11-23"}, {from: "2026-11-20", to: "2026-11-19"}, {from: "2026-11-20", overlap: "skipp"},
	} {
		_, err := o.backfill(now)
		assert.Equal(t, console.ExitUsage, statusOf(err), "%+v", o)
	}
}
