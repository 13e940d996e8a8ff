package activities

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/release/sign"
)

// A release says who approved it and why, and carries what it was judged by, a
// licence and a signature.
func TestPublishSaysWhoApproved(t *testing.T) {
	ctx := context.Background()
	s := storage.New(memory.New())
	in := publishInput(t, s)
	in.Approval = step.Approval{Approved: true, By: step.ByPerson, Who: "Ada", Why: "looked at | all"}
	in.Assess.Policy = "production"
	measures, err := s.PutArtifact(ctx, []byte(`{"kid":1}`), ".json")
	require.NoError(t, err)
	in.Assess.Measures = step.Ref(measures)
	scores, err := s.PutArtifact(ctx, []byte(`{"pairs":[]}`), ".json")
	require.NoError(t, err)
	in.Utility = step.UtilityResult{
		Done: true, Details: step.Ref(scores), Summary: "no gain is shown: with generated images +0.001", Classes: []string{"scratches", "dents"}, Train: 100, Test: 40,
		Arms: []step.ArmResult{{Arm: spec.ArmClassic, MacroF1: 0.9123, ClassF1: 0.88, TextureMacroF1: 0.7}}, Notes: []string{"few dents"},
	}

	_, private, err := minisign.GenerateKey(nil)
	require.NoError(t, err)
	text, err := private.MarshalText()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	key, err := sign.LoadKey(path, "")
	require.NoError(t, err)

	out, err := Publisher{Store: s, Signer: key, License: "CC0-1.0"}.Publish(ctx, in)
	require.NoError(t, err)
	r, err := release.Open(ctx, s.Bucket(), "scratches", release.Newest, release.WithVerifier(key.Public()))
	require.NoError(t, err)
	require.Equal(t, out.ManifestSHA256, r.ManifestSHA256)
	require.Subset(t, r.Manifest.Attributes, map[string]string{
		"policy": "production", "approval": "person", "approved_by": "Ada", "approval_reason": "looked at | all", "verdict": "pass",
	})
	raw, err := r.Read(ctx, "measures.json")
	require.NoError(t, err)
	require.JSONEq(t, `{"kid":1}`, string(raw))
	raw, err = r.Read(ctx, "utility.json")
	require.NoError(t, err)
	require.JSONEq(t, `{"pairs":[]}`, string(raw))
	require.Equal(t, in.Utility.Summary, r.Manifest.Attributes["utility"])
	card, err := r.Read(ctx, release.CardName)
	require.NoError(t, err)
	for _, want := range []string{"license: cc0-1.0\n", "Licence: CC0-1.0.", "## Uses", "## Limits", "## How they were judged", "Approved by Ada: looked at | all.",
		"### Do they help a classifier?\n\nno gain is shown: with generated images +0.001.\n", "| real images, mirrored and turned | 0.912 | 0.880 | 0.700 |\n", "Classes: scratches, dents. 100 real", "- few dents.\n"} {
		require.Contains(t, string(card), want)
	}
	require.False(t, strings.Contains(string(card), "Approved by the policy"))
	for sample, err := range r.Samples(ctx) {
		require.NoError(t, err)
		require.Equal(t, "scratches", sample.Label)
		require.Contains(t, sample.Metadata, "nearest_training_distance")
		require.IsType(t, "", sample.Metadata["seed"])
	}

	_, _, err = release.Withdraw(ctx, s.Bucket(), "scratches", out.Release, "wrong", in.Approval.At)
	require.NoError(t, err)
	_, err = Publisher{Store: s, Signer: key, License: "CC0-1.0"}.Publish(ctx, in)
	require.ErrorIs(t, err, release.ErrWithdrawn)
}

func TestCardSaysWhatTheImagesAre(t *testing.T) {
	in := step.PublishInput{Class: "dents", Recipe: spectest.Quick()}
	require.Contains(t, about(in), "The images are 128x128 RGB PNG.")
	in.Recipe.Model.Channels = spec.ChannelsGrey
	require.Contains(t, about(in), "The images are 128x128 grey PNG.")

	in.Recipe = spec.Surface()
	require.Contains(t, about(in), "The images are 128x128 RGB PNG.", "by a workflow that knew no better")
	in.Images = spec.Images{Training: 240, Grey: true}
	require.Contains(t, about(in), "The images are 128x128 grey PNG.")
	require.Contains(t, about(in), "A convolutional GAN whose generator upsamples with spectral norm, recipe `surface`, at most 334 epochs")
}

func publishInput(t *testing.T, s *storage.Store) step.PublishInput {
	t.Helper()
	in, out, _ := judged(t, s)
	put := func(text, ext string) step.Ref {
		obj, err := s.PutArtifact(context.Background(), []byte(text), ext)
		require.NoError(t, err)
		return step.Ref(obj)
	}
	return step.PublishInput{
		Class: "scratches", Candidates: in.Candidates, Neighbours: out.Neighbours, Dataset: in.Dataset,
		Checkpoint: step.Ref{Key: "artifacts/x", SHA256: "c0ffee", Size: 1}, Recipe: tiny(),
		Assess:   step.AssessResult{Verdict: spec.Pass, Scope: spec.CopyingPolicy().Scope, Rules: []spec.Judged{{Name: "not copying", Outcome: spec.Pass, Reason: "a | b"}}},
		Approval: step.Approval{Approved: true, By: step.ByPolicy},
		Report:   step.ReportResult{ReleaseHTML: put("<html>", ".html"), ReleaseJSON: put("{}", ".json"), HTML: put("times", ".html")},
	}
}

