package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// isolate keeps the machine's own configuration out of a test.
func isolate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "TEMPORAL_") || strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, "") // so that it is restored
			require.NoError(t, os.Unsetenv(name))
		}
	}
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "AppData", "LocalAppData"} {
		t.Setenv(name, filepath.Join(dir, strings.ToLower(name)))
	}
	t.Chdir(dir)
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(fs)
	require.NoError(t, fs.Parse(args))
	return fs
}

func TestDefaultsAreValid(t *testing.T) {
	dir := isolate(t)
	got, err := Load(flags(t))
	require.NoError(t, err)
	want := Default()
	want.DataDir = filepath.Join(dir, "xdg_data_home", "defectforge")
	assert.Equal(t, want, got.Config)
	assert.Empty(t, got.File)
	assert.Equal(t, "default", got.Origins["log.level"])
}

func TestLayers(t *testing.T) {
	dir := isolate(t)
	write(t, filepath.Join(dir, FileName), "worker:\n  threads: 1\n  max_concurrent_io: 11\nlog:\n  level: debug\n  format: json\n")
	t.Setenv("DEFECTFORGE_WORKER_MAX_CONCURRENT_IO", "22")
	t.Setenv("DEFECTFORGE_LOG_FORMAT", "text")
	t.Setenv("DEFECTFORGE_STORE_SECURE", "false")
	got, err := Load(flags(t, "--log-format", "json"))
	require.NoError(t, err)
	assert.Equal(t, "debug", got.Log.Level, "the file is above the defaults")
	assert.Equal(t, 22, got.Worker.MaxConcurrentIO, "the environment is above the file")
	assert.False(t, got.Store.Secure)
	assert.Equal(t, "json", got.Log.Format, "flags are above the environment")
	assert.Equal(t, 1, got.Worker.Threads)
	assert.Equal(t, FileName, got.File)
	assert.Equal(t, "file", got.Origins["worker.threads"])
	assert.Equal(t, "environment", got.Origins["worker.max_concurrent_io"])
	assert.Equal(t, "flag", got.Origins["log.format"])
	assert.Equal(t, "default", got.Origins["store.bucket"])
}

// Every key can be set from every layer, and reaches its own field.
func TestEveryKeyFromEveryLayer(t *testing.T) {
	for _, k := range leaves(reflect.TypeFor[Config]()) {
		t.Run(k.path, func(t *testing.T) {
			text := map[reflect.Kind]string{reflect.String: "some-text", reflect.Int: "17", reflect.Bool: "true"}[k.typ.Kind()]
			if d := reflect.ValueOf(Default()).FieldByIndex(k.index); d.Kind() == reflect.Bool && d.Bool() {
				text = "false"
			}
			check := func(fs *pflag.FlagSet) {
				got, _ := Load(fs) // the value may well be invalid: it must arrive
				v := reflect.ValueOf(got.Config).FieldByIndex(k.index)
				shown := fmt.Sprint(v.Interface())
				if k.secret {
					shown = Secret(v.String()).Reveal()
				}
				if k.path == "data_dir" {
					shown = filepath.Base(shown)
				}
				assert.Equal(t, text, shown)
			}
			dir := isolate(t)
			t.Setenv(k.env(), text)
			check(nil)
			require.NoError(t, os.Unsetenv(k.env()))
			line := k.path + ": " + text
			if section, name, ok := strings.Cut(k.path, "."); ok {
				line = section + ":\n  " + name + ": " + text
			}
			check(flags(t, "--config", write(t, filepath.Join(dir, "a.yaml"), line)))
			if !k.secret {
				check(flags(t, "--"+k.flag()+"="+text))
			} else {
				assert.Nil(t, flags(t).Lookup(k.flag()), "secrets do not belong on command lines")
			}
			assert.NotEmpty(t, k.doc)
		})
	}
}

func TestFileIsFound(t *testing.T) {
	dir := isolate(t)
	platform := write(t, filepath.Join(dir, "xdg_config_home", "defectforge", FileName), "log:\n  level: error\n")
	if d, _ := os.UserConfigDir(); !strings.HasPrefix(platform, d) {
		t.Skip("this platform keeps its configuration elsewhere")
	}
	level := func(fs *pflag.FlagSet) string {
		got, err := Load(fs)
		require.NoError(t, err)
		return got.Log.Level
	}
	assert.Equal(t, "error", level(flags(t)), "the platform's folder")
	write(t, filepath.Join(dir, FileName), "log:\n  level: info\n")
	assert.Equal(t, "info", level(flags(t)), "the working folder comes first")
	t.Setenv(FileVariable, write(t, filepath.Join(dir, "b.yaml"), "log:\n  level: debug\n"))
	assert.Equal(t, "debug", level(flags(t)), "then the variable")
	assert.Equal(t, "warn", level(flags(t, "--config", write(t, filepath.Join(dir, "c.yaml"), "# nothing set\n"))), "then the flag")
	_, err := Load(flags(t, "--config", "missing.yaml"))
	assert.ErrorContains(t, err, "--config: missing.yaml: no such file")
	t.Setenv(FileVariable, "gone.yaml")
	_, err = Load(flags(t))
	assert.ErrorContains(t, err, "DEFECTFORGE_CONFIG: gone.yaml: no such file")
}

