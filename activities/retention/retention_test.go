package retention

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/storagetest"
)

// aged is a bucket with objects that look older than they are, until they are
// written again.
type aged struct{ *storagetest.Aged }

func newAged() aged { return aged{storagetest.NewAged(memory.New())} }

// let makes everything below prefix that old.
func (a aged) let(t *testing.T, prefix string, age time.Duration) {
	t.Helper()
	require.NoError(t, a.Age(context.Background(), prefix, age))
}

const day = 24 * time.Hour

func week() step.Retention {
	return step.Retention{GraceHours: 7 * 24, CheckpointHours: 7 * 24}
}

// cleaning runs a whole clean-up as the workflow does.
type cleaning struct {
	t       *testing.T
	s       *storage.Store
	running map[string]string // workflow's identifier to its state
	between func()            // called between marking and sweeping
	rule    step.Retention
	dry     bool
}

func (c cleaning) do() step.CleanUpReport {
	c.t.Helper()
	ctx := context.Background()
	cleaner := Cleaner{Store: c.s, Running: func(_ context.Context, _ []string, _ string, visit func(string, []byte)) error {
		for id, state := range c.running {
			visit(id, []byte(state))
		}
		return nil
	}}
	r := step.CleanUpReport{Run: step.Run{WorkflowID: "cleanup", RunID: "1"}, Applied: !c.dry, Removed: map[string]step.Count{}}
	var err error
	r.Mark, err = cleaner.MarkReferences(ctx, step.MarkInput{Run: r.Run, Retention: c.rule})
	require.NoError(c.t, err)
	if c.between != nil {
		c.between()
	}
	for _, area := range step.SweepAreas() {
		in := step.SweepInput{Run: r.Run, Retention: c.rule, Marks: r.Mark.Marks, Began: r.Mark.Began, Area: area, Apply: !c.dry}
		out, err := cleaner.Sweep(ctx, in)
		require.NoError(c.t, err)
		again, err := cleaner.Sweep(ctx, in)
		require.NoError(c.t, err)
		require.Equal(c.t, out, again, "another attempt counts the same")
		for kind, n := range out.Removed {
			sum := r.Removed[kind]
			sum.Add(n)
			r.Removed[kind] = sum
			r.Total.Add(n)
		}
		r.Kept.Add(out.Kept)
		r.Spared.Add(out.Spared)
	}
	done, err := cleaner.RecordCleanUp(ctx, step.RecordCleanUpInput{Report: r})
	require.NoError(c.t, err)
	raw, err := c.s.Read(ctx, storage.Object(done.Report), 1<<20)
	require.NoError(c.t, err)
	require.NoError(c.t, json.Unmarshal(raw, &r))
	require.Equal(c.t, formatCleanUp, r.Format)
	return r
}

// keys lists what lies below prefix, without it.
func keys(t *testing.T, s *storage.Store, prefix string) []string {
	t.Helper()
	var all []string
	for info, err := range s.Bucket().List(context.Background(), prefix) {
		require.NoError(t, err)
		all = append(all, strings.TrimPrefix(info.Key, prefix))
	}
	return all
}

// draft is a release of one accepted candidate, that names what it was made of as
// Publish does.
func draft(t *testing.T, s *storage.Store) (release.Draft, []step.Ref) {
	t.Helper()
	ctx := context.Background()
	png, err := picture.EncodePNG(make([]uint8, spec.ImageLen))
	require.NoError(t, err)
	image, refused := artifact(t, s, string(png), ".png"), artifact(t, s, "refused", ".png")
	candidates, err := ledger.Candidates.Put(ctx, s, ledger.CandidateList{Images: []ledger.Candidate{
		{Index: 0, Image: step.Ref(image)}, {Index: 1, Image: step.Ref(refused)},
	}})
	require.NoError(t, err)
	neighbours, err := ledger.Neighbours.Put(ctx, s, ledger.NeighbourList{Candidates: []ledger.CandidateCheck{
		{Index: 0, SHA256: image.SHA256, Accepted: true}, {Index: 1, SHA256: refused.SHA256},
	}})
	require.NoError(t, err)
	checkpoint := artifact(t, s, "checkpoint", ledger.CheckpointExt)
	return release.Draft{
		Class: "scratches", Files: []release.DraftFile{{Path: "images/scratches/scratches-000000.png", Object: image}},
		Attributes: map[string]string{
			"candidates_sha256": candidates.SHA256, "neighbours_sha256": neighbours.SHA256, "checkpoint_sha256": checkpoint.SHA256,
		},
	}, []step.Ref{candidates, neighbours, step.Ref(image), step.Ref(refused), step.Ref(checkpoint)}
}

