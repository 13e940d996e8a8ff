package retention

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/storagetest"
)

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

	storagetest.DeleteAll(t, b, ledger.CleanUps)
	c.dry = true
	dry := c.do()
	require.Equal(t, after, everything(t, s), "a dry run removes nothing")
	c.dry = false
	storagetest.DeleteAll(t, b, ledger.CleanUps)
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
	storagetest.DeleteAll(t, b, ledger.CleanUps)
	r := c.do()
	require.Equal(t, map[string]int64{removedArtifact: 1, removedCache: 1}, objects(r.Removed))
	require.Contains(t, everything(t, s), "runs/refused/1/run.json", "records stay for good")
	b.let(t, "", 8*day)
	c.rule.RecordHours = 24
	storagetest.DeleteAll(t, b, ledger.CleanUps)
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
	storagetest.DeleteAll(t, b, ledger.CleanUps)
	c.rule.CheckpointHours = 7 * 24
	c.do()
	require.Equal(t, []string{"leg-000000004.curves.json", "leg-000000004.safetensors"}, keys(t, s, "runs/w/1/checkpoints/"), "by count")
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
