package picture

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"
)

// strip is a wide picture whose grey is its column.
func strip(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := uint8(x * 250 / w)
			img.SetRGBA(x, y, color.RGBA{v, v, v, 255})
		}
	}
	return img
}

func TestTiling(t *testing.T) {
	for _, c := range []struct{ tile, stride, w, h, count int }{
		{0, 0, 100, 100, 1}, {0, 0, 1600, 256, 7}, {256, 128, 1600, 256, 12}, {64, 0, 100, 130, 6}, {500, 10, 100, 90, 2}, {64, 64, 64, 64, 1},
	} {
		tiling := Tiling{c.tile, c.stride}
		require.Equal(t, c.count, tiling.Count(c.w, c.h), "%+v", c)
		require.Equal(t, c.count, tiling.Count(c.h, c.w), "on its side: %+v", c)
	}
	img, tiling := strip(300, 100), Tiling{Tile: 100, Stride: 80}
	require.Equal(t, 4, tiling.Count(300, 100))
	for k, first := range []int{0, 80, 160, 200} { // the last one ends at the border
		tile := tiling.Square(img, k, 100)
		require.Equal(t, img.RGBAAt(first, 50).R, tile[50*100], "tile %d", k)
		require.Equal(t, img.RGBAAt(first+99, 50).R, tile[50*100+99], "tile %d", k)
	}
	require.Equal(t, Square(strip(90, 90), 32), Tiling{}.Square(strip(90, 90), 0, 32))
}

func TestPadAndStretchShowAll(t *testing.T) {
	img := strip(400, 100)
	for name, got := range map[string][]uint8{"pad": Pad(img, 64), "stretch": Stretch(img, 64)} {
		require.Len(t, got, 3*64*64, name)
		row := got[32*64 : 33*64]
		require.Less(t, row[0], uint8(8), name)
		require.Greater(t, row[63], uint8(240), name)
		require.Equal(t, got[:64*64], got[64*64:2*64*64], name)
	}
	padded := Pad(img, 64)
	require.InDelta(t, 125, int(padded[0]), 3, "the mean above")
	require.InDelta(t, 125, int(padded[64*64-1]), 3, "and below")
	require.Less(t, Stretch(img, 64)[0], uint8(8))
}
