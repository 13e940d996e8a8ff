package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/config"
)

// built is the folder of a binary that the end-to-end tests have built.
var built string

// stopStack ends the stack that tests share, where one was started.
var stopStack = func() {}

// TestMain lets this test binary be the embedded store's process too.
func TestMain(m *testing.M) {
	if code, child := process.StoreChild(os.Args[1:]); child {
		os.Exit(code)
	}
	code := m.Run()
	stopStack()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// isolate keeps the machine's own configuration out of a test, and returns a
// folder that is the working folder and home.
func isolate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "TEMPORAL_") || strings.HasPrefix(name, "DEFECTFORGE_") {
			t.Setenv(name, "") // so that it is restored
			require.NoError(t, os.Unsetenv(name))
		}
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "AppData", "LocalAppData"} {
		t.Setenv(name, filepath.Join(dir, "home"))
	}
	t.Chdir(dir)
	return dir
}

// loadDefaults gives an app the defaults and what the environment says.
func loadDefaults(a *app) error {
	cfg, err := config.Load(nil)
	if err == nil {
		a.use(cfg)
	}
	return err
}

type outcome struct {
	status         int
	stdout, stderr string
}

func cli(t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := execute(context.Background(), args, &stdout, &stderr)
	return outcome{status, stdout.String(), stderr.String()}
}

