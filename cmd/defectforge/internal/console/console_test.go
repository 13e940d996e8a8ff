package console

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// Text stays text in YAML, whatever it looks like.
func TestYAMLKeepsTypes(t *testing.T) {
	var out bytes.Buffer
	c := New(&out, &bytes.Buffer{})
	c.json, c.yaml = true, true
	want := map[string]any{
		"s": []any{
			"12", "true", "null", "~", "1e3", "2026-01-02", "a: b", "- x", "", "two\nlines", "ünï", "<&>", "0x1f", "no",
			"[hidden]", "\u2028",
		},
		"n": []any{1.5, 1e300, true, nil, []any{}, map[string]any{}},
	}
	require.NoError(t, c.Emit(want))
	var got map[string]any
	require.NoError(t, yaml.Unmarshal(out.Bytes(), &got), out.String())
	assert.Equal(t, want, got)
}

func TestColours(t *testing.T) {
	on, off := Paint(true), Paint(false)
	assert.Equal(t, "pass", off.State("pass"))
	assert.Equal(t, "\x1b[32mpass\x1b[0m", on.State("pass"))
	assert.Equal(t, "\x1b[31mfail \x1b[0m", on.State("fail "))
	for word := range states {
		assert.Len(t, on.State(word), len(on.Plain(word)), "columns stay straight")
	}
	var out bytes.Buffer
	assert.False(t, bool(paintOf(&out, os.Getenv)), "a pipe has no colours")
}

// A line that is drawn over is for terminals, not for files, dumb ones or CI.
func TestNothingIsDrawnOverInAFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	defer f.Close()
	assert.False(t, drawable(f, func(string) string { return "" }))
	assert.False(t, bool(paintOf(f, func(string) string { return "" })))
	assert.False(t, New(f, f).Terminal)
}

func TestTimeWords(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0s", 0.04: "0s", 1.26: "1.3s", 75.4: "1m15s", 3700: "1h1m40s", 90000: "25h0m0s"} {
		assert.Equal(t, want, TimeWords(seconds))
	}
}

// An error is said once, with the one object where one was asked for, and not at
// all where all was said before.
func TestReport(t *testing.T) {
	for _, c := range []struct {
		json           bool
		emitted        any
		err            error
		stdout, stderr string
		status         int
	}{
		{err: nil},
		{err: Usage("--x: %d", 3), stderr: "error: --x: 3\n", status: ExitUsage},
		{err: os.ErrInvalid, stderr: "error: invalid argument\n", status: ExitFailed},
		{err: Exit(ExitNotApproved), status: ExitNotApproved},
		{err: Stopped, stderr: "error: interrupted; run the same command again to go on\n", status: ExitInterrupted},
		{json: true, err: Usage("<x>"), stdout: "{\n  \"error\": \"<x>\"\n}\n", stderr: "error: <x>\n", status: ExitUsage},
		{json: true, emitted: []int{1}, err: os.ErrInvalid, stdout: "[\n  1\n]\n", stderr: "error: invalid argument\n", status: ExitFailed},
	} {
		var stdout, stderr bytes.Buffer
		screen := New(&stdout, &stderr)
		screen.json = c.json
		if c.emitted != nil {
			require.NoError(t, screen.Emit(c.emitted))
		}
		screen.Report(c.err)
		assert.Equal(t, c.stdout, stdout.String())
		assert.Equal(t, c.stderr, stderr.String())
		assert.Equal(t, c.status, StatusOf(c.err))
	}
}

// Lines are for people, and one object for programs: never both.
func TestPrintIsSilentForPrograms(t *testing.T) {
	var stdout bytes.Buffer
	c := New(&stdout, &bytes.Buffer{})
	c.Print("verdict    %s", "pass")
	require.NoError(t, c.Table("list", func(w io.Writer) { fmt.Fprint(w, "A\tB\nlong\tx\n") }))
	assert.Equal(t, "verdict    pass\nA     B\nlong  x\n", stdout.String())
	stdout.Reset()
	c.json = true
	c.Print("verdict    %s", "pass")
	assert.Empty(t, stdout.String())
}
