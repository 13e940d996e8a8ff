//go:build !nodevstack && !windows

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
)

func TestEndToEndPublishes(t *testing.T) {
	b := wholeBench(t)
	data := filepath.Join(t.TempDir(), "data")
	first := b.published(b.do(b.runArgs(data)...))
	undisturbed = first.ManifestSHA256
	assert.Equal(t, goodImages+corruptImages, first.ImagesIn)
	assert.Equal(t, corruptImages, first.ImagesQuarantined, "corrupt images are put aside and the run goes on")
	assert.Equal(t, 12, first.ImagesPublished)
	assert.Regexp(t, `^[0-9a-f]{64}$`, first.ManifestSHA256)
	assert.Regexp(t, `^augment-metal-[0-9a-f]{12}$`, first.WorkflowID)
	assert.Empty(t, first.Reasons)
	assert.Empty(t, first.Error)
	for _, field := range []string{"run_id", "release", "report", "images_published", "reasons"} {
		assert.Contains(t, first.object(t), field)
	}
	html, err := os.ReadFile(first.Report)
	require.NoError(t, err)
	assert.Contains(t, string(html), "metal")
	assert.Regexp(t, training, first.stderr)
	for _, stage := range []string{"ingest", "preprocess", "train", "sample", "publish"} {
		assert.Regexp(t, `(?m)^`+stage+` +[0-9]`, first.stderr)
	}

	t.Run("again", func(t *testing.T) {
		again := b.published(b.do(b.runArgs(data)...))
		assert.Equal(t, first.Release, again.Release)
		assert.Equal(t, first.ManifestSHA256, again.ManifestSHA256)
		assert.NotEqual(t, first.RunID, again.RunID)
	})
	t.Run("from a bucket", func(t *testing.T) {
		planned := b.do(b.runArgs(data, "--dry-run", "--no-estimate")...).object(t)["source"].(map[string]any)
		o := b.do("run", "--images", fmt.Sprintf("s3://%s/%s", planned["bucket"], planned["prefix"]), "--class", "bucket",
			"--recipe", b.recipe, "--set", "train.epochs=2", "--data-dir", data, "--json")
		assert.Equal(t, goodImages+corruptImages, b.published(o).ImagesIn)
		o = b.do("run", "--images", "s3://no-such-bucket/x", "--class", "bucket", "--data-dir", data, "--json")
		assert.Equal(t, console.ExitFailed, o.status)
		assert.Contains(t, o.object(t)["error"], "no-such-bucket")
	})
	t.Run("runs", func(t *testing.T) {
		listed := b.do("runs", "list", "--class", "metal", "--verdict", "pass", "--data-dir", data, "--json")
		require.Equal(t, console.ExitOK, listed.status)
		runs := listed.object(t)["runs"].([]any)
		require.Len(t, runs, 2)
		assert.Equal(t, first.Release, runs[1].(map[string]any)["release"])
		assert.Equal(t, "completed", runs[0].(map[string]any)["status"])
		shown := b.do("runs", "show", first.WorkflowID, "--run", first.RunID, "--data-dir", data, "--json")
		require.Equal(t, console.ExitOK, shown.status, shown.stderr)
		assert.Equal(t, first.ManifestSHA256, shown.object(t)["result"].(map[string]any)["manifest_sha256"])
		assert.GreaterOrEqual(t, len(shown.object(t)["stages"].([]any)), 7)
		watched := b.do("runs", "watch", first.WorkflowID, "--data-dir", data, "--json")
		assert.Equal(t, console.ExitOK, watched.status, watched.stderr)
		assert.Equal(t, first.ManifestSHA256, watched.object(t)["manifest_sha256"])
		none := b.do("runs", "show", "augment-metal-none", "--data-dir", data)
		assert.Equal(t, console.ExitFailed, none.status)
		assert.Contains(t, none.stderr, "not found")
	})
	t.Run("checkpoint", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "g.safetensors")
		exported := b.do("checkpoint", "export", first.WorkflowID, "--out", out, "--data-dir", data)
		require.Equal(t, console.ExitOK, exported.status, exported.stderr)
		inspected := b.do("checkpoint", "inspect", out, "--json")
		require.Equal(t, console.ExitOK, inspected.status, inspected.stderr)
		assert.Contains(t, inspected.stdout, `"layer1.0.weight"`)
		assert.NotContains(t, inspected.stdout, "discriminator.")
	})
	t.Run("release", func(t *testing.T) { b.release(data, first) })
	t.Run("not approved", func(t *testing.T) { b.notApproved(data, first) })
	t.Run("withdrawn", func(t *testing.T) { b.withdrawn(t, data, first) })
	t.Run("tampered", func(t *testing.T) { b.tampered(t, data, first) })
}