// object is the one JSON object on standard output.
func (o outcome) object(t *testing.T) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(o.stdout))
	var v map[string]any
	require.NoError(t, dec.Decode(&v), "standard output: %q", o.stdout)
	require.False(t, dec.More(), "more than one object: %q", o.stdout)
	return v
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// What a user gets wrong ends with status 2 and says what to do.
func TestUsageErrors(t *testing.T) {
	dir := isolate(t)
	writeFile(t, filepath.Join(dir, "file.png"), "x")
	writeFile(t, filepath.Join(dir, "hidden", ".DS_Store"), "x")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	writeFile(t, filepath.Join(dir, "images", "a.png"), "x")
	writeFile(t, filepath.Join(dir, "bad.yaml"), "worker:\n  thread: 3\n")
	writeFile(t, filepath.Join(dir, "recipe.yaml"), "extends: quick\ntrain:\n  epoch: 3\n")
	run := func(more ...string) []string {
		return append([]string{"run", "--images", "images", "--class", "c"}, more...)
	}
	schedule := func(more ...string) []string {
		return append([]string{"schedule", "create", "n", "--images", "s3://b/p", "--class", "c"}, more...)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":     {[]string{"runn"}, "unknown command \"runn\" for \"defectforge\"; did you mean run or runs; see `defectforge --help`"},
		"unknown sub-command": {[]string{"runs", "lst"}, "see `defectforge runs --help`"},
		"unknown flag":        {run("--epochs", "3"), "unknown flag: --epochs; see `defectforge run --help`"},
		"argument of run":     {run("more"), "unknown command"},
		"no images":           {[]string{"run", "--class", "c"}, "--images: not given"},
		"no class":            {[]string{"run", "--images", "images"}, "--class: not given"},
		"bad class":           {[]string{"run", "--images", "images", "--class", "My Class"}, `--class: "My Class": use 1 to 63`},
		"class is a path":     {[]string{"run", "--images", "images", "--class", "../x"}, "--class: "},
		"missing folder":      {[]string{"run", "--images", "nowhere", "--class", "c"}, "nowhere: no such folder"},
		"a file":              {[]string{"run", "--images", "file.png", "--class", "c"}, "is a file; give the folder"},
		"an empty folder":     {[]string{"run", "--images", "empty", "--class", "c"}, "holds no files;"},
		"only hidden files":   {[]string{"run", "--images", "hidden", "--class", "c"}, "holds no files but 1 hidden"},
		"bad bucket":          {[]string{"run", "--images", "s3:///x", "--class", "c"}, "write s3://bucket/prefix"},
		"unknown recipe":      {run("--recipe", "quik"), `did you mean "quick"?`},
		"bad recipe file":     {run("--recipe", "recipe.yaml"), `recipe.yaml:3: train.epoch: unknown key; did you mean "train.epochs"?`},
		"bad setting":         {run("--set", "train.epoch=3"), `did you mean "train.epochs"?`},
		"setting of no use":   {run("--set", "train.batch=0"), "train.batch: 0: must be within"},
		"bad seed":            {run("--seed", "-1"), "invalid argument"},
		"unknown policy":      {run("--policy", "copyng"), `did you mean "copying"?`},
		"no such policy":      {run("--policy", "no.yaml"), "--policy: no.yaml: cannot be read"},
		"compare with what":   {run("--compare", "dents"), "--compare: \"dents\": write CLASS=SRC"},
		"compare with itself": {run("--compare", "c=images"), "--compare: \"c\": is named twice"},
		"compare twice":       {run("--compare", "d=images", "--compare", "d=images"), "--compare: \"d\": is named twice"},
		"compare bad class":   {run("--compare", "My Class=images"), "--compare: \"My Class\": use 1 to 63"},
		"compare no folder":   {run("--compare", "d=nowhere"), "--compare: nowhere: no such folder"},
		"bound of no use":     {run("--set", "ingest.max_images=3"), "ingest.max_images: 3: must be within"},
		"one paired training": {run("--compare", "d=images", "--utility-seeds", "1"), "--utility-seeds: 1: must be within"},
		"no reason to reject": {[]string{"runs", "reject", "x"}, "--reason: not given"},
		"which to approve":    {[]string{"runs", "approve", "--reason", "x"}, "takes a workflow's identifier"},
		"bad configuration":   {run("--config", "bad.yaml"), `did you mean "worker.threads"?`},
		"bad role":            {[]string{"worker", "--role", "both"}, `--role: "both": choose one of`},
		"worker of nothing":   {[]string{"worker"}, "TEMPORAL_ADDRESS and store.endpoint: not set"},
		"half a cluster":      {[]string{"runs", "list", "--store-endpoint", "s3.example.com"}, "TEMPORAL_ADDRESS: not set, but store.endpoint is"},
		"which run":           {[]string{"runs", "show"}, "takes a workflow's identifier"},
		"which release":       {[]string{"releases", "verify"}, "name one release"},
		"release of no name":  {[]string{"releases", "verify", "a", "b", "c"}, "accepts at most 2 arg(s), received 3; see `defectforge releases verify --help`"},
		"no reason":           {[]string{"releases", "withdraw", "c"}, "--reason: not given"},
		"set without classes": {[]string{"releases", "pull", "--classification", "d"}, "name the classes behind it"},
		"folder and class":    {[]string{"releases", "verify", "c", "--dir", "d"}, "--dir: verifies a folder"},
		"bad public key":      {[]string{"releases", "verify", "--dir", ".", "--public-key", "nonsense"}, "--public-key: public key \"nonsense\""},
		"release outside":     {[]string{"releases", "pull", "..", "x"}, "cannot be part of a release's name"},
		"which checkpoint":    {[]string{"checkpoint", "inspect"}, "takes a checkpoint"},
		"no checkpoint file":  {[]string{"checkpoint", "inspect", "no.safetensors"}, "no such file"},
		"which network":       {[]string{"checkpoint", "export", "x", "--network", "both"}, "choose generator or discriminator"},
		"demo of few":         {[]string{"demo", "--count", "3"}, "--count: 3: must be within"},
		"quote in a filter":   {[]string{"runs", "list", "--class", "a'b"}, "holds a quote"},
		"no minimum":          {run("--min-new", "-1"), "--min-new: -1: must not be negative"},
		"schedule of nothing": {schedule(), "--cron, --every: neither given"},
		"schedule of both":    {schedule("--cron", "@daily", "--every", "1h"), "--every: 1h0m0s: given together with --cron"},
		"too often":           {schedule("--every", "1ms"), "--every: 1ms: must be at least 1s"},
		"unknown zone":        {schedule("--cron", "@daily", "--time-zone", "Europe/Atlantis"), `--time-zone: "Europe/Atlantis": unknown`},
		"zone of an interval": {schedule("--every", "1h", "--time-zone", "UTC"), "goes with --cron"},
		"unknown overlap":     {schedule("--every", "1h", "--overlap", "skipp"), `--overlap: "skipp": choose one of Skip, BufferOne`},
		"no catch-up":         {schedule("--every", "1h", "--catchup-window", "1s"), "--catchup-window: 1s: must be at least 10s"},
		"offset too large":    {schedule("--every", "1h", "--offset", "1h"), "--offset: 1h0m0s: goes with --every"},
		"scheduled folder":    {[]string{"schedule", "create", "n", "--images", "images", "--class", "c", "--every", "1h"}, "a schedule takes s3://bucket/prefix"},
		"bad schedule name":   {[]string{"schedule", "create", "a b", "--every", "1h"}, `NAME: "a b"`},
		"clean-up of images":  {append(schedule("--every", "1h"), "--cleanup"), "--images: has no meaning for --cleanup"},
		"grace of a run":      {schedule("--every", "1h", "--grace", "2h"), "--grace: goes with --cleanup"},
		"no grace":            {[]string{"cleanup", "--grace", "1m"}, "--grace: 1m0s: must be at least 1h0m0s"},
		"checkpoints":         {[]string{"cleanup", "--checkpoint-count", "-1"}, "--checkpoint-count: -1: must not be negative"},
		"which schedule":      {[]string{"schedule", "pause"}, "takes a schedule's name"},
		"limit":               {[]string{"runs", "list", "--limit", "0"}, "--limit: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			got := cli(t, c.args...)
			assert.Equal(t, console.ExitUsage, got.status)
			assert.Contains(t, got.stderr, c.want)
			assert.Contains(t, got.stderr, "error: ")
			assert.Empty(t, got.stdout)
			got = cli(t, append(c.args, "--json")...)
			if name == "unknown flag" || name == "bad seed" {
				return // flags after the bad one are not read
			}
			assert.Equal(t, console.ExitUsage, got.status)
			assert.Contains(t, got.object(t)["error"], c.want)
		})
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	isolate(t)
	got := cli(t, "--help")
	require.Equal(t, console.ExitOK, got.status)
	for _, command := range []string{"run", "demo", "up", "worker", "runs", "schedule", "cleanup", "releases", "checkpoint", "config", "doctor", "version"} {
		assert.Regexp(t, `(?m)^  `+command+` +[A-Z]`, got.stdout)
		assert.Equal(t, console.ExitOK, cli(t, command, "--help").status)
	}
	assert.Contains(t, got.stdout, "3 not approved")
}

