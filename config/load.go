package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

const (
	envPrefix = "DEFECTFORGE_"
	// FileName is the configuration file looked for in the working folder and
	// in the platform's configuration folder.
	FileName = "defectforge.yaml"
	// FileVariable names another configuration file.
	FileVariable = envPrefix + "CONFIG"
)

// Variables with our prefix that are not configuration keys: the file's name, the
// kernels' instruction set, and those of the tests, the benchmarks and CI.
var otherVariables = []string{
	FileVariable, envPrefix + "KERNEL",
	envPrefix + "SHARED", envPrefix + "PARITY", envPrefix + "TORCH_PYTHON",
}

var otherPrefixes = []string{envPrefix + "REQUIRE_", envPrefix + "TEST_"}

// Loaded is the effective configuration and where it came from.
type Loaded struct {
	Config
	File    string            // "" where none was found
	Origins map[string]string // by dotted key: default, file, environment or flag
}

// AddFlags defines --config and a flag for every key. Secrets have none: a
// process list shows command lines to everyone. All but a few are hidden from
// the help, which `config init` covers.
func AddFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "configuration file (default ./"+FileName+" or the one in the platform's configuration folder)")
	shown := map[string]bool{"data_dir": true, "log.level": true, "log.format": true, "worker.threads": true}
	d := reflect.ValueOf(Default())
	for _, k := range leaves(d.Type()) {
		if k.secret {
			continue
		}
		switch v := d.FieldByIndex(k.index).Interface().(type) {
		case string:
			fs.String(k.flag(), v, k.doc)
		case int:
			fs.Int(k.flag(), v, k.doc)
		case bool:
			fs.Bool(k.flag(), v, k.doc)
		}
		if !shown[k.path] {
			_ = fs.MarkHidden(k.flag())
		}
	}
}

// Load gathers the configuration and validates it. fs may be nil; otherwise its
// flags must have been defined by AddFlags and parsed. The error is a Problems.
func Load(fs *pflag.FlagSet) (Loaded, error) {
	out := Loaded{Origins: map[string]string{}}
	keys := leaves(reflect.TypeFor[Config]())
	v := viper.New()
	defaults := reflect.ValueOf(Default())
	for _, k := range keys {
		v.SetDefault(k.path, defaults.FieldByIndex(k.index).Interface())
		out.Origins[k.path] = "default"
	}
	problems := checkEnvironment(os.Environ(), keys)
	file, err := findFile(fs)
	if err != nil {
		return out, Problems{err.(Problem)}
	}
	out.File = file
	problems = append(problems, out.mergeFile(v, file, keys)...)
	problems = append(problems, out.bind(v, fs, keys)...)
	if err := v.UnmarshalExact(&out.Config, byYAMLTags); err != nil {
		problems.add("configuration", "", err.Error())
		return out, problems
	}
	problems = append(problems, out.readSecretFiles(keys)...)
	if out.DataDir, err = absolute(out.DataDir); err != nil {
		problems.add("data_dir", out.DataDir, err.Error())
	}
	var invalid Problems
	errors.As(out.Validate(), &invalid)
	return out, append(problems, invalid...).orNil()
}

// byYAMLTags has Viper call the fields what the file calls them.
func byYAMLTags(c *mapstructure.DecoderConfig) { c.TagName = "yaml" }

func (l *Loaded) mergeFile(v *viper.Viper, file string, keys []key) Problems {
	if file == "" {
		return nil
	}
	raw, err := readFile("--config", file, "configuration")
	if err != nil {
		return err.(Problems)
	}
	doc, err := readDocument(file, raw, keys)
	nested := map[string]any{}
	for path, value := range doc.values {
		l.Origins[path] = "file"
		into, parts := nested, strings.Split(path, ".")
		for _, section := range parts[:len(parts)-1] {
			if into[section] == nil {
				into[section] = map[string]any{}
			}
			into = into[section].(map[string]any)
		}
		into[parts[len(parts)-1]] = value
	}
	var problems Problems
	errors.As(err, &problems)
	if err := v.MergeConfigMap(nested); err != nil {
		problems.add(file, "", err.Error())
	}
	return problems
}

// bind puts environment and flags above the file.
func (l *Loaded) bind(v *viper.Viper, fs *pflag.FlagSet, keys []key) Problems {
	var problems Problems
	for _, k := range keys {
		if text := os.Getenv(k.env()); text != "" {
			l.Origins[k.path] = "environment"
			if _, err := parseText(text, k.typ); err != nil {
				problems.add(k.env(), "", err.Error()+fmt.Sprintf(" (it sets %s)", k.path))
			} else {
				_ = v.BindEnv(k.path, k.env()) // fails only without a name
			}
		}
		if fs == nil || fs.Lookup(k.flag()) == nil {
			continue
		}
		_ = v.BindPFlag(k.path, fs.Lookup(k.flag())) // fails only on a nil flag
		if fs.Changed(k.flag()) {
			l.Origins[k.path] = "flag"
		}
	}
	return problems
}

// findFile is the configuration file to read, or "" where there is none. One
// that was named explicitly must exist.
func findFile(fs *pflag.FlagSet) (string, error) {
	if fs != nil {
		if f, err := fs.GetString("config"); err == nil && f != "" {
			return mustExist("--config", f)
		}
	}
	if f := os.Getenv(FileVariable); f != "" {
		return mustExist(FileVariable, f)
	}
	candidates := []string{FileName}
	if dir, err := os.UserConfigDir(); err == nil {
		candidates = append(candidates, filepath.Join(dir, "defectforge", FileName))
	}
	for _, f := range candidates {
		if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() {
			return f, nil
		}
	}
	return "", nil
}

func mustExist(asked, file string) (string, error) {
	if info, err := os.Stat(file); err != nil || info.IsDir() {
		return "", Problem{Field: asked, Value: file, Reason: "no such file; `defectforge config init` writes one"}
	}
	return file, nil
}

// checkEnvironment finds variables with our prefix that nothing reads: typos.
func checkEnvironment(environ []string, keys []key) Problems {
	known := append([]string(nil), otherVariables...)
	for _, k := range keys {
		known = append(known, k.env())
	}
	var problems Problems
next:
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		for _, p := range otherPrefixes {
			if strings.HasPrefix(name, p) {
				continue next
			}
		}
		for _, k := range known {
			if name == k {
				continue next
			}
		}
		problems.add(name, "", "unknown environment variable"+suggestion(name, known))
	}
	return problems
}

func absolute(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	if rest, ok := strings.CutPrefix(dir, "~/"); ok && homeDir() != "" {
		dir = filepath.Join(homeDir(), rest)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return dir, fmt.Errorf("resolve: %w; give an absolute path", err)
	}
	return abs, nil
}
