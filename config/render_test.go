package config

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// What `config init` writes names every key at its default, and is valid as it
// stands and with every line in force.
func TestTemplate(t *testing.T) {
	dir := isolate(t)
	text, err := Template()
	require.NoError(t, err)
	_, err = Load(flags(t, "--config", write(t, filepath.Join(dir, "a.yaml"), text)))
	require.NoError(t, err)
	var active []string
	for _, line := range strings.Split(text, "\n") {
		if before, after, ok := strings.Cut(line, "#"); ok && !strings.HasPrefix(after, " ") && !strings.HasPrefix(after, "data_dir") {
			line = before + after
		}
		active = append(active, line)
	}
	got, err := Load(flags(t, "--config", write(t, filepath.Join(dir, "b.yaml"), strings.Join(active, "\n"))))
	require.NoError(t, err)
	for _, k := range leaves(reflect.TypeFor[Config]()) {
		assert.Contains(t, text, k.doc)
		if k.path != "data_dir" {
			assert.Equal(t, "file", got.Origins[k.path], k.path)
		}
	}
	want := Default()
	want.DataDir = got.DataDir
	assert.Equal(t, want, got.Config)
}

func TestAnnotated(t *testing.T) {
	isolate(t)
	t.Setenv("DEFECTFORGE_STORE_ACCESS_KEY", "hunter2")
	t.Setenv("DEFECTFORGE_STORE_SECRET_KEY", "hunter2")
	got, err := Load(flags(t, "--worker-role", "io"))
	require.NoError(t, err)
	text, err := got.Annotated()
	require.NoError(t, err)
	assert.NotContains(t, text, "hunter2")
	assert.Contains(t, text, "  role: io # flag\n")
	assert.Contains(t, text, "  access_key: '[hidden]' # environment\n")
	var parsed map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &parsed))
	assert.Len(t, parsed, reflect.TypeFor[Config]().NumField())
}
