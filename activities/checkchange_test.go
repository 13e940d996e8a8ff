package activities

import (
	"context"
	"fmt"
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

// history is a class with a bucket, in which runs may have been decided.
type history struct {
	t *testing.T
	s *storage.Store
}

// dataset stores a data set of n images, the first of which is number from.
func (h history) dataset(from, n int) step.Ref {
	h.t.Helper()
	doc := ledger.Dataset{Class: "scratches"}
	for i := from; i < from+n; i++ {
		doc.Images = append(doc.Images, ledger.DatasetImage{Name: fmt.Sprintf("%d.png", i), SHA256: storage.Digest([]byte{byte(i)})})
	}
	raw, err := ledger.Datasets.Encode(doc)
	require.NoError(h.t, err)
	obj, err := h.s.PutArtifact(context.Background(), raw, ".json")
	require.NoError(h.t, err)
	return step.Ref(obj)
}

func (h history) input(dataset step.Ref) step.ChangeInput {
	return step.ChangeInput{Class: "scratches", Dataset: dataset, Recipe: tiny(), Policy: spec.CopyingPolicy()}
}

// ended records a run on the input's inputs, which may publish first.
func (h history) ended(in step.ChangeInput, verdict string, publish bool) (release string) {
	h.t.Helper()
	ctx := context.Background()
	record := step.RecordRunInput{Verdict: verdict, UtilityPlan: in.Utility, Outcome: step.Outcome{
		Run: step.Run{WorkflowID: "w", RunID: "r"}, Class: in.Class, Recipe: in.Recipe, Policy: in.Policy, Ingest: step.IngestResult{Dataset: in.Dataset},
	}}
	if publish {
		p := publishInput(h.t, h.s)
		p.Dataset, p.Recipe, p.Policy = in.Dataset, in.Recipe, in.Policy
		var err error
		record.Publish, err = Publisher{Store: h.s}.Publish(ctx, p)
		require.NoError(h.t, err)
	}
	if verdict == spec.Pass {
		record.Outcome.Approval = step.Approval{Approved: publish, By: map[bool]string{true: step.ByPolicy, false: step.ByPerson}[publish]}
	}
	if verdict == "" {
		record.Failure = "training failed for good"
	}
	_, err := Recorder{Store: h.s}.RecordRun(ctx, record)
	require.NoError(h.t, err)
	return record.Publish.Release
}

func (h history) check(in step.ChangeInput) step.ChangeResult {
	h.t.Helper()
	out, err := ChangeChecker{Store: h.s}.CheckChange(context.Background(), in)
	require.NoError(h.t, err)
	return out
}

func newHistory(t *testing.T) history { return history{t, storage.New(memory.New())} }

func TestCheckChangeGoesOnWithWhatIsNew(t *testing.T) {
	h := newHistory(t)
	in := h.input(h.dataset(0, 10))
	first := h.check(in)
	require.Empty(t, first.Verdict)
	require.Empty(t, first.Release)
	require.Equal(t, 10, first.NewImages)
	name := h.ended(in, spec.Pass, true)

	more := h.input(h.dataset(0, 13))
	got := h.check(more)
	require.Empty(t, got.Verdict)
	require.Equal(t, 3, got.NewImages)
	require.Equal(t, "3 new images since release "+name, got.Reason)

	for what, change := range map[string]func(*step.ChangeInput){
		"recipe":  func(in *step.ChangeInput) { in.Recipe.Seed++ },
		"policy":  func(in *step.ChangeInput) { in.Policy.Rules = in.Policy.Rules[1:] },
		"utility": func(in *step.ChangeInput) { in.Utility = &step.UtilityPlan{Splits: 1} },
	} {
		other := in
		other.MinNew = 1000
		change(&other)
		if what == "utility" {
			other.MinNew = 0
		}
		require.Empty(t, h.check(other).Verdict, what)
	}
	_, err := ChangeChecker{Store: h.s}.CheckChange(context.Background(), step.ChangeInput{Class: "scratches"})
	require.ErrorContains(t, err, "needs a class, a data set")
}

func TestCheckChangeNamesTheReleaseItStandsOn(t *testing.T) {
	ctx := context.Background()
	h := newHistory(t)
	in := h.input(h.dataset(0, 10))
	name := h.ended(in, spec.Pass, true)
	got := h.check(in)
	require.Equal(t, step.Unchanged, got.Verdict)
	require.Equal(t, name, got.Release)
	require.Equal(t, "releases/scratches/"+name, got.Prefix)
	require.NotEmpty(t, got.ManifestSHA256)
	require.Equal(t, "w", got.Decided.WorkflowID)

	// What is remembered may be lost: the release says the same.
	storagetest.DeleteAll(t, h.s.Bucket(), "cache/decision/")
	got = h.check(in)
	require.Equal(t, step.Unchanged, got.Verdict)
	require.Equal(t, name, got.Release)
	require.Nil(t, got.Decided)
	in.Utility = &step.UtilityPlan{Splits: 1}
	require.Empty(t, h.check(in).Verdict, "the release does not say what it was compared with")
	in.Utility = nil

	// A later release of other images does not change what these gave.
	h.ended(in, spec.Pass, true)
	later := h.ended(h.input(h.dataset(0, 20)), spec.Pass, true)
	require.Equal(t, name, h.check(in).Release)

	_, _, err := release.Withdraw(ctx, h.s.Bucket(), "scratches", name, "wrong light", time.Now())
	require.NoError(t, err)
	got = h.check(in)
	require.Equal(t, step.Unchanged, got.Verdict, "withdrawn content can't be published again")
	require.Contains(t, got.Reason, "wrong light")
	require.Equal(t, later, got.Release)

	require.NoError(t, h.s.Bucket().Delete(ctx, release.Prefix("scratches", name)+release.ManifestName))
	require.Empty(t, h.check(in).Verdict, "a release that has gone is made again")
}

// A set that was refused, or a training that failed, comes out the same however
// often it is done again.
func TestCheckChangeRemembersWhatWasRefused(t *testing.T) {
	for verdict, words := range map[string]string{
		spec.Fail: "its verdict was fail", spec.Inconclusive: "its verdict was inconclusive", spec.Pass: "passed but was not approved", "": "its training failed",
	} {
		h := newHistory(t)
		name := h.ended(h.input(h.dataset(0, 5)), spec.Pass, true)
		in := h.input(h.dataset(0, 10))
		require.Equal(t, 5, h.check(in).NewImages)
		h.ended(in, verdict, false)
		got := h.check(in)
		require.Equal(t, step.Unchanged, got.Verdict, verdict)
		require.Contains(t, got.Reason, words)
		require.Equal(t, name, got.Release, "the class still stands on it")

		one := h.input(h.dataset(0, 11))
		got = h.check(one)
		require.Empty(t, got.Verdict)
		require.Equal(t, 1, got.NewImages, "those that the refused set had are not new")
	}
}

// A set that passed in a comparison of recipes, and was not to be published,
// is no decision.
func TestCheckChangeIgnoresWhatWasNotToBePublished(t *testing.T) {
	h := newHistory(t)
	in := h.input(h.dataset(0, 5))
	_, err := Recorder{Store: h.s}.RecordRun(context.Background(), step.RecordRunInput{Verdict: spec.Pass, Outcome: step.Outcome{
		Run: step.Run{WorkflowID: "w", RunID: "r"}, Class: in.Class, Recipe: in.Recipe, Policy: in.Policy, Ingest: step.IngestResult{Dataset: in.Dataset},
	}})
	require.NoError(t, err)
	require.Empty(t, h.check(in).Verdict)
}

func TestCheckChangeWaitsForEnoughImages(t *testing.T) {
	h := newHistory(t)
	in := h.input(h.dataset(0, 10))
	in.MinNew = 20
	got := h.check(in)
	require.Equal(t, step.Waiting, got.Verdict)
	require.Equal(t, "waiting: 10 of 20 new images", got.Reason)
	require.Empty(t, got.Release)

	name := h.ended(in, spec.Pass, true)
	in = h.input(h.dataset(3, 26)) // three went, 19 came
	in.MinNew = 20
	got = h.check(in)
	require.Equal(t, step.Waiting, got.Verdict)
	require.Equal(t, 19, got.NewImages)
	require.Equal(t, name, got.Release)
	in = h.input(h.dataset(3, 27))
	in.MinNew = 20
	got = h.check(in)
	require.Empty(t, got.Verdict)
	require.Equal(t, 20, got.NewImages)
	require.Equal(t, 20, got.MinNew)
}

func TestDecisionsAreBounded(t *testing.T) {
	const most = 64
	h := newHistory(t)
	for i := range most + 3 {
		h.ended(h.input(h.dataset(i, 1)), spec.Fail, false)
	}
	h.ended(h.input(h.dataset(5, 1)), spec.Fail, false)
	known, err := ledger.DecisionsOn(context.Background(), h.s, h.input(step.Ref{}))
	require.NoError(t, err)
	require.Len(t, known, most)
	require.Equal(t, h.dataset(5, 1).SHA256, known[most-1].Dataset.SHA256, "the last one is last")
	require.Empty(t, h.check(h.input(h.dataset(0, 1))).Verdict, "the oldest are forgotten")
}