func publish(t *testing.T, s *storage.Store, d release.Draft) step.PublishResult {
	t.Helper()
	out, err := release.Publish(context.Background(), s.Bucket(), d)
	require.NoError(t, err)
	return step.PublishResult{Release: out.Release, Prefix: strings.TrimSuffix(out.Prefix, "/"), ManifestSHA256: out.ManifestSHA256}
}

func lay(t *testing.T, s *storage.Store, key, text string) {
	t.Helper()
	_, err := s.PutNamed(context.Background(), key, []byte(text))
	require.NoError(t, err)
}

func artifact(t *testing.T, s *storage.Store, text, ext string) storage.Object {
	t.Helper()
	obj, err := s.PutArtifact(context.Background(), []byte(text), ext)
	require.NoError(t, err)
	return obj
}

func remember[T any](t *testing.T, s *storage.Store, stage, inputs string, result T) {
	t.Helper()
	require.NoError(t, ledger.Memo[T]{Stage: stage, Version: 1, Inputs: inputs}.Remember(context.Background(), s, result))
}

func everything(t *testing.T, s *storage.Store) []string {
	return slices.DeleteFunc(keys(t, s, ""), func(k string) bool { return strings.HasPrefix(k, ledger.CleanUps) })
}

func TestCleanUpKeepsWhatIsReferredTo(t *testing.T) {
	ctx := context.Background()
	b := newAged()
	s := storage.New(b)
	// A release, withdrawn since, with the record of its run.
	d, named := draft(t, s)
	out := publish(t, s, d)
	_, _, err := release.Withdraw(ctx, b, "scratches", out.Release, "wrong", time.Now())
	require.NoError(t, err)
	tensors := artifact(t, s, "tensors", ".safetensors")
	index := artifact(t, s, `{"ref":{"key":"`+tensors.Key+`"}}`, ".json")
	_, err = ledger.WriteRun(ctx, s, step.RecordRunInput{Verdict: spec.Pass, Publish: out, Outcome: step.Outcome{
		Class: "scratches", Run: step.Run{WorkflowID: "made", RunID: "1"}, Preprocess: step.PreprocessResult{Tensors: step.Ref(index)},
	}})
	require.NoError(t, err)
	remember(t, s, "preprocess", "kept", step.Ref(index))
	// A run under way refers to a list, which refers to an image.
	image := artifact(t, s, "image", ".png")
	list := artifact(t, s, `[{"key":"`+image.Key+`"}]`, ".json")
	lay(t, s, "runs/waits/1/checkpoints/leg-1.safetensors", "state")
	// What is decided, and what is no business of a clean-up.
	set := artifact(t, s, "set", ".json")
	require.NoError(t, ledger.RememberDecision(ctx, s, step.RecordRunInput{Verdict: spec.Fail, Outcome: step.Outcome{
		Class: "scratches", Ingest: step.IngestResult{Dataset: step.Ref(set)},
	}}))
	lay(t, s, "sources/scratches/x/1.png", "real")
	lay(t, s, "photos/1.png", "somebody else's")
	lay(t, s, "campaigns/c/1/summary.json", "{}")
	c := cleaning{t: t, s: s, rule: week(), running: map[string]string{"waits": `{"list":"` + list.Key + `"}`}}
	b.let(t, "", 30*day)
	c.do() // what making candidates left over
	before := everything(t, s)
	require.Subset(t, before, []string{tensors.Key, index.Key, image.Key, list.Key, set.Key, "runs/waits/1/checkpoints/leg-1.safetensors",
		"sources/scratches/x/1.png", "photos/1.png", "campaigns/c/1/summary.json"})
	for _, ref := range named {
		require.Contains(t, before, ref.Key)
	}

	// What is in the way.
	stale := artifact(t, s, "stale", ".json")
	remember(t, s, "train", "stale", step.Ref(stale))
	remember(t, s, "evaluate", "value", 3)
	lay(t, s, "runs/cancelled/1/checkpoints/step-1.safetensors", "state")
	lay(t, s, "runs/made/1/checkpoints/leg-1.safetensors", "state")
	lay(t, s, "runs/made/1/checkpoints/leg-1.curves.json", "curves")
	lay(t, s, "releases/scratches/0123456789abcdef/images/scratches/1.png", "half")
	b.let(t, "", 30*day)
	after := everything(t, s)

	require.NoError(t, deleteAll(b, ledger.CleanUps))
	c.dry = true
	dry := c.do()
	require.Equal(t, after, everything(t, s), "a dry run removes nothing")
	c.dry = false
	require.NoError(t, deleteAll(b, ledger.CleanUps))
	r := c.do()
	require.Equal(t, dry.Removed, r.Removed)
	require.Equal(t, map[string]int64{
		removedArtifact: 1, removedCache: 2, removedRun: 1, removedCheckpoint: 2, removedUnfinished: 1,
	}, objects(r.Removed))
	require.Equal(t, int64(7), r.Total.Objects)
	require.Equal(t, before, everything(t, s))
	require.Equal(t, 1, r.Mark.Releases)
	require.Equal(t, 1, r.Mark.Running)
	require.Equal(t, 1, r.Mark.Records)
	verified, err := release.Verify(ctx, b, "scratches", out.Release)
	require.NoError(t, err)
	require.True(t, verified.OK, verified.Problems)
	require.Empty(t, keys(t, s, "cleanup/sweeping/"))
	require.NotContains(t, keys(t, s, ledger.CleanUps), "marks")
}