// Each testdata/*.bad.yaml breaks one rule and says on its first line what the
// message must contain.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 25)
	here, err := os.Getwd()
	require.NoError(t, err)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			isolate(t)
			file := filepath.Join(here, file)
			_, err := Load(flags(t, "--config", file))
			require.Error(t, err)
			assert.Contains(t, err.Error(), wanted(t, file))
			assert.NotContains(t, err.Error(), "only-this", "a secret is printed")
		})
	}
}

func wanted(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(raw), "\n")
	want, ok := strings.CutPrefix(first, "# want: ")
	require.True(t, ok, "%s has no `# want:` line", file)
	return want
}

func TestAllProblemsAtOnce(t *testing.T) {
	c := Default()
	c.DataDir, c.Store.Bucket, c.Worker.Role, c.Log.Level = "", "X", "none", "none"
	var p Problems
	require.ErrorAs(t, c.Validate(), &p)
	fields := make([]string, len(p))
	for i := range p {
		fields[i] = p[i].Field
		assert.NotEmpty(t, p[i].Reason)
	}
	assert.Equal(t, []string{"data_dir", "store.bucket", "worker.role", "log.level"}, fields)
}

func TestProblemsOfEveryLayerAtOnce(t *testing.T) {
	dir := isolate(t)
	file := write(t, filepath.Join(dir, "a.yaml"), "worker:\n  rolle: io\n  threads: -1\nlog:\n  level: 3x\n  format: true\n")
	t.Setenv("DEFECTFORGE_DEVSTACK_UI_PORT", "eighty")
	t.Setenv("DEFECTFORGE_STOER_BUCKET", "b")
	_, err := Load(flags(t, "--config", file, "--store-region="))
	require.Error(t, err)
	for _, want := range []string{
		"DEFECTFORGE_STOER_BUCKET: unknown", "a.yaml:2: worker.rolle: unknown key", "a.yaml:6: log.format: \"true\" is not text",
		"DEFECTFORGE_DEVSTACK_UI_PORT: \"eighty\" is not", "worker.threads: -1:", "log.level: \"3x\":", "store.region: \"\":",
	} {
		assert.Contains(t, err.Error(), want)
	}
	assert.Equal(t, 6, strings.Count(err.Error(), "\n"), "%v", err)
}

func TestEnvironment(t *testing.T) {
	for name, want := range map[string]string{
		"DEFECTFORGE_LOG_LEVL":                 `did you mean "DEFECTFORGE_LOG_LEVEL"?`,
		"DEFECTFORGE_STORE":                    "DEFECTFORGE_STORE: unknown environment variable",
		"DEFECTFORGE_CONFIGURATION":            "DEFECTFORGE_CONFIGURATION: unknown environment variable",
		"DEFECTFORGE_WORKER_MAX_CONCURENCY_IO": `did you mean "DEFECTFORGE_WORKER_MAX_CONCURRENT_IO"?`,
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			t.Setenv(name, "x")
			_, err := Load(nil)
			require.Error(t, err)
			assert.Contains(t, err.Error(), want)
		})
	}
	t.Run("wrong type", func(t *testing.T) {
		isolate(t)
		t.Setenv("DEFECTFORGE_WORKER_THREADS", "all")
		_, err := Load(nil)
		assert.EqualError(t, err, `DEFECTFORGE_WORKER_THREADS: "all" is not a whole number (it sets worker.threads)`)
	})
	t.Run("tests and CI", func(t *testing.T) {
		isolate(t)
		for _, name := range []string{"KERNEL", "SHARED", "PARITY", "TORCH_PYTHON", "REQUIRE_SHARED", "TEST_MINIO"} {
			t.Setenv(envPrefix+name, "1")
		}
		_, err := Load(nil)
		assert.NoError(t, err)
	})
	t.Run("empty is unset", func(t *testing.T) {
		isolate(t)
		t.Setenv("DEFECTFORGE_LOG_LEVEL", "")
		got, err := Load(nil)
		require.NoError(t, err)
		assert.Equal(t, "warn", got.Log.Level)
	})
}

func TestSecretsStayHidden(t *testing.T) {
	const text = "hunter2"
	c := Default()
	c.Store.AccessKey, c.Store.SecretKey = text, text
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", c.Store.SecretKey)
		fmt.Fprintf(&out, verb+"\n", &c.Store.SecretKey)
	}
	raw, err := json.Marshal(c)
	require.NoError(t, err)
	out.Write(raw)
	raw, err = yaml.Marshal(c)
	require.NoError(t, err)
	out.Write(raw)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "key", c.Store.SecretKey, "config", c, "pointer", &c.Store)
	}
	fmt.Fprintln(&out, fmt.Errorf("wrap %w: %v", os.ErrNotExist, c.Store.SecretKey))
	assert.NotContains(t, out.String(), text)
	assert.NotContains(t, out.String(), fmt.Sprintf("%x", text))
	assert.Contains(t, out.String(), hidden)
	assert.Equal(t, text, c.Store.SecretKey.Reveal())
	assert.Empty(t, fmt.Sprint(Secret("")), "nothing is not a secret")
}

