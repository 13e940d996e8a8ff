//go:build !nodevstack && !windows

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
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
	"github.com/defectforge/defectforge/model/picture"
)

// These tests run the actual binary on dark pictures of metal. The generator is
// all but untrained, so that its grey samples stand far from them and pass the
// check for copies; the discriminator keeps the training busy, and nobody minds
// that it wins.
const tinyRecipe = `extends: classic
policy: copying
ingest:
  duplicate_distance: 0
  group_distance: 0
model:
  generator_depth: 2
  discriminator_depth: 3
train:
  epochs: 64
  leg_epochs: 8
  generator_rate: 1e-6
sample:
  count: 12
  statistics_batches: 2
monitor:
  overpower_steps: 0
`

// A policy that nothing passes which these recipes draw, and one that leaves the
// decision to a person.
const (
	strictPolicy = "rules:\n- {measure: tail_share, max: 0}\n- {measure: accepted_images, min: 12}\n"
	askingPolicy = "rules:\n- {measure: accepted_images, min: 8}\napproval: person\ndeadline_hours: 1\n"
)

const (
	goodImages    = 110
	corruptImages = 3
	patience      = 3 * time.Minute
)

// binaryVariable names a binary to test instead of building one.
const binaryVariable = "DEFECTFORGE_TEST_BINARY"

var buildOnce = sync.OnceValues(func() (string, error) {
	if binary := os.Getenv(binaryVariable); binary != "" {
		return filepath.Abs(binary)
	}
	dir, err := os.MkdirTemp("", "defectforge-e2e-*")
	if err != nil {
		return "", err
	}
	built = dir
	out, err := exec.Command("go", "build", "-o", dir, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return filepath.Join(dir, "defectforge"), nil
})

// bench is a set of images and a recipe that all end-to-end tests share.
type bench struct {
	t              *testing.T
	binary, images string
	recipe         string
}

// wholeVariable makes the tests run that drive the whole program for minutes. CI
// sets it.
const wholeVariable = "DEFECTFORGE_TEST_WHOLE"

// wholeBench is a bench for a test that takes long, which only some want.
func wholeBench(t *testing.T) *bench {
	t.Helper()
	if os.Getenv(wholeVariable) == "" {
		t.Skipf("runs the whole program for a minute or more; set %s=1 to have it", wholeVariable)
	}
	return newBench(t)
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the actual binary for minutes")
	}
	binary, err := buildOnce()
	require.NoError(t, err)
	dir := isolate(t)
	b := &bench{t: t, binary: binary, images: filepath.Join(dir, "images"), recipe: writeFile(t, filepath.Join(dir, "tiny.yaml"), tinyRecipe)}
	for i := range goodImages {
		img := picture.BrushedMetal(1, i)
		for at := range img.Pix {
			img.Pix[at] /= 5
		}
		var raw bytes.Buffer
		require.NoError(t, png.Encode(&raw, img))
		writeFile(t, filepath.Join(b.images, fmt.Sprintf("dark-%03d.png", i)), raw.String())
		if i == 0 {
			writeFile(t, filepath.Join(b.images, "half.png"), raw.String()[:raw.Len()/2])
		}
	}
	writeFile(t, filepath.Join(b.images, "text.png"), "this is no image")
	writeFile(t, filepath.Join(b.images, "empty.jpg"), "")
	return b
}

// child is one run of the binary.
type child struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{}
}

// output is what a process has written so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (b *bench) start(args ...string) *child {
	p := &child{t: b.t, cmd: exec.Command(b.binary, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	require.NoError(b.t, p.cmd.Start())
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	b.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if b.t.Failed() {
			b.t.Logf("%v\nstandard output:\n%s\nstandard error:\n%s", args, p.stdout.String(), p.stderr.String())
		}
	})
	return p
}

func (p *child) wait() outcome {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		require.Fail(p.t, "the process does not end", p.stderr.String())
	}
	return outcome{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

// seen waits until standard error has text that matches.
func (p *child) seen(pattern string) {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.Now().Add(patience)
	for !re.MatchString(p.stderr.String()) {
		select {
		case <-p.done:
			require.True(p.t, re.MatchString(p.stderr.String()), "the process ended before %q:\n%s", pattern, p.stderr.String())
			return
		case <-time.After(20 * time.Millisecond):
		}
		require.True(p.t, time.Now().Before(deadline), "no %q in:\n%s", pattern, p.stderr.String())
	}
}

func (p *child) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// training is standard error's first sign of a training step.
const training = `(?m)^train +epoch \d`

func (b *bench) do(args ...string) outcome { return b.start(args...).wait() }

func (b *bench) runArgs(data string, more ...string) []string {
	return append([]string{"run", "--images", b.images, "--class", "metal", "--recipe", b.recipe, "--data-dir", data, "--json"}, more...)
}

type published struct {
	runReport
	outcome
}

func (b *bench) published(o outcome) published {
	b.t.Helper()
	require.Equal(b.t, console.ExitOK, o.status, o.stderr)
	var r runReport
	require.NoError(b.t, json.Unmarshal([]byte(o.stdout), &r), o.stdout)
	require.Equal(b.t, "pass", r.Verdict)
	return published{r, o}
}

// undisturbed is the manifest digest of a run that was left alone, for the tests
// that disturb theirs. Either is the same on every machine of one kind.
var undisturbed string

func (b *bench) reference() string {
	if undisturbed == "" {
		undisturbed = b.published(b.do(b.runArgs(filepath.Join(b.t.TempDir(), "data"))...)).ManifestSHA256
	}
	return undisturbed
}

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

// Killed in the middle of training, twice, gently and not: the same command
// goes on, and the release is that of a run that was left alone.
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
