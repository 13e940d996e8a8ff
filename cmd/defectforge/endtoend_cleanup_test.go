//go:build !nodevstack && !windows

package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/storage"
)

// keysVariable sets how many stale artifacts TestEndToEndCleanUp makes, to measure
// with.
const keysVariable = "DEFECTFORGE_TEST_KEYS"

// litter puts n artifacts into the bucket that nothing refers to.
func litter(t *testing.T, s *storage.Store, n int) {
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			_, err := s.PutArtifact(ctx, []byte(fmt.Sprintf("stale %d", i)), ".json")
			return err
		})
	}
	require.NoError(t, g.Wait())
}

// weather makes every object of the embedded store's bucket a month old.
func weather(t *testing.T, data string) {
	then := time.Now().Add(-30 * 24 * time.Hour)
	require.NoError(t, filepath.WalkDir(filepath.Join(data, "store", "data", "defectforge"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, then, then)
	}))
}

// peakMemory is a process's largest resident set so far, in MiB; 0 where the
// system does not tell.
func peakMemory(pid int) int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib / 1024
		}
	}
	return 0
}

// A clean-up of the embedded store: the dry run says what the other one removes,
// the release stays as it was, and the same run again ends with it.
func TestEndToEndCleanUp(t *testing.T) {
	n := 300
	if text := os.Getenv(keysVariable); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	up, _, store := b.up(data, "defectforge")
	run := append(b.runArgs(data), "--set", "train.epochs=2")
	first := b.published(b.do(run...))
	litter(t, store, n)
	weather(t, data)
	idle := peakMemory(up.cmd.Process.Pid)

	clean := func(more ...string) map[string]any {
		t.Helper()
		began := time.Now()
		o := b.do(append([]string{"cleanup", "--data-dir", data, "--json"}, more...)...)
		require.Equal(t, console.ExitOK, o.status, o.stderr)
		t.Logf("clean-up %v with %d stale artifacts: %.1f s, peak memory of the stack and its worker %d MiB (%d before)",
			more, n, time.Since(began).Seconds(), peakMemory(up.cmd.Process.Pid), idle)
		return o.object(t)
	}
	count := func(r map[string]any, kind string) float64 {
		c, _ := r["removed"].(map[string]any)[kind].(map[string]any)
		n, _ := c["objects"].(float64)
		return n
	}
	dry := clean()
	assert.Equal(t, false, dry["applied"])
	assert.GreaterOrEqual(t, count(dry, "artifact"), float64(n))
	applied := clean("--apply")
	assert.Equal(t, true, applied["applied"])
	assert.Equal(t, dry["removed"], applied["removed"])
	assert.Equal(t, float64(1), applied["mark"].(map[string]any)["releases"])
	raw, _, err := store.ReadNamed(context.Background(), applied["record"].(string), 1<<20)
	require.NoError(t, err)
	assert.Contains(t, string(raw), "defectforge.cleanup/1")
	assert.Zero(t, count(clean("--apply"), "artifact"), "nothing is left to do")

	require.Equal(t, console.ExitOK, b.do("releases", "verify", "metal", "--data-dir", data).status)
	assert.Equal(t, first.ManifestSHA256, b.published(b.do(run...)).ManifestSHA256)

	lineage := b.do("runs", "lineage", "metal", "--data-dir", data, "--json").object(t)
	assert.Equal(t, first.Release, lineage["release"])
	assert.Len(t, lineage["images"], goodImages)
	assert.Equal(t, float64(corruptImages), lineage["quarantined"])
	assert.Len(t, lineage["runs"], 2)
	assert.NotEmpty(t, lineage["files"])
	digest := lineage["dataset"].(map[string]any)["sha256"].(string)
	assert.Contains(t, b.do("runs", "lineage", digest, "--data-dir", data).stdout, "dataset    of "+first.WorkflowID+", pass: runs/")
	words := b.do("runs", "lineage", "metal/"+first.Release, "--data-dir", data).stdout
	for _, line := range []string{`source     s3://defectforge/sources/metal/`, `images     110: `, `data set   ` + digest, `release    releases/metal/` + first.Release} {
		assert.Contains(t, words, line)
	}
	assert.Equal(t, console.ExitFailed, b.do("runs", "lineage", strings.Repeat("0", 64), "--data-dir", data).status)

	// By the clock, and not while runs are under way that a short grace endangers.
	o := b.do("schedule", "create", "sweep", "--cleanup", "--grace", "2h", "--every", "1000h", "--data-dir", data)
	require.Equal(t, console.ExitOK, o.status, o.stderr)
	started := b.do("schedule", "trigger", "sweep", "--data-dir", data, "--json").object(t)
	require.Regexp(t, `^cleanup-sweep-2`, started["workflow_id"])
	require.Eventually(t, func() bool {
		d := b.do("schedule", "describe", "sweep", "--data-dir", data, "--json").object(t)
		return d["recent"].([]any)[0].(map[string]any)["status"] == "completed"
	}, patience, time.Second)
	asking := writeFile(t, filepath.Join(t.TempDir(), "asking.yaml"), askingPolicy)
	waiting := b.start(append(run, "--policy", asking)...)
	waiting.seen(`(?m)^approval +waiting until`)
	refused := b.do("cleanup", "--apply", "--grace", "2h", "--data-dir", data)
	assert.Equal(t, console.ExitFailed, refused.status)
	assert.Contains(t, refused.stderr, "1 runs are under way")
	weather(t, data)
	assert.Equal(t, float64(1), clean("--apply")["mark"].(map[string]any)["running"])
	listed := b.do("runs", "list", "--stage", "AwaitApproval", "--data-dir", data, "--json").object(t)["runs"].([]any)
	id := listed[0].(map[string]any)["workflow_id"].(string)
	require.Equal(t, console.ExitOK, b.do("runs", "approve", id, "--reason", "looked", "--data-dir", data).status)
	b.published(waiting.wait())
}
