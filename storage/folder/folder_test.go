package folder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/storagetest"
)

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

func TestDir(t *testing.T) {
	const prefix = "storagetest/"
	storagetest.RunReader(t, func(t *testing.T, objects map[string][]byte) storage.Reader {
		dir := t.TempDir()
		for key, data := range objects {
			write(t, filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(key, prefix))), data)
		}
		return Open(dir, prefix)
	})
}

func TestFiles(t *testing.T) {
	const prefix = "storagetest/"
	storagetest.RunReader(t, func(t *testing.T, objects map[string][]byte) storage.Reader {
		dir := t.TempDir()
		var files []File
		for key, data := range objects {
			path := filepath.Join(dir, storage.Digest([]byte(key)))
			write(t, path, data)
			files = append(files, File{path, strings.TrimPrefix(key, prefix), storage.Digest(data), int64(len(data))})
		}
		return NewFiles(prefix, files)
	})
}

// Without a prefix the names themselves are the keys.
func TestWithoutPrefix(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sub", "a.png"), []byte("a"))
	files, _, err := Scan(t.Context(), dir, "")
	require.NoError(t, err)
	for _, r := range []storage.Reader{Open(dir, ""), NewFiles("", files)} {
		info, err := r.Stat(t.Context(), "sub/a.png")
		require.NoError(t, err)
		assert.Equal(t, int64(1), info.Size)
		for listed, err := range r.List(t.Context(), "") {
			require.NoError(t, err)
			assert.Equal(t, info, listed)
		}
	}
}

func TestSubfolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a", ".hidden"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	require.NoError(t, os.Symlink(t.TempDir(), filepath.Join(dir, "linked")))
	write(t, filepath.Join(dir, "loose.png"), nil)
	names, files, err := Subfolders(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b", "linked"}, names)
	assert.Equal(t, 1, files)

	_, _, err = Subfolders(filepath.Join(dir, "none"))
	require.ErrorAs(t, err, new(Problem))
	assert.ErrorContains(t, err, "none: no such folder; give a folder of folders")
}
