package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fieldFolder is where the images lie that factories have, and what each must
// decode to. They are no part of this repository.
func fieldFolder(t *testing.T) string {
	t.Helper()
	shared := os.Getenv("DEFECTFORGE_SHARED")
	if shared == "" {
		shared = "../../../shared"
	}
	folder := filepath.Join(shared, "field")
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("CI") == "true" && os.Getenv("DEFECTFORGE_REQUIRE_SHARED") == "1" {
			t.Fatalf("the images in %s are required here: %v", folder, err)
		}
		t.Skipf("SKIPPED, not passed: no images in %s; set DEFECTFORGE_SHARED", folder)
	}
	return folder
}

// worst is the greatest difference of two pictures in any channel.
func worst(t *testing.T, got *image.RGBA, want image.Image) float64 {
	t.Helper()
	require.Equal(t, want.Bounds().Size(), got.Rect.Size())
	most := 0.0
	for y := range got.Rect.Dy() {
		for x := range got.Rect.Dx() {
			g, w := got.RGBAAt(x, y), color.RGBAModel.Convert(want.At(x, y)).(color.RGBA)
			for _, pair := range [][2]uint8{{g.R, w.R}, {g.G, w.G}, {g.B, w.B}, {g.A, 255}} {
				most = max(most, math.Abs(float64(pair[0])-float64(pair[1])))
			}
		}
	}
	return most
}

// TestFieldImages says of every file what becomes of it: how far it may be from
// what it must decode to, in levels, or why it is refused.
func TestFieldImages(t *testing.T) {
	folder := fieldFolder(t)
	elsewhere := map[string]bool{"p12in16.png": true, "t12in16.tif": true} // the range of a data set is not a file's matter
	rows := map[string]struct {
		levels      float64
		reason      string
		more        int // pages or frames that are left out
		transparent bool
	}{
		"b_1bit.bmp":      {},
		"b_os2.bmp":       {},
		"b_rle8.bmp":      {},
		"b_topdown.bmp":   {},
		"b_v4_alpha0.bmp": {transparent: true},

		// What differs most are colours at edges: Go repeats the colours of a
		// subsampled JPEG, libjpeg interpolates them.
		"j_411.jpg":          {levels: 3},
		"j_cmyk_adobe.jpg":   {levels: 1},
		"j_exif6.jpg":        {levels: 1},
		"j_mjpeg_nodht.jpg":  {levels: 46},
		"j_noeoi.jpg":        {levels: 3},
		"j_progressive.jpg":  {levels: 2},
		"j_rgb_adobe0.jpg":   {levels: 5},
		"j_trailing.jpg":     {levels: 2},
		"j_ycck.jpg":         {levels: 35},
		"j_12bit.jpg":        {levels: 1},
		"p_16rgb.png":        {},
		"p_adam7.png":        {},
		"p_apng.png":         {more: 1},
		"p_exif6.png":        {},
		"p_gama1.png":        {},
		"p_noiend.png":       {},
		"p_palette_trns.png": {},
		"p_rgba_alpha0.png":  {transparent: true},
		"png_named.jpg":      {},

		"t16_be_pred_lzw.tif":      {},
		"t16_full.tif":             {},
		"t_12bit_packed.tif":       {},
		"t_bigtiff.tif":            {},
		"t_cmyk.tif":               {},
		"t_float32.tif":            {},
		"t_g4.tif":                 {},
		"t_grey_alpha.tif":         {},
		"t_jpeg_pil.tif":           {levels: 15},
		"t_lzw_noeoi.tif":          {},
		"t_miniswhite.tif":         {},
		"t_multipage5.tif":         {more: 4},
		"t_orient6.tif":            {},
		"t_palette.tif":            {},
		"t_planar.tif":             {},
		"t_rgb_extra0.tif":         {},
		"t_tiled16.tif":            {},
		"t_tiled_grey.tif":         {},
		"t_tiled_rgb_lzw_pred.tif": {},
		"t_zstd.tif":               {},
		"w_lossless_alpha.webp":    {levels: 1},
	}
	files, err := filepath.Glob(filepath.Join(folder, "images", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := filepath.Base(file)
		if elsewhere[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			row, known := rows[name]
			require.True(t, known, "a file without a row")
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			got, info, err := Decode(raw, limits)
			if row.reason != "" {
				require.EqualError(t, err, row.reason)
				return
			}
			require.NoError(t, err)
			expected, err := os.ReadFile(filepath.Join(folder, "expected", name+".png"))
			require.NoError(t, err)
			want, err := png.Decode(bytes.NewReader(expected))
			require.NoError(t, err)
			require.LessOrEqual(t, worst(t, got, want), row.levels)
			require.Equal(t, [2]any{row.more, row.transparent}, [2]any{info.MorePages, info.Transparent})
		})
	}
}
