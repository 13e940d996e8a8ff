package activities

import (
	"fmt"
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// strips puts n wide pictures of texture into the source, with a bright defect at the
// left edge.
func (s shelf) strips(n int) step.IngestInput {
	s.t.Helper()
	for i := range n {
		img := image.NewGray(image.Rect(0, 0, 640, 128))
		for y := range 128 {
			for x := range 640 {
				v := uint8(90 + (x*7+y*13*(i+1)+i*31)%23)
				if x < 40 {
					v = 250
				}
				img.SetGray(x, y, color.Gray{Y: v})
			}
		}
		s.put(fmt.Sprintf("p/%02d.png", i), asPNG(s.t, img))
	}
	in := s.fieldInput()
	in.Ingest.Duplicates = spec.DuplicatesExact
	return in
}

// The centre of a strip has no defect, and that is told; every other frame keeps it.
func TestFramesOfStrips(t *testing.T) {
	for frame, want := range map[string]struct{ perImage, bright int }{
		spec.FrameCentre: {1, 0}, spec.FrameTiles: {5, 1}, spec.FramePad: {1, 1}, spec.FrameStretch: {1, 1},
	} {
		s := newShelf(t)
		in := s.strips(10)
		in.Ingest.Frame = frame
		out, doc := s.ingest(in)
		require.Equal(t, frame == spec.FrameCentre, out.Warning() != "", frame)
		made, err := s.preprocessor().Preprocess(t.Context(), step.PreprocessInput{
			Dataset: out.Dataset, Source: in.Source, Frame: in.Ingest.Framing(),
		})
		require.NoError(t, err)
		require.Equal(t, want.perImage*len(doc.Images), made.Training+made.Holdout, frame)
		index, err := ledger.Tensors.Read(t.Context(), s.store, made.Tensors)
		require.NoError(t, err)
		bright := 0
		for _, split := range []string{ledger.SplitTraining, ledger.SplitHoldout} {
			rows, err := index.RowsOf(doc, split)
			require.NoError(t, err)
			im, err := ledger.OpenImages(t.Context(), s.store, index, t.TempDir(), split)
			require.NoError(t, err)
			require.Equal(t, len(rows), im.Len())
			row := make([]uint8, spec.ImageLen)
			for i := range rows {
				require.NoError(t, im.Row(row, i))
				// The middle row of the first column.
				if row[64*spec.Size+1] > 200 {
					bright++
				}
			}
			require.NoError(t, im.Close())
		}
		require.Equal(t, want.bright*len(doc.Images), bright, frame)
	}
	require.Equal(t, "the centre crop cuts away 80% of the images' area, and any defect there; "+
		"ingest.frame=tiles uses all of it, pad and stretch show each image whole", step.IngestResult{CutAway: 0.8}.Warning())
	require.Empty(t, step.IngestResult{CutAway: 0.25}.Warning())
	require.Equal(t, "4 further pages or frames are not used, only the first of each image; 2 images are wholly transparent, "+
		"which is taken to mean nothing", step.IngestResult{MorePages: 4, Transparent: 2}.Warning())
	require.Contains(t, step.IngestResult{Unverified: true, NearDuplicates: 7}.Warning(), "7 were left out by perceptual hash alone")
}

// Tiles of one image may lie in two shards.
func TestTilesFillShards(t *testing.T) {
	m := shardMaker{frame: spec.Framing{Frame: spec.FrameTiles}}
	images := []ledger.DatasetImage{
		{SHA256: "a", Width: 100 * 300, Height: 100}, {SHA256: "b", Width: 100, Height: 100 * 300}, {SHA256: "c", Width: 100, Height: 100},
	}
	require.Equal(t, 601, m.rows(images))
	require.Equal(t, [][]part{
		{{images[0], 0, 300}, {images[1], 0, shardImages - 300}},
		{{images[1], shardImages - 300, 600 - shardImages}, {images[2], 0, 1}},
	}, m.parts(images))
	require.Empty(t, m.parts(nil))
}

// Frames are no data set of their own: tensors of each are remembered apart.
func TestFramesAreRememberedApart(t *testing.T) {
	keys := map[string]bool{}
	for _, frame := range []spec.Framing{{}, {Frame: spec.FramePad}, {Frame: spec.FrameTiles}, {Frame: spec.FrameTiles, Tile: 64}} {
		keys[tensorMemo("d", frame).Key()] = true
	}
	require.Len(t, keys, 4)
	require.Equal(t, spec.Framing{}, spec.Ingest{Frame: spec.FrameCentre}.Framing())
}