func (b *bench) release(data string, first published) {
	t := b.t
	verified := b.do("releases", "verify", "metal", "--data-dir", data, "--json")
	require.Equal(t, console.ExitOK, verified.status, verified.stderr)
	assert.Equal(t, true, verified.object(t)["ok"])
	assert.Equal(t, []any{}, verified.object(t)["problems"])
	assert.Equal(t, first.ManifestSHA256, verified.object(t)["manifest_sha256"])
	dir := filepath.Join(t.TempDir(), "pulled")
	pulled := b.do("releases", "pull", "metal/"+first.Release, "--dir", dir, "--data-dir", data)
	require.Equal(t, console.ExitOK, pulled.status, pulled.stderr)
	images, err := filepath.Glob(filepath.Join(dir, "images", "metal", "*.png"))
	require.NoError(t, err)
	assert.Len(t, images, 12)
	assert.NotContains(t, b.do("__complete", "releases", "pull", "--data-dir", data, "").stdout, "metal", "nothing runs that could be asked")
	assert.FileExists(t, filepath.Join(dir, "metadata.jsonl"))
	again := b.do("releases", "pull", "metal", "--dir", dir, "--data-dir", data)
	assert.Equal(t, console.ExitFailed, again.status, "a folder that is not empty is left alone")
	none := b.do("releases", "verify", "other", "--data-dir", data, "--json")
	assert.Equal(t, console.ExitFailed, none.status)
	assert.Contains(t, none.object(t)["error"], "has no release")
}

// notApproved: a run with samples that stand nearer to the real images than some
// of these to each other, as grey squares do to grey metal, ends with status 3
// and leaves releases as they were.
func (b *bench) notApproved(data string, first published) {
	t := b.t
	before := b.do("releases", "list", "--data-dir", data, "--json")
	o := b.do("demo", "--count", strconv.Itoa(goodImages), "--recipe", b.recipe, "--set", "train.epochs=2",
		"--set", "overfit.reject_quantile=1", "--set", "overfit.tail_quantile=1",
		"--policy", writeFile(t, filepath.Join(t.TempDir(), "strict.yaml"), strictPolicy), "--data-dir", data, "--json")
	assert.Equal(t, console.ExitNotApproved, o.status, o.stderr)
	got := o.object(t)
	assert.Equal(t, "fail", got["verdict"])
	assert.Empty(t, got["release"])
	assert.Empty(t, got["manifest_sha256"])
	assert.Equal(t, float64(0), got["images_published"])
	assert.NotEmpty(t, got["reasons"])
	assert.FileExists(t, got["report"].(string))
	after := b.do("releases", "list", "--data-dir", data, "--json")
	assert.Equal(t, before.stdout, after.stdout)
	assert.NoDirExists(t, filepath.Join(data, "store", "data", "defectforge", "releases", demoClass), "nothing is visible of it")
	assert.DirExists(t, filepath.Join(data, "store", "data", "defectforge", "releases", "metal", first.Release))
}

