package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
)

// commands visits every command but cobra's own help.
func commands(t *testing.T, visit func(c *cobra.Command, path string)) {
	t.Helper()
	n := 0
	walk(rootCommand(newApp(&bytes.Buffer{}, &bytes.Buffer{})), "", func(c *cobra.Command, path string) {
		n++
		visit(c, path)
	})
	require.Greater(t, n, 25)
}

func TestEveryCommandIsExplained(t *testing.T) {
	commands(t, func(c *cobra.Command, path string) {
		assert.NotEmpty(t, c.Short, path)
		assert.NotEmpty(t, c.Long, "%q has no text", path)
		assert.NotEmpty(t, c.Example, "%q has no example", path)
		assert.False(t, c.Hidden, path)
		for line := range strings.Lines(c.Example) {
			assert.True(t, strings.HasPrefix(line, "  "), "%q: %q", path, line)
		}
	})
}

var words = regexp.MustCompile(`"[^"]*"|[^\s"]+`)

// exampleArgs are the arguments of a command line of ours in a shell's words.
func exampleArgs(line string) []string {
	_, line, _ = strings.Cut(strings.TrimSpace(line), "defectforge ")
	var args []string
	for _, w := range words.FindAllString(line, -1) {
		if strings.ContainsAny(w[:1], "|>") || strings.HasPrefix(w, "2>") {
			break
		}
		args = append(args, strings.Trim(w, `")`))
	}
	return args
}

// Every example names a command, flags and arguments that it takes.
func TestExamplesAreCommands(t *testing.T) {
	commands(t, func(of *cobra.Command, path string) {
		for line := range strings.Lines(strings.ReplaceAll(of.Example, "\\\n", "")) {
			require.Contains(t, line, "defectforge ", path)
			args := exampleArgs(line)
			root := rootCommand(newApp(&bytes.Buffer{}, &bytes.Buffer{}))
			c, rest, err := root.Find(args)
			require.NoError(t, err, line)
			require.NoError(t, c.ParseFlags(rest), line)
			require.NoError(t, c.ValidateArgs(c.Flags().Args()), line)
			require.NoError(t, c.ValidateRequiredFlags(), line)
			require.NoError(t, c.ValidateFlagGroups(), line)
			if !of.HasSubCommands() {
				require.Equal(t, of.CommandPath(), c.CommandPath(), line)
			}
		}
	})
}

func TestOutputFormats(t *testing.T) {
	isolate(t)
	var fromJSON, fromYAML, plain map[string]any
	got := cli(t, "config", "show", "--output", "json")
	require.Equal(t, console.ExitOK, got.status, got.stderr)
	assert.Equal(t, cli(t, "config", "show", "--json").stdout, got.stdout)
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &fromJSON))
	got = cli(t, "config", "show", "-o", "yaml")
	require.Equal(t, console.ExitOK, got.status, got.stderr)
	require.NoError(t, yaml.Unmarshal([]byte(got.stdout), &fromYAML))
	raw, err := json.Marshal(fromYAML)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &plain))
	assert.Equal(t, fromJSON, plain)
	assert.NotContains(t, got.stdout, "{")
	assert.Less(t, strings.Index(got.stdout, "data_dir:"), strings.Index(got.stdout, "store:"), "in the order of the fields")
	assert.Equal(t, cli(t, "version").stdout, cli(t, "version", "-o", "table").stdout)

	got = cli(t, "version", "-o", "xml")
	assert.Equal(t, console.ExitUsage, got.status)
	assert.Contains(t, got.stderr, "choose one of table, json, yaml")
	assert.Equal(t, console.ExitUsage, cli(t, "version", "-o", "yaml", "--json").status)
	got = cli(t, "runs", "show", "-o", "yaml")
	assert.Equal(t, console.ExitUsage, got.status)
	assert.Regexp(t, `^error: .*takes a workflow's identifier`, got.stdout)
	commands(t, func(c *cobra.Command, path string) {
		if showing[c.Name()] {
			assert.NotNil(t, c.Flags().ShorthandLookup("o"), path)
		}
	})
}

func TestCompletionScripts(t *testing.T) {
	isolate(t)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := cli(t, "completion", shell)
		require.Equal(t, console.ExitOK, got.status, shell)
		assert.Contains(t, got.stdout, "defectforge")
		assert.Greater(t, len(got.stdout), 1000)
		path, err := exec.LookPath(shell)
		if err != nil || shell == "powershell" {
			continue
		}
		cmd := exec.Command(path, "-n", writeFile(t, filepath.Join(t.TempDir(), shell), got.stdout))
		raw, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%s: %s", shell, raw)
	}
	assert.Contains(t, cli(t, "--help").stdout, "completion")
}

// Nothing runs: what is fixed is completed, live names are not, and nothing is
// started or said.
func TestCompletionWithoutAStack(t *testing.T) {
	dir := isolate(t)
	complete := func(args ...string) []string {
		got := cli(t, append([]string{"__complete"}, args...)...)
		require.Equal(t, console.ExitOK, got.status)
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		return lines[:len(lines)-1] // the last is a directive
	}
	assert.Equal(t, []string{"json", "table", "yaml"}, slices.Sorted(slices.Values(complete("runs", "list", "--output", ""))))
	assert.Contains(t, complete("run", "--recipe", ""), "quick")
	assert.Contains(t, complete("run", "--policy", ""), "production")
	assert.Contains(t, complete("runs", "list", "--stage", "A"), "AwaitApproval")
	assert.Contains(t, strings.Join(complete("ru"), " "), "runs\t")
	for _, args := range [][]string{
		{"runs", "show", ""}, {"runs", "approve", ""}, {"releases", "verify", ""}, {"runs", "list", "--class", ""}, {"checkpoint", "inspect", ""},
	} {
		got := cli(t, append([]string{"__complete"}, args...)...)
		assert.Equal(t, console.ExitOK, got.status)
		assert.Regexp(t, `^:\d\n$`, got.stdout, args)
		assert.NotContains(t, got.stderr, "error", args)
	}
	t.Setenv("DEFECTFORGE_LOG_LEVEL", "nonsense")
	assert.Empty(t, complete("runs", "show", ""), "a bad configuration is for commands to tell")
	assert.NoDirExists(t, filepath.Join(dir, "home"), "nothing was started or written")
}

// A cluster that does not answer does not hold a shell up.
func TestCompletionOfADeadCluster(t *testing.T) {
	isolate(t)
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	t.Setenv("DEFECTFORGE_STORE_ENDPOINT", "127.0.0.1:1")
	t.Setenv("DEFECTFORGE_STORE_ACCESS_KEY", "a")
	t.Setenv("DEFECTFORGE_STORE_SECRET_KEY", "b")
	for _, args := range [][]string{{"runs", "show", ""}, {"releases", "pull", ""}} {
		got := cli(t, append([]string{"__complete"}, args...)...)
		assert.Equal(t, console.ExitOK, got.status)
		assert.Equal(t, ":4\n", got.stdout)
		assert.NotContains(t, got.stderr, "127.0.0.1")
	}
}
