package retention

import (
	"context"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
)

// A run that begins between marking and sweeping keeps what it finds; so does a
// publisher that continues a prefix that was given up.
func TestCleanUpSparesWhatIsUsedMeanwhile(t *testing.T) {
	ctx := context.Background()
	b := newAged()
	s := storage.New(b)
	found, remade, idle := artifact(t, s, "found", ".json"), artifact(t, s, "remade", ".json"), artifact(t, s, "idle", ".json")
	d, _ := draft(t, s)
	out := publish(t, s, d)
	manifest := out.Prefix + "/" + release.ManifestName
	require.NoError(t, b.Delete(ctx, manifest))
	require.NoError(t, b.Delete(ctx, "releases/scratches/latest.json"))
	b.let(t, "", 30*day)
	c := cleaning{t: t, s: s, rule: week(), between: func() {
		ok, err := ledger.Kept(ctx, s, step.Ref(found))
		require.NoError(t, err)
		require.True(t, ok)
		artifact(t, s, "remade", ".json")
		publish(t, s, d)
	}}
	r := c.do()
	left := everything(t, s)
	require.Contains(t, left, found.Key)
	require.Contains(t, left, remade.Key)
	require.NotContains(t, left, idle.Key)
	require.Zero(t, r.Removed[removedUnfinished])
	verified, err := release.Verify(ctx, b, "scratches", out.Release)
	require.NoError(t, err)
	require.True(t, verified.OK, verified.Problems)
}

// Between the list and the removal: what was written again, or completed, stays.
func TestSweepLooksAgain(t *testing.T) {
	ctx := context.Background()
	b := newAged()
	s := storage.New(b)
	renewed, gone := artifact(t, s, "renewed", ".json"), artifact(t, s, "gone", ".json")
	lay(t, s, "releases/scratches/0123456789abcdef/a", "half")
	b.let(t, "", 30*day)
	cleaner := Cleaner{Store: s, Running: func(context.Context, []string, string, func(string, []byte)) error { return nil }}
	run := step.Run{WorkflowID: "w", RunID: "r"}
	marks, err := cleaner.MarkReferences(ctx, step.MarkInput{Run: run, Retention: week()})
	require.NoError(t, err)
	sweepAll := func(apply bool) (total step.SweepResult) {
		for _, area := range step.SweepAreas() {
			out, err := cleaner.Sweep(ctx, step.SweepInput{Run: run, Retention: week(), Marks: marks.Marks, Began: marks.Began, Area: area, Apply: apply})
			require.NoError(t, err)
			total.Spared.Add(out.Spared)
			total.Kept.Add(step.Count{Objects: int64(len(out.Removed))})
		}
		return total
	}
	require.Equal(t, int64(0), sweepAll(false).Spared.Objects)
	lay(t, s, renewed.Key, "renewed")
	lay(t, s, "releases/scratches/0123456789abcdef/"+release.ManifestName, "done by somebody")
	require.Equal(t, int64(2), sweepAll(true).Spared.Objects)
	left := everything(t, s)
	require.Contains(t, left, renewed.Key)
	require.NotContains(t, left, gone.Key)
	require.Contains(t, left, "releases/scratches/0123456789abcdef/a")
}

// Where another credential publishes, nothing below releases/ is removed.
func TestSweepLeavesReleasesToTheirOwnCredential(t *testing.T) {
	ctx := context.Background()
	b := newAged()
	s := storage.New(b)
	lay(t, s, "releases/scratches/0123456789abcdef/a", "half")
	b.let(t, "", 30*day)
	cleaner := Cleaner{Store: s, KeepReleases: true, Running: func(context.Context, []string, string, func(string, []byte)) error { return nil }}
	run := step.Run{WorkflowID: "w", RunID: "r"}
	marks, err := cleaner.MarkReferences(ctx, step.MarkInput{Run: run, Retention: week()})
	require.NoError(t, err)
	in := step.SweepInput{Run: run, Retention: week(), Marks: marks.Marks, Began: marks.Began, Area: "releases/", Apply: true}
	out, err := cleaner.Sweep(ctx, in)
	require.NoError(t, err)
	require.Empty(t, out.Removed)
	require.Equal(t, []string{"0123456789abcdef/a"}, keys(t, s, "releases/scratches/"))
	cleaner.KeepReleases = false
	out, err = cleaner.Sweep(ctx, in)
	require.NoError(t, err)
	require.Equal(t, int64(1), out.Removed[removedUnfinished].Objects)
}

// crowd is a bucket with n artifacts that are made up as they are listed, so that
// it takes no memory itself.
type crowd struct {
	storage.Bucket
	n int
}

func (c *crowd) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	if !strings.HasPrefix(prefix, storage.ArtifactPrefix) {
		return c.Bucket.List(ctx, prefix)
	}
	return func(yield func(storage.Info, error) bool) {
		for i := range c.n {
			key, _ := storage.ArtifactKey(storage.Digest([]byte(fmt.Sprint(i))), ".png")
			if strings.HasPrefix(key, prefix) && !yield(storage.Info{Key: key, Size: 1, Modified: time.Now().Add(-30 * day)}, nil) {
				return
			}
		}
	}
}

func (c *crowd) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond storage.Condition) (storage.Info, error) {
	if strings.Contains(key, "/plan-") {
		return storage.Info{Key: key, Size: size, SHA256: sha256}, nil
	}
	return c.Bucket.Put(ctx, key, body, size, sha256, cond)
}

// Many keys: memory grows neither with them nor with what is removed.
func TestCleanUpOfManyKeysInBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("lists many objects")
	}
	const n = 60_000 // about 9 MB, were their descriptions held
	var base, now runtime.MemStats
	var peak uint64
	runtime.GC()
	runtime.ReadMemStats(&base)
	looks := 0
	cleaner := Cleaner{
		Store:   storage.New(&crowd{Bucket: memory.New(), n: n}),
		Running: func(context.Context, []string, string, func(string, []byte)) error { return nil },
		Progress: func(int, int) {
			if looks++; looks%2000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}
		},
	}
	run := step.Run{WorkflowID: "w", RunID: "r"}
	marks, err := cleaner.MarkReferences(context.Background(), step.MarkInput{Run: run, Retention: week()})
	require.NoError(t, err)
	var total step.Count
	for _, area := range step.SweepAreas() {
		out, err := cleaner.Sweep(context.Background(), step.SweepInput{Run: run, Retention: week(), Marks: marks.Marks, Began: marks.Began, Area: area})
		require.NoError(t, err)
		total.Add(out.Removed[removedArtifact])
	}
	require.Equal(t, step.Count{Objects: n, Bytes: n}, total)
	require.Greater(t, looks, n-1)
	require.Less(t, int64(peak)-int64(base.HeapAlloc), int64(4<<20))
}
