//go:build !nodevstack && !windows

package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
)

// With a Temporal address and a store configured nothing is embedded: workers
// in processes of their own serve the queues, and one that is told to stop
// hands its training over.
func TestEndToEndCluster(t *testing.T) {
	b := wholeBench(t)
	want := b.reference()
	data := filepath.Join(t.TempDir(), "data")
	up := b.start("up", "--data-dir", data, "--json")
	require.Eventually(t, func() bool { return strings.Contains(up.stdout.String(), "}") }, patience, 20*time.Millisecond)
	var stack upReport
	require.NoError(t, json.Unmarshal([]byte(up.stdout.String()), &stack))
	raw, err := os.ReadFile(filepath.Join(data, "credentials.json"))
	require.NoError(t, err)
	var keys map[string]string
	require.NoError(t, json.Unmarshal(raw, &keys))
	for name, value := range map[string]string{
		"TEMPORAL_ADDRESS": stack.Temporal, "DEFECTFORGE_STORE_ENDPOINT": stack.Store, "DEFECTFORGE_STORE_SECURE": "false",
		"DEFECTFORGE_STORE_ACCESS_KEY": keys["access_key"], "DEFECTFORGE_STORE_SECRET_KEY": keys["secret_key"],
		// The stack's own worker serves the usual queues.
		"DEFECTFORGE_TEMPORAL_TASK_QUEUE": "other", "DEFECTFORGE_TEMPORAL_TRAINING_TASK_QUEUE": "other-training",
	} {
		t.Setenv(name, value)
	}
	checked := b.do("doctor", "--json")
	assert.Equal(t, console.ExitOK, checked.status, checked.stdout)
	assert.Contains(t, checked.stdout, "credentials accepted")

	run := b.start(b.runArgs(filepath.Join(data, "unused"))...)
	run.seen("no worker serves the task queue other at the moment; start `defectforge worker --role io`")
	io := b.start("worker", "--role", "io")
	io.seen("role io")
	trainer := b.start("worker", "--role", "training")
	run.seen(training)
	// A worker that is told to stop between two legs has nothing to hand over.
	for i := 0; i < 5 && !handedOver(t, stack.Temporal); i++ {
		require.NoError(t, trainer.cmd.Process.Signal(syscall.SIGTERM))
		assert.Equal(t, console.ExitOK, trainer.wait().status)
		trainer = b.start("worker", "--role", "training")
		trainer.seen("role training")
		time.Sleep(300 * time.Millisecond)
	}
	assert.True(t, handedOver(t, stack.Temporal), "no leg was handed over")
	got := b.published(run.wait())
	assert.Equal(t, want, got.ManifestSHA256)
	assert.Regexp(t, `^runs/augment-metal-[0-9a-f]{12}/.*/report.html$`, got.Report)
	assert.NoDirExists(t, filepath.Join(data, "unused"))
	require.NoError(t, io.cmd.Process.Signal(syscall.SIGTERM))
	assert.Equal(t, console.ExitOK, io.wait().status)

	t.Setenv("DEFECTFORGE_STORE_SECRET_KEY", "wrong")
	checked = b.do("doctor", "--json")
	assert.Equal(t, console.ExitFailed, checked.status)
	assert.Contains(t, checked.stdout, `"name": "store",
      "status": "fail"`)
	assert.NotContains(t, checked.stdout+checked.stderr, keys["secret_key"])
}

// handedOver reports whether the one run's history has a leg of training that
// began again because its worker stopped.
func handedOver(t *testing.T, address string) bool {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: address, Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	defer c.Close()
	listed, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{})
	require.NoError(t, err)
	require.Len(t, listed.GetExecutions(), 1)
	run := listed.GetExecutions()[0].GetExecution()
	described, err := c.DescribeWorkflowExecution(t.Context(), run.GetWorkflowId(), run.GetRunId())
	require.NoError(t, err)
	for _, a := range described.GetPendingActivities() {
		if strings.Contains(a.GetLastFailure().GetMessage(), "handed over") {
			return true
		}
	}
	history := c.GetWorkflowHistory(t.Context(), run.GetWorkflowId(), run.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		e, err := history.Next()
		require.NoError(t, err)
		if strings.Contains(e.GetActivityTaskStartedEventAttributes().GetLastFailure().GetMessage(), "handed over") {
			return true
		}
	}
	return false
}

// `up` serves other commands and ends in order.
func TestEndToEndUp(t *testing.T) {
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	up := b.start("up", "--data-dir", data, "--json")
	require.Eventually(t, func() bool { return strings.Contains(up.stdout.String(), "}") }, patience, 20*time.Millisecond, "it says when it is ready")
	checked := b.do("doctor", "--data-dir", data, "--json")
	assert.Equal(t, console.ExitOK, checked.status, checked.stdout)
	assert.Contains(t, checked.stdout, "runs already")
	detached := b.do(b.runArgs(data, "--detach")...)
	require.Equal(t, console.ExitOK, detached.status, detached.stderr)
	id := detached.object(t)["workflow_id"].(string)
	assert.Contains(t, b.do("__complete", "runs", "show", "--data-dir", data, "augment-m").stdout, id+"\tmetal, running")
	assert.Contains(t, b.do("__complete", "runs", "cancel", "--data-dir", data, "").stdout, id)
	assert.NotContains(t, b.do("__complete", "runs", "approve", "--data-dir", data, "").stdout, id, "it does not wait for that")
	cancelled := b.do("runs", "cancel", id, "--data-dir", data)
	assert.Equal(t, console.ExitOK, cancelled.status)
	watched := b.do("runs", "watch", id, "--data-dir", data, "--json")
	assert.Equal(t, console.ExitFailed, watched.status)
	assert.Contains(t, watched.object(t)["error"], "cancelled")
	require.NoError(t, up.cmd.Process.Signal(os.Interrupt))
	assert.Equal(t, console.ExitOK, up.wait().status)
	assert.Contains(t, up.stdout.String(), `"ui"`)
}