func TestDryRun(t *testing.T) {
	dir := isolate(t)
	writeFile(t, filepath.Join(dir, "images", "a.png"), "x")
	writeFile(t, filepath.Join(dir, "images", "b.png"), "y")
	args := []string{"run", "--images", "images", "--class", "c", "--recipe", "quick", "--set", "train.epochs=11", "--seed", "7", "--dry-run", "--no-estimate"}
	plain := cli(t, args...)
	require.Equal(t, console.ExitOK, plain.status, plain.stderr)
	assert.Contains(t, plain.stdout, "seed: 7")
	assert.Contains(t, plain.stdout, "  epochs: 11")
	got := cli(t, append(args, "--json")...).object(t)
	assert.Equal(t, float64(2), got["files"])
	assert.Equal(t, float64(11), got["legs"])
	assert.Contains(t, got["unknown"], "no data folder yet")
	assert.Nil(t, got["estimate"])
	assert.Equal(t, true, got["embedded"])
	assert.Regexp(t, `^augment-c-[0-9a-f]{12}$`, got["workflow_id"])
	assert.Regexp(t, `^sources/c/[0-9a-f]{64}/$`, got["source"].(map[string]any)["prefix"])
	assert.Equal(t, float64(7), got["recipe"].(map[string]any)["seed"])
	assert.NoDirExists(t, filepath.Join(dir, "home"), "nothing was started or written")

	again := cli(t, append(args, "--json")...).object(t)
	assert.Equal(t, got["workflow_id"], again["workflow_id"])
	assert.Equal(t, "copying", got["policy"].(map[string]any)["name"], "the recipe's")
	assert.Nil(t, got["utility"])
	assert.Contains(t, plain.stdout, "# policy copying\nname: copying\n")
	writeFile(t, filepath.Join(dir, "images", "b.png"), "z")
	again = cli(t, append(args, "--json")...).object(t)
	assert.NotEqual(t, got["workflow_id"], again["workflow_id"], "other images are another run")
}

