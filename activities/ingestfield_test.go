package activities

import (
	"fmt"
	"image"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// fieldInput is a run's as factories start it: with the default recipe.
func (s shelf) fieldInput() step.IngestInput {
	in := s.input()
	in.Ingest = spec.Surface().Ingest
	in.Ingest.MinImages = 3
	return in
}

// Icons among photographs are left out, and the reason names the setting.
func TestIngestLeavesOutIcons(t *testing.T) {
	s := newShelf(t)
	for i := range 5 {
		s.put(fmt.Sprintf("p/photo%d.png", i), metalPNG(t, i))
		s.put(fmt.Sprintf("p/icon%d.png", i), asPNG(t, image.NewGray(image.Rect(0, 0, 8+i, 31))))
	}
	out, doc := s.ingest(s.fieldInput())
	require.Equal(t, []int{5, 5}, []int{out.Usable, out.Quarantined})
	require.Equal(t, ledger.Quarantined{Name: "icon0.png", Reason: "too small: 8x31, less than 32 on a side (ingest.min_side)"}, doc.Quarantine[0])
}

// Frame grabbers that leave alpha at zero: the colours are the picture, and it is told.
func TestIngestOfTransparentImages(t *testing.T) {
	s := newShelf(t)
	for i := range 6 {
		metal := picture.BrushedMetal(5, i)
		clear := image.NewNRGBA(metal.Rect)
		for k, v := range metal.Pix {
			copy(clear.Pix[4*k:], []uint8{v, v, v, 0})
		}
		s.put(fmt.Sprintf("p/%d.png", i), asPNG(t, clear))
	}
	out, doc := s.ingest(s.fieldInput())
	require.Equal(t, []int{6, 6}, []int{out.Usable, out.Transparent})
	require.True(t, doc.Images[0].Transparent)
	prepared, err := s.preprocessor().Preprocess(t.Context(), step.PreprocessInput{Dataset: out.Dataset, Source: s.input().Source})
	require.NoError(t, err)
	index, err := ledger.Tensors.Read(t.Context(), s.store, prepared.Tensors)
	require.NoError(t, err)
	for _, row := range s.rows(index) {
		require.NotEqual(t, uint8(255), row[0], "white is what lies under no picture")
	}
}

// A stack's further pages are counted.
func TestIngestCountsFurtherPages(t *testing.T) {
	raw, err := os.ReadFile(shared(t, "field", "images", "t_multipage5.tif"))
	require.NoError(t, err)
	s := newShelf(t)
	s.put("p/stack.tif", raw)
	in := s.fieldInput()
	in.Ingest.MinImages, in.Ingest.HoldoutShare = 1, 0
	out, doc := s.ingest(in)
	require.Equal(t, 4, out.MorePages)
	require.Equal(t, 4, doc.Images[0].MorePages)
}

// A 12-bit sensor's images in 16-bit files: one scale for all of them, found from all,
// or the one that is given; 8-bit images among them stay as they are.
func TestIngestOfDeepImages(t *testing.T) {
	for levels, want := range map[string]struct{ levels, scale int }{
		spec.LevelsAuto: {4095, 4095}, "8190": {8190, 8190}, "": {0, 65535},
	} {
		s := newShelf(t)
		plain := map[string]*image.Gray{}
		for i := range 8 {
			metal := picture.BrushedMetal(6, i)
			deep := image.NewGray16(metal.Rect)
			for k, v := range metal.Pix {
				sample := uint16(v) * 16
				if i > 0 {
					sample /= 2 // the brightest decides for all
				}
				deep.Pix[2*k], deep.Pix[2*k+1] = uint8(sample>>8), uint8(sample)
			}
			raw := asPNG(t, deep)
			s.put(fmt.Sprintf("p/%d.png", i), raw)
			plain[storage.Digest(raw)] = metal
		}
		s.put("p/eight.png", metalPNG(t, 3))
		in := s.fieldInput()
		in.Ingest.Levels = levels
		out, doc := s.ingest(in)
		require.Equal(t, []int{want.levels, want.levels, 9}, []int{out.Levels, doc.Levels, out.Usable}, levels)
		prepared, err := s.preprocessor().Preprocess(t.Context(), step.PreprocessInput{Dataset: out.Dataset, Source: s.input().Source})
		require.NoError(t, err)
		index, err := ledger.Tensors.Read(t.Context(), s.store, prepared.Tensors)
		require.NoError(t, err)
		mean := func(pix []uint8) (sum float64) {
			for _, v := range pix {
				sum += float64(v) / float64(len(pix))
			}
			return sum
		}
		for digest, row := range s.rows(index) {
			if metal, ok := plain[digest]; ok {
				full := 16 * 255 / float64(want.scale) * mean(metal.Pix)
				require.True(t, near(mean(row), full) || near(mean(row), full/2), "%s: %v, not %v or its half", levels, mean(row), full)
			} else {
				require.Greater(t, mean(row), 50.0, "the image of 8 bits")
			}
		}
	}
}

func near(a, b float64) bool { return a-b < 3 && b-a < 3 }