func objects(m map[string]step.Count) map[string]int64 {
	out := map[string]int64{}
	for kind, c := range m {
		out[kind] = c.Objects
	}
	return out
}

func deleteAll(b storage.Bucket, prefix string) error {
	for info, err := range b.List(context.Background(), prefix) {
		if err != nil {
			return err
		}
		if err := b.Delete(context.Background(), info.Key); err != nil {
			return err
		}
	}
	return nil
}

func TestCleanUpWaitsOutTheGracePeriod(t *testing.T) {
	b := newAged()
	s := storage.New(b)
	artifact(t, s, "stale", ".json")
	remember(t, s, "train", "x", 1)
	lay(t, s, "runs/cancelled/1/checkpoints/step-1.safetensors", "old")
	lay(t, s, "releases/scratches/0123456789abcdef/a", "old")
	lay(t, s, "runs/refused/1/run.json", `{"format":"defectforge.run/1","verdict":"fail"}`)
	b.let(t, "", 6*day)
	c := cleaning{t: t, s: s, rule: week()}
	require.Zero(t, c.do().Total.Objects)
	b.let(t, "", 8*day)
	// Where the newest is young, the run or the publisher may be at work.
	lay(t, s, "runs/cancelled/1/checkpoints/step-2.safetensors", "young")
	lay(t, s, "releases/scratches/0123456789abcdef/b", "young")
	require.NoError(t, deleteAll(b, ledger.CleanUps))
	r := c.do()
	require.Equal(t, map[string]int64{removedArtifact: 1, removedCache: 1}, objects(r.Removed))
	require.Contains(t, everything(t, s), "runs/refused/1/run.json", "records stay for good")
	b.let(t, "", 8*day)
	c.rule.RecordHours = 24
	require.NoError(t, deleteAll(b, ledger.CleanUps))
	require.Equal(t, map[string]int64{removedRun: 2, removedUnfinished: 2, removedRecord: 1}, objects(c.do().Removed))
	require.Empty(t, everything(t, s))
}

