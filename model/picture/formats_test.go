package picture

import (
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFormats says what becomes of the files that testdata/make_formats.py
// makes: two halves of colour, grey, or black and white.
func TestFormats(t *testing.T) {
	level := func(v uint8) color.RGBA { return color.RGBA{v, v, v, 255} }
	inColour, inGrey, inBits := [2]color.RGBA{left8, right8}, [2]color.RGBA{level(70), level(200)}, [2]color.RGBA{level(0), level(255)}
	inInk := [2]color.RGBA{{207, 49, 137, 255}, {35, 195, 245, 255}}
	plain := Info{Orientation: 1}
	see := Info{Orientation: 1, Transparent: true}
	pages := func(n int) Info { return Info{Orientation: 1, MorePages: n} }
	rows := map[string]struct {
		halves [2]color.RGBA
		levels float64 // the greatest difference
		info   Info
		reason string
	}{
		"g4_minisblack.tif":      {halves: inBits, info: plain},
		"g4_miniswhite.tif":      {halves: inBits, info: plain},
		"g3_minisblack.tif":      {halves: inBits, info: plain},
		"g3_miniswhite.tif":      {halves: inBits, info: plain},
		"bits_minisblack.tif":    {halves: inBits, info: plain},
		"bits_miniswhite.tif":    {halves: inBits, info: plain},
		"zstd_pred.tif":          {halves: inColour, info: plain},
		"zstd_strips.tif":        {halves: inColour, info: plain},
		"zstd_tiles.tif":         {halves: inColour, info: plain},
		"lzw_planar.tif":         {halves: inColour, info: plain},
		"packbits.tif":           {halves: inColour, info: plain},
		"rgba16.tif":             {halves: inColour, info: plain},
		"alpha0.tif":             {halves: inColour, info: see},
		"alpha0.png":             {halves: inColour, info: see},
		"alpha0.webp":            {halves: inColour, info: see},
		"alpha0_lossy.webp":      {halves: inColour, info: see, levels: 12},
		"extra0.tif":             {halves: inColour, info: plain},
		"grey_alpha_planar.tif":  {halves: inGrey, info: plain},
		"cmyk_planar.tif":        {halves: inInk, info: plain, levels: 1},
		"cmyk_jpeg.tif":          {halves: inInk, info: plain, levels: 3},
		"jpeg_rgb.tif":           {halves: inColour, info: plain, levels: 3},
		"jpeg_ycbcr_tiles.tif":   {halves: inColour, info: plain, levels: 4},
		"jpeg_libtiff.tif":       {halves: inColour, info: plain, levels: 3},
		"jpeg_grey.tif":          {halves: inGrey, info: plain, levels: 1},
		"packed10.tif":           {halves: inGrey, info: plain},
		"packed12.tif":           {halves: inGrey, info: plain},
		"packed14.tif":           {halves: inGrey, info: plain},
		"deflate_float_pred.tif": {halves: inGrey, info: plain},
		"float_be_pred.tif":      {halves: inGrey, info: plain},
		"deflate_half.tif":       {halves: inGrey, info: plain, levels: 1},
		"double.tif":             {halves: inGrey, info: plain},
		"signed8.tif":            {halves: inGrey, info: plain, levels: 1},
		"signed16.tif":           {halves: inGrey, info: plain},
		"unsigned32.tif":         {halves: inGrey, info: plain},
		"big_reduced_first.tif":  {halves: inColour, info: pages(1)},
		"deep12_grey.jpg":        {halves: inGrey, info: plain, levels: 1},
		"deep12_colour.jpg":      {halves: inColour, info: plain, levels: 2},
		"deep12_420.jpg":         {halves: inColour, info: plain, levels: 8},
		"lossless8.jpg":          {halves: inGrey, info: plain},
		"lossless8_rgb.jpg":      {halves: inColour, info: plain},
		"animated.webp":          {halves: inColour, info: pages(1)},
		"animated_lossy.webp":    {halves: inColour, info: pages(2), levels: 12},
		"animated.png":           {halves: inColour, info: pages(2)},
		"animated.gif":           {halves: inColour, info: pages(1)},
		"turned.png":             {halves: inColour, info: Info{Orientation: 6}},
		"turned.webp":            {halves: inColour, info: Info{Orientation: 6}},

		"float_counts.tif": {reason: "unsupported image: TIFF with floating-point samples beyond 0 to 1 (70); scale them, 0 being black and 1 white"},
		"signed_negative.tif": {reason: "unsupported image: TIFF with negative samples (-30); " +
			"add an offset, so that 0 is black, and store them unsigned"},
		"no_complex.tif":  {reason: "unsupported image: TIFF with complex samples"},
		"no_channels.tif": {reason: "unsupported image: TIFF with 5 channels of grey; store each as an image"},
		"no_jpeg2000.tif": {reason: "unsupported image: TIFF with JPEG 2000 compression; convert it to LZW or Deflate"},
		"no_lerc.tif":     {reason: "unsupported image: TIFF with LERC compression; convert it to LZW or Deflate"},
		"no_lzma.tif":     {reason: "unsupported image: TIFF with LZMA compression; convert it to LZW or Deflate"},
		"no_webp.tif":     {reason: "unsupported image: TIFF with WebP compression; convert it to LZW or Deflate"},
		"no_jpegls.jpg":   {reason: "unsupported image: JPEG-LS; convert it to a baseline JPEG or to PNG"},
	}
	files, err := filepath.Glob(filepath.Join("testdata", "formats", "*"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), len(rows))
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasPrefix(name, "lossless_p") || name == "lossless12.jpg" || name == "lossless16.jpg" {
			continue // in TestLosslessJPEG
		}
		t.Run(name, func(t *testing.T) {
			row, known := rows[name]
			require.True(t, known, "a file without a row")
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			img, info, err := Decode(raw, limits)
			if row.reason != "" {
				require.EqualError(t, err, row.reason)
				require.ErrorIs(t, err, ErrUnsupported)
				return
			}
			require.NoError(t, err)
			row.info.Format, row.info.Width, row.info.Height, row.info.Peak = info.Format, 24, 16, info.Peak
			require.Equal(t, row.info, info)
			for _, v := range []int{0, 4, 10, 15} {
				for u := range 24 {
					x, y := u, v
					if info.Orientation == 6 {
						x, y = 15-v, u
					}
					near(t, name, img, x, y, row.halves[u/12], row.levels)
				}
			}
		})
	}
}

// TestLosslessJPEG checks every predictor and depth on a picture in which each
// sample differs from its neighbours.
func TestLosslessJPEG(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "formats", "lossless*"))
	require.NoError(t, err)
	require.Len(t, files, 11)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		img, _, err := Decode(raw, limits)
		require.NoError(t, err, file)
		for i := range 24 * 16 {
			want := uint8(i * 157 % 65536 >> 8)
			switch name := filepath.Base(file); {
			case strings.HasPrefix(name, "lossless8"):
				continue // in TestFormats
			case strings.HasPrefix(name, "lossless_p"):
				want = uint8(i * 157)
			}
			require.Equal(t, want, img.RGBAAt(i%24, i/24).R, "%s, sample %d", file, i)
		}
	}
}
