package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

func names(files []sourceFile) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.name
	}
	return out
}

func TestScanFolder(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "b.png"), "b")
	writeFile(t, filepath.Join(dir, "sub", "a b.png"), "a")
	writeFile(t, filepath.Join(dir, "ä.png"), "ae")
	writeFile(t, filepath.Join(dir, ".hidden"), "x")
	writeFile(t, filepath.Join(dir, ".git", "config"), "x")
	other := t.TempDir()
	writeFile(t, filepath.Join(other, "outside.png"), "linked")
	require.NoError(t, os.Symlink(filepath.Join(other, "outside.png"), filepath.Join(dir, "link.png")))
	require.NoError(t, os.Symlink(other, filepath.Join(dir, "linked-folder")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "broken")))

	files, skipped, err := scanFolder(t.Context(), "--images", dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"%C3%A4.png", "b.png", "link.png", "sub/a%20b.png"}, names(files))
	assert.Equal(t, 4, skipped, ".hidden, .git, the linked folder, the broken link")
	assert.Equal(t, storage.Digest([]byte("linked")), files[2].sha256)
	assert.Equal(t, int64(6), files[2].size)

	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	through, _, err := scanFolder(t.Context(), "--images", link)
	require.NoError(t, err)
	assert.Equal(t, names(files), names(through), "the folder itself may be a link")
}

func TestFolderPrefixFollowsNamesAndBytes(t *testing.T) {
	a := []sourceFile{{name: "a", sha256: "1"}, {name: "b", sha256: "2"}}
	base := folderPrefix("c", a)
	assert.Equal(t, base, folderPrefix("c", []sourceFile{{name: "a", sha256: "1", path: "/elsewhere"}, {name: "b", sha256: "2"}}))
	assert.NotEqual(t, base, folderPrefix("d", a))
	assert.NotEqual(t, base, folderPrefix("c", []sourceFile{{name: "a", sha256: "1"}, {name: "b", sha256: "3"}}))
	assert.NotEqual(t, base, folderPrefix("c", []sourceFile{{name: "a", sha256: "1"}, {name: "x", sha256: "2"}}))
}

// counting counts what is written.
type counting struct {
	storage.Bucket
	puts atomic.Int64
	fail string
}

func (c *counting) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond storage.Condition) (storage.Info, error) {
	if c.fail != "" && strings.HasSuffix(key, c.fail) {
		return storage.Info{}, errors.New("disk full")
	}
	c.puts.Add(1)
	return c.Bucket.Put(ctx, key, body, size, sha256, cond)
}

func TestUploadSendsWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		writeFile(t, filepath.Join(dir, name+".png"), "image "+name)
	}
	files, _, err := scanFolder(t.Context(), "--images", dir)
	require.NoError(t, err)
	b := &counting{Bucket: memory.New()}
	none := func(int) {}

	b.fail = "c.png"
	_, err = upload(t.Context(), b, "p/", files, none)
	require.ErrorContains(t, err, "c.png: disk full")
	b.fail = ""
	before := b.puts.Load()
	var last atomic.Int64
	sent, err := upload(t.Context(), b, "p/", files, func(n int) { last.Store(max(last.Load(), int64(n))) })
	require.NoError(t, err)
	assert.Equal(t, int64(sent), b.puts.Load()-before)
	assert.GreaterOrEqual(t, sent, 1)
	assert.EqualValues(t, 3, last.Load())
	body, _, err := b.Get(t.Context(), "p/c.png")
	require.NoError(t, err)
	raw, err := io.ReadAll(body)
	require.NoError(t, err)
	assert.Equal(t, "image c", string(raw))

	sent, err = upload(t.Context(), b, "p/", files, none)
	require.NoError(t, err)
	assert.Zero(t, sent, "all is there")

	// Same size, other bytes: a damaged object is replaced.
	_, err = b.Bucket.Put(t.Context(), "p/a.png", strings.NewReader("IMAGE A"), 7, storage.Digest([]byte("IMAGE A")), storage.Condition{})
	require.NoError(t, err)
	sent, err = upload(t.Context(), b, "p/", files, none)
	require.NoError(t, err)
	assert.Equal(t, 1, sent)

	writeFile(t, filepath.Join(dir, "b.png"), "changed meanwhile")
	_, err = upload(t.Context(), memory.New(), "p/", files, none)
	assert.ErrorContains(t, err, "changed while it was read")
}

func TestParseS3(t *testing.T) {
	for src, want := range map[string]step.Source{
		"s3://b/p":    {Bucket: "b", Prefix: "p/"},
		"s3://b/p/q/": {Bucket: "b", Prefix: "p/q/"},
		"s3://b":      {Bucket: "b"},
		"s3://b/":     {Bucket: "b"},
	} {
		got, remote, err := parseS3("--images", src)
		require.NoError(t, err)
		assert.True(t, remote)
		assert.Equal(t, want, got, src)
	}
	_, remote, err := parseS3("--images", "folder")
	require.NoError(t, err)
	assert.False(t, remote)
	for _, src := range []string{"s3://", "s3:///p", "s3://b//p", "s3://b/p//q"} {
		_, _, err := parseS3("--images", src)
		assert.Error(t, err, src)
	}
}