// A record of a later version, or one that is damaged, keeps all that it names.
func TestCleanUpKeepsWhatItCannotRead(t *testing.T) {
	b := newAged()
	s := storage.New(b)
	named := artifact(t, s, "named", ".png")
	lay(t, s, "runs/later/1/run.json", `{"format":"defectforge.run/2","image":{"key":"`+named.Key+`"}}`)
	b.let(t, "", 30*day)
	c := cleaning{t: t, s: s, rule: week()}
	c.rule.RecordHours = 24
	require.Zero(t, c.do().Total.Objects)
	require.Equal(t, []string{named.Key, "runs/later/1/run.json"}, everything(t, s))
}

func TestCleanUpKeepsTheNewestCheckpoints(t *testing.T) {
	b := newAged()
	s := storage.New(b)
	lay(t, s, "runs/w/1/run.json", `{"format":"defectforge.run/1","verdict":"fail"}`)
	for i := range 5 {
		base := fmt.Sprintf("runs/w/1/checkpoints/leg-%09d", i)
		lay(t, s, base+ledger.CheckpointExt, "state")
		lay(t, s, base+ledger.CurvesExt, "curves")
		b.let(t, base, time.Duration(20-i)*day)
	}
	b.let(t, "runs/w/1/run.json", 8*day)
	c := cleaning{t: t, s: s, rule: week()}
	c.rule.CheckpointCount, c.rule.CheckpointHours = 1, 17.5*24
	c.do()
	require.Equal(t, []string{
		"leg-000000003.curves.json", "leg-000000003.safetensors", "leg-000000004.curves.json", "leg-000000004.safetensors",
	}, keys(t, s, "runs/w/1/checkpoints/"), "by age")
	require.NoError(t, deleteAll(b, ledger.CleanUps))
	c.rule.CheckpointHours = 7 * 24
	c.do()
	require.Equal(t, []string{"leg-000000004.curves.json", "leg-000000004.safetensors"}, keys(t, s, "runs/w/1/checkpoints/"), "by count")
}

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

func TestCleanUpRefusesWhatIsNotSafe(t *testing.T) {
	ctx := context.Background()
	s := storage.New(memory.New())
	busy := Cleaner{Store: s, Running: func(_ context.Context, _ []string, _ string, visit func(string, []byte)) error {
		visit("w", nil)
		return nil
	}}
	short := step.Retention{GraceHours: 2, CheckpointHours: 2}
	_, err := busy.MarkReferences(ctx, step.MarkInput{Run: step.Run{WorkflowID: "c", RunID: "1"}, Retention: short})
	require.ErrorContains(t, err, "1 runs are under way")
	for _, bad := range []step.Retention{{GraceHours: 0.5, CheckpointHours: 2}, {GraceHours: 2}, {GraceHours: 2, CheckpointHours: 2, RecordHours: -1}, {GraceHours: 2, CheckpointHours: 2, CheckpointCount: -1}} {
		_, err := busy.MarkReferences(ctx, step.MarkInput{Retention: bad})
		require.ErrorContains(t, err, "retention.")
	}
	lay(t, s, "releases/scratches/0123456789abcdef/"+release.ManifestName, "broken")
	_, err = busy.MarkReferences(ctx, step.MarkInput{Run: step.Run{WorkflowID: "c", RunID: "1"}, Retention: week()})
	require.ErrorContains(t, err, "mend or delete it before anything is cleaned up")
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

func TestMarksAreFound(t *testing.T) {
	m := marks{}
	for i := range 1000 {
		mark, ok := markOf(storage.Digest([]byte(fmt.Sprint(i))))
		require.True(t, ok)
		require.True(t, m.add(mark))
		require.False(t, m.add(mark))
	}
	list := markList(m.encode())
	require.Len(t, list, 8*1000)
	for mark := range maps.Keys(m) {
		require.True(t, list.has(mark))
		require.False(t, list.has(mark+1))
	}
	require.False(t, markList(nil).has(1))
	_, ok := markOf("no digest")
	require.False(t, ok)
}
