//go:build !nodevstack && !windows

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
)

// Killed in the middle of training, twice, gently and not: the same command
// resumes, and the release is that of a run that was left alone.
func TestEndToEndKilled(t *testing.T) {
	b := wholeBench(t)
	want := b.reference()
	data := filepath.Join(t.TempDir(), "data")

	p := b.start(b.runArgs(data)...)
	p.seen(training)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	o := p.wait()
	assert.Equal(t, console.ExitInterrupted, o.status)
	assert.Contains(t, o.object(t)["error"], "run the same command again")

	p = b.start(b.runArgs(data)...)
	p.seen(training)
	require.NoError(t, p.cmd.Process.Kill())
	p.wait()

	listed := b.do("runs", "list", "--data-dir", data, "--json").object(t)["runs"].([]any)
	require.Len(t, listed, 1, "the second command went on with the first's run")
	require.Equal(t, "running", listed[0].(map[string]any)["status"], "it was killed in the middle")

	last := b.published(b.do(b.runArgs(data)...))
	assert.Equal(t, listed[0].(map[string]any)["run_id"], last.RunID)
	assert.Equal(t, want, last.ManifestSHA256)
}

// The embedded store's process is killed over and over during a run.
func TestEndToEndStoreKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("finds the store's process in /proc")
	}
	b := wholeBench(t)
	want := b.reference()
	data := filepath.Join(t.TempDir(), "data")
	p := b.start(b.runArgs(data)...)
	killed := 0
	for p.running() {
		time.Sleep(700 * time.Millisecond)
		if pid := childOf(t, p.cmd.Process.Pid); pid > 0 && killed < 7 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	assert.GreaterOrEqual(t, killed, 3)
	assert.Equal(t, want, b.published(p.wait()).ManifestSHA256)
	again := b.published(b.do(b.runArgs(data)...))
	assert.Equal(t, want, again.ManifestSHA256)
	assert.Equal(t, console.ExitOK, b.do("releases", "verify", "metal", "--data-dir", data).status)
}

func childOf(t *testing.T, parent int) int {
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it has just ended
		}
		// The name in parentheses may hold anything; the fields follow it.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(parent) {
			return pid
		}
	}
	return 0
}

// Two processes on one data folder: the second uses the first's stack, and takes
// over when that is killed.
func TestEndToEndSharesAndTakesOver(t *testing.T) {
	b := wholeBench(t)
	want := b.reference()
	data := filepath.Join(t.TempDir(), "data")
	first := b.start(b.runArgs(data)...)
	first.seen(training)
	second := b.start(b.runArgs(data)...)
	second.seen(training)
	listed := b.do("runs", "list", "--data-dir", data, "--json").object(t)["runs"].([]any)
	require.Len(t, listed, 1, "both follow one run")
	refused := b.do("up", "--data-dir", data)
	assert.Equal(t, console.ExitFailed, refused.status)
	assert.Contains(t, refused.stderr, "runs already")
	require.True(t, first.running(), "killed in the middle")
	require.NoError(t, first.cmd.Process.Kill())
	first.wait()
	assert.Equal(t, want, b.published(second.wait()).ManifestSHA256)
}
