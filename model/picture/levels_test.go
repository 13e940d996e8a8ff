package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLevelsOfAPeak(t *testing.T) {
	for peak, want := range map[int]int{0: 255, 255: 255, 256: 1023, 1023: 1023, 1024: 4095, 4095: 4095, 4096: 16383, 16384: 65535, 65535: 65535} {
		require.Equal(t, want, Levels(peak), "peak %d", peak)
	}
}

// deepPNG is a grey ramp of 16-bit samples up to peak, with colour if wanted.
func deepPNG(t *testing.T, peak int, coloured bool) []byte {
	t.Helper()
	grey, colour := image.NewGray16(image.Rect(0, 0, 64, 4)), image.NewNRGBA64(image.Rect(0, 0, 64, 4))
	for x := range 64 {
		v := uint16(x * peak / 63)
		for y := range 4 {
			grey.SetGray16(x, y, color.Gray16{Y: v})
			colour.SetNRGBA64(x, y, color.NRGBA64{R: v, G: v / 2, B: 0, A: 65535})
		}
	}
	var b bytes.Buffer
	if coloured {
		require.NoError(t, png.Encode(&b, colour))
	} else {
		require.NoError(t, png.Encode(&b, grey))
	}
	return b.Bytes()
}

func TestDecodeScalesLevels(t *testing.T) {
	for _, c := range []struct {
		peak, levels, white int
	}{
		{4095, 0, 15}, {4095, OwnLevels, 255}, {4095, 4095, 255}, {4095, 16383, 64}, {65535, OwnLevels, 255}, {3000, OwnLevels, 187}, {4095, 2000, 255},
	} {
		for _, coloured := range []bool{false, true} {
			img, info, err := Decode(deepPNG(t, c.peak, coloured), Limits{Levels: c.levels})
			require.NoError(t, err)
			require.Equal(t, c.peak, info.Peak)
			require.InDelta(t, c.white, int(img.RGBAAt(63, 2).R), 1, "%+v", c)
			if coloured {
				if c.levels != 2000 { // beyond which all is white
					require.InDelta(t, float64(c.white)/2, float64(img.RGBAAt(63, 2).G), 1, "%+v", c)
				}
				require.Zero(t, img.RGBAAt(63, 2).B)
			}
			require.Equal(t, uint8(255), img.RGBAAt(63, 2).A)
		}
	}
	_, info, err := Decode(asPNG(t, image.NewGray(image.Rect(0, 0, 4, 4))), Limits{Levels: 10})
	require.NoError(t, err)
	require.Zero(t, info.Peak, "8 bits are left as they are")
}

// A 12-bit sensor's images in 16-bit files have their full range.
func TestFieldImagesOf12Bits(t *testing.T) {
	folder := fieldFolder(t)
	for _, name := range []string{"p12in16.png", "t12in16.tif"} {
		raw, err := os.ReadFile(filepath.Join(folder, "images", name))
		require.NoError(t, err)
		got, info, err := Decode(raw, Limits{Levels: OwnLevels})
		require.NoError(t, err)
		require.Equal(t, 4095, Levels(info.Peak), name)
		file, err := os.Open(filepath.Join(folder, "expected", name+".png"))
		require.NoError(t, err)
		defer file.Close()
		want, err := png.Decode(file)
		require.NoError(t, err)
		require.LessOrEqual(t, worst(t, got, want), 1.0, name)
	}
}
