//go:build !nodevstack && !windows

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
)

// hook keeps what a webhook is sent.
type hook struct {
	mu     sync.Mutex
	bodies []string
	signed []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bodies = append(h.bodies, string(raw))
	h.signed = append(h.signed, r.Header.Get("X-Defectforge-Signature-256"))
	w.WriteHeader(http.StatusNoContent)
}

// A run that needs a person waits for one, tells a webhook, and takes the
// decision from another process; a killed one takes it from whoever comes.
func TestEndToEndApproval(t *testing.T) {
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	h := &hook{}
	server := httptest.NewServer(h)
	defer server.Close()
	t.Setenv("DEFECTFORGE_NOTIFY_WEBHOOK", server.URL+"/hidden-path")
	t.Setenv("DEFECTFORGE_NOTIFY_SECRET", "between-us")
	policy := writeFile(t, filepath.Join(t.TempDir(), "asking.yaml"), askingPolicy)
	args := b.runArgs(data, "--policy", policy, "--set", "train.epochs=2")

	run := b.start(args...)
	run.seen(`(?m)^approval +waiting until .*the webhook was told`)
	id := b.do("runs", "list", "--stage", "AwaitApproval", "--data-dir", data, "--json").object(t)["runs"].([]any)[0].(map[string]any)["workflow_id"].(string)
	shown := b.do("runs", "show", id, "--data-dir", data)
	assert.Contains(t, shown.stdout, "approval   waiting until")
	assert.Contains(t, shown.stdout, "notice     the webhook was told")
	assert.Equal(t, console.ExitUsage, b.do("runs", "approve", id, "--data-dir", data).status, "a reason is needed")
	unknown := b.do("runs", "approve", "augment-metal-none", "--reason", "x", "--data-dir", data)
	assert.Equal(t, console.ExitFailed, unknown.status)
	assert.Contains(t, unknown.stderr, "not found")

	approve := []string{"runs", "approve", id, "--reason", "looked at every image", "--as", "ada", "--data-dir", data, "--json"}
	made := b.do(approve...)
	require.Equal(t, console.ExitOK, made.status, made.stderr)
	assert.Equal(t, "ada", made.object(t)["approval"].(map[string]any)["who"])
	got := b.published(run.wait())
	require.NotNil(t, got.Approval)
	assert.Equal(t, "looked at every image", got.Approval.Why)
	again := b.do(approve...)
	assert.Equal(t, console.ExitOK, again.status, "the same decision again is answered alike")
	assert.Equal(t, made.object(t)["approval"], again.object(t)["approval"])
	opposite := b.do("runs", "reject", id, "--reason", "no", "--data-dir", data)
	assert.Equal(t, console.ExitFailed, opposite.status)
	assert.Contains(t, opposite.stderr, "approved by ada")

	h.mu.Lock()
	require.Len(t, h.bodies, 2)
	for i, want := range []string{"approval.waiting", "run.published"} {
		var event map[string]any
		require.NoError(t, json.Unmarshal([]byte(h.bodies[i]), &event))
		assert.Equal(t, "io.defectforge."+want, event["type"])
		assert.Equal(t, id, event["data"].(map[string]any)["run"].(map[string]any)["workflow_id"])
		assert.Regexp(t, `^sha256=[0-9a-f]{64}$`, h.signed[i])
	}
	h.mu.Unlock()
	for _, o := range []outcome{made, again, opposite, got.outcome} {
		assert.NotContains(t, o.stderr+o.stdout, "between-us")
	}

	killed := b.start(append(args, "--seed", "2")...)
	killed.seen(`(?m)^approval +waiting until`)
	require.NoError(t, killed.cmd.Process.Kill())
	killed.wait()
	id = b.do("runs", "list", "--stage", "AwaitApproval", "--data-dir", data, "--json").object(t)["runs"].([]any)[0].(map[string]any)["workflow_id"].(string)
	refused := b.do("runs", "reject", id, "--reason", "too dark", "--data-dir", data, "--json")
	require.Equal(t, console.ExitOK, refused.status, refused.stderr)
	watched := b.do("runs", "watch", id, "--data-dir", data, "--json")
	assert.Equal(t, console.ExitNotApproved, watched.status, watched.stderr)
	assert.Equal(t, "pass", watched.object(t)["verdict"])
	assert.Contains(t, watched.object(t)["reasons"].([]any)[0], "too dark")
	assert.Empty(t, watched.object(t)["release"])
}
