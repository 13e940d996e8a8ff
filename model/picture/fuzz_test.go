package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// FuzzDecode looks for panics and for results that break Decode's promises.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*p*g")
	require.NoError(f, err)
	webps, err := filepath.Glob("testdata/*.webp")
	require.NoError(f, err)
	formats, err := filepath.Glob("testdata/formats/*")
	require.NoError(f, err)
	for _, name := range slices.Concat(files, webps, formats) {
		raw, err := os.ReadFile(name)
		require.NoError(f, err)
		if len(raw) < 2000 {
			f.Add(raw)
		}
	}
	small := halves(image.NewPaletted(area, color.Palette{left8, right8}))
	f.Add(encoded(f, func(b *bytes.Buffer) error { return gif.Encode(b, small, nil) }))
	f.Add(encoded(f, func(b *bytes.Buffer) error { return bmp.Encode(b, small) }))
	for _, order := range orders {
		for _, big := range []bool{false, true} {
			f.Add(buildTIFF(order, big, greyPage(short(tagNewSubfileType, 1)), greyPage(short(tagRowsPerStrip, 16))))
			f.Add(buildTIFF(order, big, greyPage(short(tagTileWidth, 16), short(tagTileHeight, 16), short(tagFillOrder, 2))))
		}
	}
	f.Add(bmpOf(40, 8, 1, bmpPalette(256, 4), []byte{2, 1, 2, 5, 0, 0, 0, 3, 6, 7, 8, 0, 1, 9, 0, 1}))
	f.Add(bmpOf(64, 4, 2, bmpPalette(16, 4), []byte{3, 0x12, 0, 2, 1, 0, 0, 4, 0x67, 0x89, 0, 1}))
	f.Add(bmpOf(12, 4, 0, bmpPalette(16, 3), []byte{0x01, 0x23, 0, 0, 0x45, 0x67, 0, 0}))
	f.Add(bmpOf(108, 32, 3, nil, make([]byte, 32)))
	f.Add(encoded(f, func(b *bytes.Buffer) error { return tiff.Encode(b, small, nil) }))
	f.Add(encoded(f, func(b *bytes.Buffer) error {
		return tiff.Encode(b, halves(image.NewRGBA(area)), &tiff.Options{Compression: tiff.Deflate, Predictor: true})
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := Limits{MaxBytes: 1 << 16, MaxPixels: 1 << 14}
		img, info, err := Decode(data, l)
		if err != nil {
			require.Nil(t, img)
			require.NotContains(t, err.Error(), "runtime error", "a parser panicked")
			return
		}
		require.LessOrEqual(t, int64(info.Width)*int64(info.Height), l.MaxPixels)
		require.Equal(t, info.Width*info.Height, img.Rect.Dx()*img.Rect.Dy())
		require.Equal(t, image.Point{}, img.Rect.Min)
		require.True(t, img.Opaque())
		Square(img, 32)
	})
}
