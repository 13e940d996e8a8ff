package picture

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"
)

func plain(side int, r, g, b uint8) []uint8 {
	n := side * side
	out := make([]uint8, 3*n)
	for i := range n {
		out[i], out[n+i], out[2*n+i] = r, g, b
	}
	return out
}

func TestEncodePNG(t *testing.T) {
	chw := Square(formula(40, 40), 32)
	raw, err := EncodePNG(chw)
	require.NoError(t, err)
	again, err := EncodePNG(chw)
	require.NoError(t, err)
	require.Equal(t, raw, again)
	require.Equal(t, byte(2), raw[25], "colour type: RGB without alpha")
	img, _, err := Decode(raw, limits)
	require.NoError(t, err)
	require.Equal(t, chw, Square(img, 32))
	for _, bad := range [][]uint8{nil, make([]uint8, 7), make([]uint8, 3*5)} {
		_, err := EncodePNG(bad)
		require.ErrorContains(t, err, "no square picture")
	}
}

func decodePNG(t *testing.T, raw []byte) image.Image {
	img, err := png.Decode(bytes.NewReader(raw))
	require.NoError(t, err)
	return img
}

func TestGrid(t *testing.T) {
	var images [][]uint8
	for i := range 5 {
		images = append(images, plain(10, uint8(50*i), 0, 0))
	}
	raw, err := Grid(images, 3)
	require.NoError(t, err)
	img := decodePNG(t, raw)
	require.Equal(t, image.Pt(gap+3*(10+gap), gap+2*(10+gap)), img.Bounds().Size())
	for i := range 5 {
		r, g, _, _ := img.At(gap+i%3*(10+gap)+5, gap+i/3*(10+gap)+5).RGBA()
		require.Equal(t, [2]uint32{uint32(50 * i), 0}, [2]uint32{r >> 8, g >> 8}, "picture %d", i)
	}
	_, err = Grid(nil, 3)
	require.ErrorContains(t, err, "no pictures")
	_, err = Grid([][]uint8{plain(10, 0, 0, 0), plain(11, 0, 0, 0)}, 2)
	require.ErrorContains(t, err, "11 pixels among ones of 10")
}

func TestContactSheet(t *testing.T) {
	rows := []SheetRow{
		{[]Tile{{Image: plain(64, 9, 9, 9), Caption: []string{"candidate"}}, {Image: plain(64, 8, 8, 8), Caption: []string{"12.5", "x.png"}}}},
		{[]Tile{{Image: plain(64, 7, 7, 7), Caption: []string{"c"}, Marked: true}}},
	}
	raw, err := ContactSheet(rows)
	require.NoError(t, err)
	again, err := ContactSheet(rows)
	require.NoError(t, err)
	require.Equal(t, raw, again)
	img := decodePNG(t, raw)
	inked := 0
	for y := gap + 64; y < gap+64+2*lineHeight; y++ {
		for x := range img.Bounds().Dx() {
			if r, _, _, _ := img.At(x, y).RGBA(); r>>8 == uint32(ink.R) {
				inked++
			}
		}
	}
	require.Greater(t, inked, 50, "captions are written")
	second := gap + 64 + 2*lineHeight + gap
	r, g, _, _ := img.At(gap-1, second+5).RGBA()
	require.Equal(t, [2]uint32{uint32(marker.R), uint32(marker.G)}, [2]uint32{r >> 8, g >> 8}, "the mark frames")
	r, _, _, _ = img.At(gap, second).RGBA()
	require.Equal(t, uint32(7), r>>8, "and covers nothing")
}

func TestFit(t *testing.T) {
	require.Equal(t, "short", fit("short", 5))
	require.Equal(t, "scra..s_199.png", fit("scratches_199.png", 15))
	require.Equal(t, "?b", fit("äb", 2))
	require.Equal(t, "ab", fit("abc", 2))
}
