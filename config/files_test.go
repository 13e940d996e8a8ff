package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every secret can come from a file, and none shows itself then either.
func TestEverySecretFromAFile(t *testing.T) {
	keys := leaves(reflect.TypeFor[Config]())
	byPath := map[string]key{}
	for _, k := range keys {
		byPath[k.path] = k
	}
	n := 0
	for _, k := range keys {
		if !k.secret {
			continue
		}
		n++
		t.Run(k.path, func(t *testing.T) {
			named, ok := byPath[k.path+fileSuffix]
			require.True(t, ok, "%s has no key for a file: add %s%s", k.path, k.path, fileSuffix)
			require.Equal(t, reflect.String, named.typ.Kind())
			require.False(t, named.secret)
			dir := isolate(t)
			file := write(t, filepath.Join(dir, "secret"), "hunter2:Y2FuJ3QgdGVsbA==\r\n")
			t.Setenv(named.env(), file)
			got, _ := Load(nil) // other keys may be missing beside it
			assert.Equal(t, "hunter2:Y2FuJ3QgdGVsbA==", reflect.ValueOf(got.Config).FieldByIndex(k.index).String())
			assert.Equal(t, "environment, by "+named.path, got.Origins[k.path])
			text, err := got.Annotated()
			require.NoError(t, err)
			assert.NotContains(t, text, "hunter2")

			for content, want := range map[string]string{"\n": "is empty", strings.Repeat("x", maxSecretFile+1): "has more than"} {
				require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
				_, err = Load(nil)
				assert.ErrorContains(t, err, named.path+": ")
				assert.ErrorContains(t, err, want)
			}
		})
	}
	require.GreaterOrEqual(t, n, 9)
}
