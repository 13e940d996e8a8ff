//go:build !nodevstack && !windows

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
