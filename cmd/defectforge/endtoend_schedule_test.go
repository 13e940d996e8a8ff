//go:build !nodevstack && !windows

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
)

// up starts a stack and returns it with its store, opened for a bucket.
func (b *bench) up(data, bucket string) (*child, upReport, *storage.Store) {
	t := b.t
	up := b.start("up", "--data-dir", data, "--json")
	require.Eventually(t, func() bool { return strings.Contains(up.stdout.String(), "}") }, patience, 20*time.Millisecond)
	var stack upReport
	require.NoError(t, json.Unmarshal([]byte(up.stdout.String()), &stack))
	raw, err := os.ReadFile(filepath.Join(data, "credentials.json"))
	require.NoError(t, err)
	var keys map[string]string
	require.NoError(t, json.Unmarshal(raw, &keys))
	opened, err := s3.Open(context.Background(), s3.Config{
		Endpoint: stack.Store, Region: "us-east-1", Bucket: bucket, AccessKey: keys["access_key"], SecretKey: keys["secret_key"], CreateBucket: true,
	})
	require.NoError(t, err)
	t.Cleanup(opened.Client().Close)
	return up, stack, storage.New(opened)
}

// photograph puts dark pictures number from to to into the bucket.
func (b *bench) photograph(s *storage.Store, prefix string, from, to int) {
	for i := from; i < to; i++ {
		img := picture.BrushedMetal(1, i)
		for at := range img.Pix {
			img.Pix[at] /= 5
		}
		var raw bytes.Buffer
		require.NoError(b.t, png.Encode(&raw, img))
		_, err := s.PutNamed(context.Background(), fmt.Sprintf("%sdark-%03d.png", prefix, i), raw.Bytes())
		require.NoError(b.t, err)
	}
}

