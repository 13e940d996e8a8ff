package activities

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

func TestSample(t *testing.T) {
	ctx := context.Background()
	h := &hooked{Bucket: memory.New(), before: func(string, string) error { return nil }}
	s := storage.New(h)
	_, end := undisturbed(t, s)
	in := step.SampleInput{Checkpoint: end.Checkpoint, Recipe: tiny()}
	in.Recipe.Sample.Count = sampleChunk + 3
	out, err := Sampler{Store: s}.Sample(ctx, in)
	require.NoError(t, err)
	require.Equal(t, sampleChunk+3, out.Count)
	list, err := ledger.Candidates.Read(ctx, s, out.Candidates)
	require.NoError(t, err)
	require.Equal(t, end.Checkpoint.SHA256, list.Checkpoint)
	require.Equal(t, uint64(1), list.Seed)
	different := map[string]bool{}
	for i, c := range list.Images {
		require.Equal(t, i, c.Index)
		different[c.Image.SHA256] = true
	}
	require.Len(t, different, out.Count)
	raw, err := s.Read(ctx, storage.Object(list.Images[7].Image), maxCandidate)
	require.NoError(t, err)
	_, info, err := picture.Decode(raw, picture.Limits{})
	require.NoError(t, err)
	require.Equal(t, picture.Info{Format: "png", Width: spec.Size, Height: spec.Size, Orientation: 1}, info)

	t.Run("an image depends on its number alone", func(t *testing.T) {
		fewer := in
		fewer.Recipe.Sample.Count = 5
		out, err := Sampler{Store: s}.Sample(ctx, fewer)
		require.NoError(t, err)
		part, err := ledger.Candidates.Read(ctx, s, out.Candidates)
		require.NoError(t, err)
		require.Equal(t, list.Images[:5], part.Images)
	})
	t.Run("found again", func(t *testing.T) {
		h.before = func(op, key string) error {
			if op == "put" || strings.HasSuffix(key, ledger.CheckpointExt) {
				return errors.New("not again")
			}
			return nil
		}
		defer func() { h.before = func(string, string) error { return nil } }()
		again, err := Sampler{Store: s}.Sample(ctx, in)
		require.NoError(t, err)
		require.True(t, again.Cached)
		again.Cached = false
		require.Equal(t, out, again)
	})
	t.Run("drawn again where an image is gone", func(t *testing.T) {
		require.NoError(t, s.Bucket().Delete(ctx, list.Images[3].Image.Key))
		again, err := Sampler{Store: s}.Sample(ctx, in)
		require.NoError(t, err)
		require.Equal(t, out, again)
		_, err = s.Bucket().Stat(ctx, list.Images[3].Image.Key)
		require.NoError(t, err)
	})
	t.Run("another recipe's checkpoint", func(t *testing.T) {
		foreign := in
		foreign.Recipe.Model.Latent = 5
		_, err := Sampler{Store: s}.Sample(ctx, foreign)
		var app *temporal.ApplicationError
		require.ErrorAs(t, typed(err), &app)
		require.Equal(t, step.ErrCheckpointForeign, app.Type())
	})
}

// Grey in, grey out: a model of one channel gives grey PNGs, which every later stage
// reads as pictures of three equal channels.
func TestSampleOfOneChannelIsGrey(t *testing.T) {
	ctx := t.Context()
	s := storage.New(memory.New())
	_, tensors := smallSet(t, s, 7)
	leg := firstLeg(tensors)
	leg.Recipe.Model.Channels = spec.ChannelsGrey
	trained, _, err := attempt(t, Trainer{Store: s}, leg, nil, nil)
	require.NoError(t, err)
	out, err := Sampler{Store: s}.Sample(ctx, step.SampleInput{Checkpoint: trained.Checkpoint, Recipe: leg.Recipe})
	require.NoError(t, err)
	list, err := ledger.Candidates.Read(ctx, s, out.Candidates)
	require.NoError(t, err)
	raw, err := s.Read(ctx, storage.Object(list.Images[0].Image), maxCandidate)
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(raw))
	require.NoError(t, err)
	grey, ok := img.(*image.Gray)
	require.True(t, ok, "a %T", img)
	pixels, err := fetchCandidates(ctx, s, list.Images[:1])
	require.NoError(t, err)
	for c := range spec.Channels {
		require.Equal(t, grey.Pix, pixels[c*spec.Size*spec.Size:(c+1)*spec.Size*spec.Size])
	}
}
