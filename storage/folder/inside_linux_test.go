package folder

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Nothing outside of the folder is read, and nothing that is no file.
func TestDirStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	write(t, outside, []byte("secret"))
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sub", "inside"), []byte("inside"))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
	require.NoError(t, os.Symlink(filepath.Join("sub", "inside"), filepath.Join(dir, "in")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "broken")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))

	d := Open(dir, "p/")
	for _, key := range []string{"p/out", "p/../" + filepath.Base(filepath.Dir(outside)) + "/secret", "p/" + outside, "p/broken", "p/pipe", "p/sub", "p/", "in"} {
		_, _, err := d.Get(t.Context(), key)
		assert.Error(t, err, key)
	}
	info, err := d.Stat(t.Context(), "p/in")
	require.NoError(t, err, "a link that stays inside")
	assert.Equal(t, int64(6), info.Size)
	var keys []string
	for info, err := range d.List(t.Context(), "p/") {
		require.NoError(t, err)
		keys = append(keys, info.Key)
	}
	assert.Equal(t, []string{"p/broken", "p/in", "p/out", "p/pipe", "p/sub/inside"}, keys, "what should not be there is seen")
}
