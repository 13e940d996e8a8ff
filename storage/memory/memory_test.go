package memory_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/storagetest"
)

func TestMemory(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Bucket { return memory.New() })
}

func TestInFolder(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Bucket { return memory.InFolder(t.TempDir()) })
}

func TestOver(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Bucket { return memory.Over(memory.New()) })
}

// What is beneath is read as if it had been written.
func TestOverReadsWhatIsBeneath(t *testing.T) {
	storagetest.RunReader(t, func(t *testing.T, objects map[string][]byte) storage.Reader {
		base := memory.New()
		over := memory.Over(base)
		n := 0
		for key, data := range objects { // some beneath, some above, some in both
			if n++; n%3 != 0 {
				put(t, base, key, data, storage.Condition{})
			}
			if n%3 != 1 {
				put(t, over, key, data, storage.Condition{})
			}
		}
		put(t, base, first(objects)+"-removed", nil, storage.Condition{})
		require.NoError(t, over.Delete(t.Context(), first(objects)+"-removed"))
		return over
	})
}

func first(objects map[string][]byte) string {
	for key := range objects {
		prefix, _, _ := strings.Cut(strings.TrimPrefix(key, "storagetest/"), "/")
		return "storagetest/" + prefix + "/"
	}
	return ""
}

func put(t *testing.T, b storage.Bucket, key string, data []byte, cond storage.Condition) storage.Info {
	t.Helper()
	info, err := b.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), storage.Digest(data), cond)
	require.NoError(t, err)
	return info
}

func TestOverLeavesWhatIsBeneath(t *testing.T) {
	base := memory.New()
	below := put(t, base, "a", []byte("below"), storage.Condition{})
	over := memory.Over(base)
	fails := func(data string, cond storage.Condition) {
		_, err := over.Put(t.Context(), "a", strings.NewReader(data), int64(len(data)), storage.Digest([]byte(data)), cond)
		require.ErrorIs(t, err, storage.ErrPrecondition)
	}
	fails("above", storage.Condition{IfAbsent: true})
	fails("above", storage.Condition{IfETag: "another"})
	require.Equal(t, below, put(t, over, "a", []byte("below"), storage.Condition{IfAbsent: true}), "it is there already")
	put(t, over, "a", []byte("above"), storage.Condition{IfETag: below.ETag})
	require.Equal(t, "above", content(t, over, "a"))
	require.NoError(t, over.Delete(t.Context(), "a"))
	_, err := over.Stat(t.Context(), "a")
	require.ErrorIs(t, err, storage.ErrNotFound)
	put(t, over, "a", []byte("again"), storage.Condition{IfAbsent: true})
	require.Equal(t, "again", content(t, over, "a"))
	require.Equal(t, "below", content(t, base, "a"))
}

func content(t *testing.T, r storage.Reader, key string) string {
	t.Helper()
	body, _, err := r.Get(t.Context(), key)
	require.NoError(t, err)
	defer body.Close()
	raw, err := io.ReadAll(body)
	require.NoError(t, err)
	return string(raw)
}

// A refused write, a replaced object and a removed one leave no file behind; who
// still reads one reads on.
func TestInFolderTidiesUp(t *testing.T) {
	dir := t.TempDir()
	b := memory.InFolder(dir)
	files := func() int {
		list, err := os.ReadDir(dir)
		require.NoError(t, err)
		return len(list)
	}
	put(t, b, "a", []byte("one"), storage.Condition{})
	body, _, err := b.Get(t.Context(), "a")
	require.NoError(t, err)
	defer body.Close()
	put(t, b, "a", []byte("two"), storage.Condition{})
	_, err = b.Put(t.Context(), "a", strings.NewReader("three"), 5, storage.Digest([]byte("three")), storage.Condition{IfAbsent: true})
	require.ErrorIs(t, err, storage.ErrPrecondition)
	_, err = b.Put(t.Context(), "a", strings.NewReader("three"), 5, storage.Digest([]byte("four")), storage.Condition{})
	require.ErrorIs(t, err, storage.ErrCorrupt)
	require.Equal(t, 1, files())
	require.NoError(t, b.Delete(t.Context(), "a"))
	require.Zero(t, files())
	raw, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "one", string(raw))
}

// A bucket with a past is still a bucket.
func TestAged(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Bucket { return storagetest.NewAged(memory.New()) })
}