func TestPlace(t *testing.T) {
	with := func(endpoint string) Config {
		c := Default()
		c.Store.Endpoint = endpoint
		return c
	}
	t.Run("embedded", func(t *testing.T) {
		isolate(t)
		p, err := with("").Place()
		require.NoError(t, err)
		assert.True(t, p.Embedded)
		assert.Equal(t, "default", p.Namespace)
	})
	t.Run("cluster", func(t *testing.T) {
		isolate(t)
		t.Setenv("TEMPORAL_ADDRESS", "temporal.example.com:7233")
		t.Setenv("TEMPORAL_NAMESPACE", "factory")
		p, err := with("s3.example.com").Place()
		require.NoError(t, err)
		assert.False(t, p.Embedded)
		assert.Equal(t, "temporal.example.com:7233", p.Client.HostPort)
		assert.Equal(t, "factory", p.Namespace)
	})
	t.Run("profile", func(t *testing.T) {
		dir := isolate(t)
		t.Setenv("TEMPORAL_CONFIG_FILE", write(t, filepath.Join(dir, "t.toml"), "[profile.mine]\naddress = \"there:7233\"\n"))
		t.Setenv("TEMPORAL_PROFILE", "mine")
		p, err := with("s3.example.com").Place()
		require.NoError(t, err)
		assert.Equal(t, "there:7233", p.Client.HostPort)
		t.Setenv("TEMPORAL_PROFILE", "other")
		_, err = with("s3.example.com").Place()
		assert.ErrorContains(t, err, "check TEMPORAL_PROFILE")
	})
	t.Run("only Temporal", func(t *testing.T) {
		isolate(t)
		t.Setenv("TEMPORAL_ADDRESS", "there:7233")
		_, err := with("").Place()
		assert.ErrorContains(t, err, "store.endpoint: not set, but a Temporal address is (there:7233)")
		assert.ErrorContains(t, err, "DEFECTFORGE_STORE_ENDPOINT")
	})
	t.Run("only a store", func(t *testing.T) {
		isolate(t)
		_, err := with("s3.example.com").Place()
		assert.ErrorContains(t, err, "TEMPORAL_ADDRESS: not set, but store.endpoint is (s3.example.com)")
	})
	t.Run("a key to nowhere", func(t *testing.T) {
		isolate(t)
		t.Setenv("TEMPORAL_API_KEY", "k")
		_, err := with("").Place()
		assert.ErrorContains(t, err, "an API key or TLS for it is")
	})
}

func TestDataDirOfEachPlatform(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	home := filepath.Join(string(filepath.Separator), "home", "me")
	data := filepath.Join(string(filepath.Separator), "data")
	assert.Equal(t, filepath.Join(home, ".local", "share", "defectforge"), dataDirFor("linux", env(), home))
	assert.Equal(t, filepath.Join(data, "defectforge"), dataDirFor("linux", env("XDG_DATA_HOME", data), home))
	assert.Equal(t, filepath.Join(home, ".local", "share", "defectforge"), dataDirFor("linux", env("XDG_DATA_HOME", "relative"), home), "the standard says to ignore relative ones")
	assert.Equal(t, filepath.Join(home, "Library", "Application Support", "defectforge"), dataDirFor("darwin", env(), home))
	assert.Equal(t, filepath.Join("L", "defectforge"), dataDirFor("windows", env("LocalAppData", "L"), home))
	assert.Empty(t, dataDirFor("linux", env(), ""))
}

func TestHomeAndRelativeDataDirs(t *testing.T) {
	dir := isolate(t)
	for given, want := range map[string]string{
		"~/forge": filepath.Join(dir, "home", "forge"),
		"here":    filepath.Join(dir, "here"),
	} {
		got, err := Load(flags(t, "--data-dir", given))
		require.NoError(t, err)
		// The temporary folder may itself be reached through a link.
		assert.Equal(t, filepath.Base(want), filepath.Base(got.DataDir))
		assert.True(t, filepath.IsAbs(got.DataDir))
	}
}

func TestNearest(t *testing.T) {
	known := []string{"train.epochs", "train.batch", "sample.count", "seed"}
	for got, want := range map[string]string{
		"train.epoch": "train.epochs", "epochs": "train.epochs", "sead": "seed",
		"Train.Batch": "train.batch", "sample.cuont": "sample.count", "completely.else": "",
	} {
		assert.Equal(t, want, nearest(got, known), got)
	}
}
