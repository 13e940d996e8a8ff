package activities

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/stretchr/testify/require"

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
