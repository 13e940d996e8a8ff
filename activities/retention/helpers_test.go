package retention

import (
	"context"
	"encoding/json"
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

func objects(m map[string]step.Count) map[string]int64 {
	out := map[string]int64{}
	for kind, c := range m {
		out[kind] = c.Objects
	}
	return out
}