func TestPublishReleasesAcceptedCandidatesOnly(t *testing.T) {
	ctx := context.Background()
	s := storage.New(memory.New())
	in := publishInput(t, s)
	out, err := Publisher{Store: s}.Publish(ctx, in)
	require.NoError(t, err)
	require.Equal(t, 2, out.Images)
	require.Equal(t, "releases/scratches/"+out.Release, out.Prefix)
	require.ElementsMatch(t, []string{
		"images/scratches/scratches-000001.png", "images/scratches/scratches-000005.png", "shards/scratches-000000.tar", "croissant.json", "README.md", "manifest.json", "metadata.jsonl", "report.html", "report.json",
	}, keys(t, s, out.Prefix+"/"))
	report, err := release.Verify(ctx, s.Bucket(), "scratches", out.Release)
	require.NoError(t, err)
	require.True(t, report.OK, report.Problems)
	require.Equal(t, out.ManifestSHA256, report.ManifestSHA256)

	raw, _, err := s.ReadNamed(ctx, out.Prefix+"/metadata.jsonl", 1<<20)
	require.NoError(t, err)
	var lines []map[string]any
	for sc := bufio.NewScanner(bytes.NewReader(raw)); sc.Scan(); {
		var line map[string]any
		require.NoError(t, json.Unmarshal(sc.Bytes(), &line))
		lines = append(lines, line)
	}
	require.Len(t, lines, 2)
	require.Equal(t, "images/scratches/scratches-000001.png", lines[0]["file_name"])
	require.Equal(t, "scratches", lines[0]["label"])
	require.Equal(t, 1.0, lines[0]["latent_index"])
	require.Equal(t, "c0ffee", lines[0]["checkpoint_sha256"])
	require.Positive(t, lines[0]["nearest_real"].(map[string]any)["distance"])
	image, _, err := s.ReadNamed(ctx, out.Prefix+"/images/scratches/scratches-000001.png", 1<<20)
	require.NoError(t, err)
	require.Equal(t, storage.Digest(image), lines[0]["sha256"])
	page, _, err := s.ReadNamed(ctx, out.Prefix+"/report.html", 1<<20)
	require.NoError(t, err)
	require.Equal(t, "<html>", string(page), "the release's edition, not the run's")

	again, err := Publisher{Store: s}.Publish(ctx, in)
	require.NoError(t, err)
	require.Equal(t, out, again)
}

func TestPublishLeavesNothingOfWhatIsRefused(t *testing.T) {
	s := storage.New(memory.New())
	in := publishInput(t, s)
	// A release must hold nothing that failed, in whatever way it got here.
	for name, change := range map[string]func(*step.PublishInput){
		"not approved":     func(in *step.PublishInput) { in.Approval = step.Approval{By: step.ByDeadline} },
		"no approval":      func(in *step.PublishInput) { in.Approval = step.Approval{} },
		"fail":             func(in *step.PublishInput) { in.Assess.Verdict = spec.Fail },
		"inconclusive":     func(in *step.PublishInput) { in.Assess.Verdict = spec.Inconclusive },
		"no verdict":       func(in *step.PublishInput) { in.Assess.Verdict = "" },
		"other candidates": func(in *step.PublishInput) { in.Candidates = candidates(t, s, boxes(4), boxes(2)) },
		"swapped": func(in *step.PublishInput) {
			in.Candidates = candidates(t, s, boxes(1), boxes(2), boxes(3), boxes(4), boxes(5), boxes(6))
		},
		"other checkpoint":  func(in *step.PublishInput) { in.Checkpoint.SHA256 = "beef" },
		"unsuitable class":  func(in *step.PublishInput) { in.Class = "../escape" },
		"nothing to accept": func(in *step.PublishInput) { in.Candidates, in.Neighbours = allRejected(t, s) },
	} {
		t.Run(name, func(t *testing.T) {
			bad := in
			change(&bad)
			_, err := Publisher{Store: s}.Publish(context.Background(), bad)
			var app *temporal.ApplicationError
			require.ErrorAs(t, typed(err), &app)
			require.Equal(t, step.ErrBadInput, app.Type(), app.Message())
			require.Empty(t, keys(t, s, "releases/"))
		})
	}
}

func allRejected(t *testing.T, s *storage.Store) (list, checks step.Ref) {
	t.Helper()
	list = candidates(t, s, boxes(9))
	doc, err := ledger.Candidates.Read(context.Background(), s, list)
	require.NoError(t, err)
	raw, err := ledger.Neighbours.Encode(ledger.NeighbourList{Candidates: []ledger.CandidateCheck{{Index: 0, SHA256: doc.Images[0].Image.SHA256, Reason: "copy"}}})
	require.NoError(t, err)
	obj, err := s.PutArtifact(context.Background(), raw, ".json")
	require.NoError(t, err)
	return list, step.Ref(obj)
}
