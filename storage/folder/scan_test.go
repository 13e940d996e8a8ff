package folder

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/storagetest"
)

func names(files []File) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.Name
	}
	return out
}

func TestScan(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b.png"), []byte("b"))
	write(t, filepath.Join(dir, "sub", "a b.png"), []byte("a"))
	write(t, filepath.Join(dir, "ä.png"), []byte("ae"))
	write(t, filepath.Join(dir, ".hidden"), []byte("x"))
	write(t, filepath.Join(dir, ".git", "config"), []byte("x"))
	other := t.TempDir()
	write(t, filepath.Join(other, "outside.png"), []byte("linked"))
	require.NoError(t, os.Symlink(filepath.Join(other, "outside.png"), filepath.Join(dir, "link.png")))
	require.NoError(t, os.Symlink(other, filepath.Join(dir, "linked-folder")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "broken")))

	files, skipped, err := Scan(t.Context(), dir, "p/")
	require.NoError(t, err)
	assert.Equal(t, []string{"%C3%A4.png", "b.png", "link.png", "sub/a%20b.png"}, names(files))
	assert.Equal(t, 4, skipped, ".hidden, .git, the linked folder, the broken link")
	assert.Equal(t, storage.Digest([]byte("linked")), files[2].SHA256)
	assert.Equal(t, int64(6), files[2].Size)

	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	through, _, err := Scan(t.Context(), link, "p/")
	require.NoError(t, err)
	assert.Equal(t, names(files), names(through), "the folder itself may be a link")
}

func TestScanRefuses(t *testing.T) {
	dir := t.TempDir()
	empty, hidden, deep := filepath.Join(dir, "empty"), filepath.Join(dir, "hidden"), filepath.Join(dir, "deep")
	require.NoError(t, os.Mkdir(empty, 0o755))
	write(t, filepath.Join(hidden, ".x"), nil)
	write(t, filepath.Join(deep, strings.Repeat("ä", 80), "x.png"), nil)
	big := filepath.Join(dir, "big", "x.png")
	write(t, big, nil)
	require.NoError(t, os.Truncate(big, maxFileBytes+1))
	for path, want := range map[string]string{
		filepath.Join(dir, "none"):  "no such folder; give a folder of images or s3://bucket/prefix",
		filepath.Join(hidden, ".x"): "is a file; give the folder",
		empty:                       "holds no files; give a folder of images",
		hidden:                      "holds no files but 1 hidden or special ones",
		filepath.Dir(big):           "are more than any image here may have",
	} {
		_, _, err := Scan(t.Context(), path, "p/")
		require.ErrorAs(t, err, new(Problem), path)
		assert.ErrorContains(t, err, want)
	}
	_, _, err := Scan(t.Context(), deep, "p/")
	require.NoError(t, err)
	_, _, err = Scan(t.Context(), deep, strings.Repeat("p/", 500))
	require.ErrorAs(t, err, new(Problem))
	require.ErrorContains(t, err, "shorten its path")
	require.ErrorIs(t, err, storage.ErrKey)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = Scan(ctx, deep, "p/")
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorAs(t, err, new(Problem), "nobody can mend that")
}

func TestUploadSendsWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		write(t, filepath.Join(dir, name+".png"), []byte("image "+name))
	}
	files, _, err := Scan(t.Context(), dir, "p/")
	require.NoError(t, err)
	var puts atomic.Int64
	failing := true
	inner := memory.New()
	b := storagetest.NewFaulty(inner, func(c storagetest.Call) storagetest.Fault {
		switch {
		case c.Method != "Put":
		case failing && strings.HasSuffix(c.Key, "c.png"):
			return storagetest.Before
		default:
			puts.Add(1)
		}
		return storagetest.None
	})
	none := func(int) {}

	_, err = Upload(t.Context(), b, "p/", files, none)
	require.ErrorIs(t, err, storagetest.ErrInjected)
	require.ErrorContains(t, err, filepath.Join(dir, "c.png"))
	failing = false
	before := puts.Load()
	var calls []int
	sent, err := Upload(t.Context(), b, "p/", files, func(n int) { calls = append(calls, n) })
	require.NoError(t, err)
	assert.Equal(t, int64(sent), puts.Load()-before)
	assert.GreaterOrEqual(t, sent, 1)
	assert.Equal(t, []int{1, 2, 3}, calls)
	body, _, err := b.Get(t.Context(), "p/c.png")
	require.NoError(t, err)
	raw, err := io.ReadAll(body)
	require.NoError(t, err)
	assert.Equal(t, "image c", string(raw))

	sent, err = Upload(t.Context(), b, "p/", files, none)
	require.NoError(t, err)
	assert.Zero(t, sent, "all is there")

	// Same size, other bytes: a damaged object is replaced.
	damaged := []byte("IMAGE A")
	_, err = inner.Put(t.Context(), "p/a.png", bytes.NewReader(damaged), 7, storage.Digest(damaged), storage.Condition{})
	require.NoError(t, err)
	sent, err = Upload(t.Context(), b, "p/", files, none)
	require.NoError(t, err)
	assert.Equal(t, 1, sent)

	write(t, filepath.Join(dir, "b.png"), []byte("changed meanwhile"))
	_, err = Upload(t.Context(), memory.New(), "p/", files, none)
	assert.ErrorContains(t, err, "changed while it was read")
}