// A schedule that is triggered four times: it publishes, finds nothing changed,
// waits for more images, and publishes again when they have come.
func TestEndToEndSchedule(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join("..", "..", "deploy", "docs", "running.md")) // before the folder is another one
	require.NoError(t, err)
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	_, stack, photos := b.up(data, "factory")
	b.photograph(photos, "metal/", 0, goodImages)
	do := func(status int, args ...string) outcome {
		t.Helper()
		o := b.do(append(args, "--data-dir", data)...)
		require.Equal(t, status, o.status, o.stderr)
		return o
	}
	create := []string{"schedule", "create", "nightly", "--images", "s3://factory/metal", "--class", "metal", "--recipe", b.recipe,
		"--set", "train.epochs=2", "--cron", "0 2 * * *", "--time-zone", "Europe/Berlin", "--overlap", "bufferone", "--min-new", "5", "--json"}
	assert.Equal(t, "created", do(console.ExitOK, create...).object(t)["done"])
	assert.Contains(t, do(console.ExitFailed, create...).object(t)["error"], "is there already")
	create[2], create[12] = "other", "0 25 * * *"
	assert.Contains(t, do(console.ExitUsage, create...).object(t)["error"], `--cron: "0 25 * * *"`)

	trigger := func() map[string]any {
		t.Helper()
		time.Sleep(time.Second) // Temporal names a schedule's runs by the second
		started := do(console.ExitOK, "schedule", "trigger", "nightly", "--json").object(t)
		require.Regexp(t, `^augment-nightly-2`, started["workflow_id"])
		return do(console.ExitOK, "runs", "watch", started["workflow_id"].(string), "--json").object(t)
	}
	first := trigger()
	assert.Equal(t, "pass", first["verdict"])
	assert.Equal(t, "the class has no release yet", first["change"].(map[string]any)["reason"])
	second := trigger()
	assert.Equal(t, "unchanged", second["verdict"])
	assert.Equal(t, first["release"], second["release"], "what it stands on")
	assert.Equal(t, first["manifest_sha256"], second["manifest_sha256"])
	assert.Contains(t, second["reasons"].([]any)[0], "are those of release "+first["release"].(string))
	b.photograph(photos, "metal/", goodImages, goodImages+3)
	third := trigger()
	assert.Equal(t, "waiting", third["verdict"])
	assert.Equal(t, []any{"waiting: 3 of 5 new images"}, third["reasons"])
	b.photograph(photos, "metal/", goodImages+3, goodImages+5)
	fourth := trigger()
	assert.Equal(t, "pass", fourth["verdict"])
	assert.NotEqual(t, first["release"], fourth["release"])
	assert.Equal(t, "5 new images since release "+first["release"].(string), fourth["change"].(map[string]any)["reason"])

	listed := do(console.ExitOK, "runs", "list", "--verdict", "unchanged", "--json").object(t)["runs"].([]any)
	require.Len(t, listed, 1)
	assert.Equal(t, first["release"], listed[0].(map[string]any)["release"])
	shown := do(console.ExitOK, "runs", "show", second["workflow_id"].(string))
	assert.Contains(t, shown.stdout, "reason     data set, recipe and policy are those of release")
	assert.NotContains(t, shown.stderr, "warn")
	noCheckpoint := b.do("checkpoint", "inspect", second["workflow_id"].(string), "--data-dir", data)
	assert.Contains(t, noCheckpoint.stderr, "has no checkpoint, it ended as unchanged")

	b.queries(stack, string(manual))

	// The same by hand, on the same images, recipe and policy.
	again := do(console.ExitOK, "run", "--images", "s3://factory/metal", "--class", "metal", "--recipe", b.recipe, "--set", "train.epochs=2", "--if-changed", "--json")
	assert.Equal(t, "unchanged", again.object(t)["verdict"])
	assert.Equal(t, fourth["release"], again.object(t)["release"])

	listed = do(console.ExitOK, "schedule", "list", "--json").object(t)["schedules"].([]any)
	require.Len(t, listed, 1)
	assert.Equal(t, "metal", listed[0].(map[string]any)["class"])
	assert.Equal(t, "0 2 * * * Europe/Berlin", listed[0].(map[string]any)["when"])
	assert.Equal(t, "paused", do(console.ExitOK, "schedule", "pause", "nightly", "--note", "line stopped", "--json").object(t)["done"])
	described := do(console.ExitOK, "schedule", "describe", "nightly", "--json").object(t)
	assert.Equal(t, true, described["paused"])
	assert.Equal(t, "line stopped", described["note"])
	assert.Equal(t, "BufferOne", described["overlap"])
	assert.Equal(t, float64(5), described["min_new"])
	assert.Equal(t, float64(4), described["actions"])
	verdicts := []any{}
	for _, r := range described["recent"].([]any) {
		verdicts = append(verdicts, r.(map[string]any)["verdict"])
	}
	assert.Equal(t, []any{"pass", "unchanged", "waiting", "pass"}, verdicts)
	assert.Contains(t, do(console.ExitOK, "schedule", "describe", "nightly").stdout, "images     s3://factory/metal/")
	do(console.ExitOK, "schedule", "resume", "nightly")

	do(console.ExitOK, "schedule", "backfill", "nightly", "--from", time.Now().Add(-48*time.Hour).Format(time.RFC3339))
	require.Eventually(t, func() bool {
		list := b.do("runs", "list", "--verdict", "unchanged", "--data-dir", data, "--json").object(t)["runs"].([]any)
		return len(list) == 4 // this day's and yesterday's besides those above
	}, patience, time.Second)
	do(console.ExitOK, "schedule", "delete", "nightly")

	useful := []string{"schedule", "create", "useful", "--images", "s3://factory/metal", "--class", "metal", "--policy", "useful", "--cron", "@weekly",
		"--compare", "pits=pits", "--utility-seeds", "4", "--json"}
	assert.Contains(t, do(console.ExitUsage, useful...).object(t)["error"], "--compare: pits=pits: a schedule takes s3://bucket/prefix")
	useful[12] = "pits=s3://factory/pits"
	assert.Equal(t, "created", do(console.ExitOK, useful...).object(t)["done"])
	compared := do(console.ExitOK, "schedule", "describe", "useful", "--json").object(t)["compare"].(map[string]any)
	assert.Equal(t, float64(4), compared["seeds"])
	assert.Contains(t, do(console.ExitOK, "schedule", "describe", "useful").stdout, "compare    pits, s3://factory/pits/")
	gone := do(console.ExitFailed, "schedule", "describe", "nightly")
	assert.Contains(t, gone.stderr, "schedule nightly: not found; `defectforge schedule list`")
}

// queries runs every list query of the manual.
func (b *bench) queries(stack upReport, manual string) {
	t := b.t
	c, err := client.Dial(client.Options{HostPort: stack.Temporal, Namespace: stack.Namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	require.NoError(t, err)
	defer c.Close()
	_, table, found := strings.Cut(manual, "| runs that | query |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	found = false
	queries := regexp.MustCompile("\\| (?:`` (.+?) ``|`([^`]+)`)").FindAllStringSubmatch(table, -1)
	require.GreaterOrEqual(t, len(queries), 6)
	for _, m := range queries {
		query := m[1] + m[2]
		n, err := c.CountWorkflow(context.Background(), &workflowservice.CountWorkflowExecutionsRequest{Namespace: stack.Namespace, Query: query})
		require.NoError(t, err, query)
		found = found || n.GetCount() > 0
	}
	assert.True(t, found)
}