func TestDryRunWithPolicyAndComparison(t *testing.T) {
	dir := isolate(t)
	for _, folder := range []string{"images", "dents", "patches"} {
		writeFile(t, filepath.Join(dir, folder, "a.png"), folder)
	}
	writeFile(t, filepath.Join(dir, "asking.yaml"), "rules:\n- {measure: real_images, min: 100}\napproval: person\n")
	args := []string{"run", "--images", "images", "--class", "c", "--recipe", "surface", "--set", "ingest.selection_share=0.1", "--policy", "asking.yaml", "--utility-splits", "2", "--dry-run", "--no-estimate"}
	compare := func(classes ...string) []string {
		out := slices.Clone(args)
		for _, c := range classes {
			out = append(out, "--compare", c)
		}
		return out
	}
	plain := cli(t, compare("patches=patches", "dents=dents")...)
	require.Equal(t, console.ExitOK, plain.status, plain.stderr)
	assert.Contains(t, plain.stdout, "each evaluated on the selection split")
	assert.Contains(t, plain.stdout, "compare classifiers, assess, report, approval by a person, publish")
	assert.Contains(t, plain.stdout, "# policy asking\n")
	assert.Contains(t, plain.stdout, "2 splits of 10 paired trainings")
	one := cli(t, append(compare("patches=patches", "dents=dents"), "--json")...).object(t)
	assert.Equal(t, float64(3), one["files"])
	plan := one["utility"].(map[string]any)
	assert.Equal(t, float64(2), plan["splits"])
	others := plan["others"].([]any)
	require.Len(t, others, 2)
	assert.Equal(t, "dents", others[0].(map[string]any)["class"])
	assert.Regexp(t, `^sources/dents/[0-9a-f]{64}/$`, others[0].(map[string]any)["source"].(map[string]any)["prefix"])

	swapped := cli(t, append(compare("dents=dents", "patches=patches"), "--json")...).object(t)
	assert.Equal(t, one["workflow_id"], swapped["workflow_id"], "the order of the flags makes no other run")
	for _, other := range [][]string{compare("dents=dents"), compare(), append(compare("patches=patches", "dents=dents"), "--policy", "copying")} {
		assert.NotEqual(t, one["workflow_id"], cli(t, append(other, "--json")...).object(t)["workflow_id"])
	}
}

func TestConfigCommands(t *testing.T) {
	dir := isolate(t)
	t.Setenv("DEFECTFORGE_STORE_SECRET_KEY", "hunter2")
	t.Setenv("DEFECTFORGE_STORE_ACCESS_KEY", "me")
	got := cli(t, "config", "show", "--log-level", "info")
	require.Equal(t, console.ExitOK, got.status, got.stderr)
	assert.NotContains(t, got.stdout, "hunter2")
	assert.Contains(t, got.stdout, "[hidden]' # environment")
	assert.Contains(t, got.stdout, "level: info # flag")
	got = cli(t, "config", "show", "--json")
	assert.NotContains(t, got.stdout, "hunter2")
	store := got.object(t)["config"].(map[string]any)["store"].(map[string]any)
	assert.Equal(t, "[hidden]", store["secret_key"])

	assert.Equal(t, console.ExitOK, cli(t, "config", "init").status)
	again := cli(t, "config", "init")
	assert.Equal(t, console.ExitUsage, again.status)
	assert.Contains(t, again.stderr, "give --force")
	assert.Equal(t, console.ExitOK, cli(t, "config", "init", "--force").status)
	assert.Equal(t, console.ExitOK, cli(t, "config", "validate").status, "what init writes is valid")
	writeFile(t, filepath.Join(dir, "defectforge.yaml"), "worker:\n  threads: -1\n  role: x\n")
	got = cli(t, "config", "validate", "--json")
	assert.Equal(t, console.ExitUsage, got.status)
	assert.Equal(t, false, got.object(t)["ok"])
	assert.Len(t, got.object(t)["problems"], 2)
}

func TestVersion(t *testing.T) {
	isolate(t)
	got := cli(t, "version", "--json")
	require.Equal(t, console.ExitOK, got.status)
	assert.Equal(t, process.ReadVersion().Embedded, got.object(t)["embedded_stack"])
	assert.Contains(t, cli(t, "version").stdout, "defectforge ")
}

func TestReleaseNames(t *testing.T) {
	want := releaseName{"c", "r"}
	for _, args := range [][]string{{"c/r"}, {"c", "r"}, {"releases/c/r"}, {"releases/c/r/"}} {
		got, err := parseRelease(args, "", "")
		require.NoError(t, err)
		assert.Equal(t, want, got, args)
	}
	got, err := parseRelease([]string{"r"}, "c", "")
	require.NoError(t, err)
	assert.Equal(t, want, got)
	got, err = parseRelease([]string{"c"}, "", "")
	require.NoError(t, err)
	assert.Equal(t, releaseName{"c", "latest"}, got)
	for _, args := range [][]string{nil, {"a/b/c"}, {"a/b", "c"}, {".."}, {"a/.."}} {
		_, err := parseRelease(args, "", "")
		assert.Error(t, err, args)
	}
}