// withdrawn: a marked release says so to everybody, and is taken on demand only.
func (b *bench) withdrawn(t *testing.T, data string, first published) {
	set := filepath.Join(t.TempDir(), "set")
	made := b.do("releases", "pull", "--classification", set, "metal", "--data-dir", data, "--json")
	require.Equal(t, console.ExitOK, made.status, made.stderr)
	assert.Equal(t, float64(12), made.object(t)["images"])
	images, err := filepath.Glob(filepath.Join(set, "metal", "*.png"))
	require.NoError(t, err)
	assert.Len(t, images, 12)

	assert.Equal(t, console.ExitUsage, b.do("releases", "withdraw", "metal", "--data-dir", data).status, "a reason is needed")
	for i, reason := range []string{"wrong light", "another reason"} {
		o := b.do("releases", "withdraw", "metal", "--reason", reason, "--data-dir", data, "--json")
		require.Equal(t, console.ExitOK, o.status, o.stderr)
		assert.Equal(t, "wrong light", o.object(t)["reason"])
		assert.Equal(t, i == 0, o.object(t)["first"])
		assert.Equal(t, first.Release, o.object(t)["release"])
	}
	assert.Contains(t, b.do("releases", "list", "--data-dir", data).stdout, "withdrawn: wrong light")
	verified := b.do("releases", "verify", "metal", "--data-dir", data, "--json")
	assert.Equal(t, console.ExitOK, verified.status, "it is as it was published")
	assert.Equal(t, "wrong light", verified.object(t)["withdrawn"].(map[string]any)["reason"])
	assert.Contains(t, verified.stderr, "do not use it")
	dir := filepath.Join(t.TempDir(), "p")
	refused := b.do("releases", "pull", "metal", "--dir", dir, "--data-dir", data)
	assert.Equal(t, console.ExitFailed, refused.status)
	assert.Contains(t, refused.stderr, "--allow-withdrawn")
	taken := b.do("releases", "pull", "metal", "--dir", dir, "--allow-withdrawn", "--data-dir", data)
	assert.Equal(t, console.ExitOK, taken.status)
	assert.Contains(t, taken.stderr, "warning: release")
	assert.Equal(t, console.ExitOK, b.do("releases", "verify", "--dir", dir).status)
}

func (b *bench) tampered(t *testing.T, data string, first published) {
	images, err := filepath.Glob(filepath.Join(data, "store", "data", "defectforge", "releases", "metal", first.Release, "images", "metal", "*.png"))
	require.NoError(t, err)
	require.NotEmpty(t, images)
	raw, err := os.ReadFile(images[0])
	require.NoError(t, err)
	raw[len(raw)/2] ^= 1
	f, err := os.OpenFile(images[0], os.O_WRONLY, 0) // in place, so that its attributes stay
	require.NoError(t, err)
	_, err = f.Write(raw)
	require.NoError(t, errors.Join(err, f.Close()))
	o := b.do("releases", "verify", "metal", "--data-dir", data, "--json")
	assert.Equal(t, console.ExitFailed, o.status)
	got := o.object(t)
	assert.Equal(t, false, got["ok"])
	require.Len(t, got["problems"], 1)
	assert.Contains(t, got["problems"].([]any)[0], "images/metal/"+filepath.Base(images[0]))
	pulled := b.do("releases", "pull", "metal", "--dir", filepath.Join(t.TempDir(), "p"), "--data-dir", data)
	assert.Equal(t, console.ExitFailed, pulled.status)
}

// The whole program once, from a folder of images to a release that another
// folder holds.
func TestEndToEndOnce(t *testing.T) {
	b := newBench(t)
	data := filepath.Join(t.TempDir(), "data")
	first := b.published(b.do(b.runArgs(data, "--set", "train.epochs=2")...))
	assert.Equal(t, goodImages+corruptImages, first.ImagesIn)
	assert.Equal(t, corruptImages, first.ImagesQuarantined)
	assert.Equal(t, 12, first.ImagesPublished)
	assert.FileExists(t, first.Report)
	dir := filepath.Join(t.TempDir(), "pulled")
	pulled := b.do("releases", "pull", "metal/"+first.Release, "--dir", dir, "--data-dir", data)
	require.Equal(t, console.ExitOK, pulled.status, pulled.stderr)
	verified := b.do("releases", "verify", "--dir", dir, "--json")
	require.Equal(t, console.ExitOK, verified.status, verified.stderr)
	assert.Equal(t, first.ManifestSHA256, verified.object(t)["manifest_sha256"])
}

func TestEndToEndTooFewImages(t *testing.T) {
	b := newBench(t)
	for i := 5; i < goodImages; i++ {
		require.NoError(t, os.Remove(filepath.Join(b.images, fmt.Sprintf("dark-%03d.png", i))))
	}
	o := b.do(b.runArgs(filepath.Join(t.TempDir(), "data"))...)
	assert.Equal(t, console.ExitFailed, o.status)
	assert.Contains(t, o.object(t)["error"], "too few images: 5 usable")
	assert.Contains(t, o.stderr, "ingest.min_images")
	assert.NotContains(t, o.stderr, "level=ERROR", "told once, in words for people")
}
