package picture

import (
	"image"
	"image/draw"
	"math"
	"math/bits"
	"testing"

	"github.com/corona10/goimagehash"
	"github.com/stretchr/testify/require"
)

func TestBrushedMetalIsRepeatable(t *testing.T) {
	require.Equal(t, BrushedMetal(1, 2), BrushedMetal(1, 2))
	require.NotEqual(t, BrushedMetal(1, 2).Pix, BrushedMetal(1, 3).Pix)
	require.NotEqual(t, BrushedMetal(1, 2).Pix, BrushedMetal(2, 2).Pix)
	require.Equal(t, image.Rect(0, 0, 200, 200), BrushedMetal(1, 0).Rect)
}

// TestBrushedMetalVaries: no two are near duplicates, none is burnt out, and
// each has something that stands out of the brushing.
func TestBrushedMetalVaries(t *testing.T) {
	var hashes []uint64
	closest := 64
	for i := range 100 {
		img := BrushedMetal(7, i)
		rgba := image.NewRGBA(img.Rect)
		draw.Draw(rgba, img.Rect, img, image.Point{}, draw.Src)
		h, err := goimagehash.PerceptionHash(Resize(rgba, 64, 64))
		require.NoError(t, err)
		for _, o := range hashes {
			closest = min(closest, bits.OnesCount64(o^h.GetHash()))
		}
		hashes = append(hashes, h.GetHash())

		var sum, squares, burnt float64
		for _, v := range img.Pix {
			sum += float64(v)
			squares += float64(v) * float64(v)
			if v == 0 || v == 255 {
				burnt++
			}
		}
		n := float64(len(img.Pix))
		mean, deviation := sum/n, math.Sqrt(squares/n-sum/n*sum/n)
		require.Less(t, burnt/n, 0.02, "picture %d", i)
		require.True(t, mean > 60 && mean < 200 && deviation > 5, "picture %d: mean %.0f, deviation %.0f", i, mean, deviation)
	}
	require.Greater(t, closest, 6, "smallest distance of two pictures' hashes")
}
