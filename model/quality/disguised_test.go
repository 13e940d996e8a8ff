package quality

import (
	"context"
	"image"
	"image/draw"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

// metalPlanes are drawn pictures of metal as they are compared, from the first on.
func metalPlanes(first, n int) []uint8 {
	var planes []uint8
	for i := range n {
		metal := picture.BrushedMetal(11, first+i)
		rgba := image.NewRGBA(metal.Rect)
		draw.Draw(rgba, metal.Rect, metal, image.Point{}, draw.Src)
		planes = append(planes, picture.Luminance(picture.Square(rgba, spec.Size))...)
	}
	return planes
}

// lightShard gives planes as one shard.
func lightShard(planes []uint8) Source {
	return Source{Shards: 1, Load: func(context.Context, int) ([]uint8, error) { return planes, nil }}
}

// Whatever a copy is disguised as, it is found, with the image that it is of; other
// pictures of the same kind are none.
func TestDisguisedCopiesAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("tries every disguise")
	}
	const n = 24
	real := metalPlanes(0, n)
	null, err := NearestDisguised(t.Context(), real, lightShard(real), func(i, j int) bool { return i == j }, nil)
	require.NoError(t, err)
	var values []float64
	for _, d := range null {
		values = append(values, d.Distance)
	}
	at := disguisedRejectAt(values, slices.Repeat([]float64{1}, n), 0.01)
	require.Greater(t, at, 0.1, "drawn pictures are not alike by chance")

	honest, err := NearestDisguised(t.Context(), metalPlanes(500, n), lightShard(real), nil, nil)
	require.NoError(t, err)
	for i, d := range honest {
		require.Greater(t, d.Distance, at, "picture %d is no copy of %d", i, d.Index)
	}
	for _, d := range disguises() {
		if d.name == "noise of 5 levels" || d.name == "noise of 10 levels" {
			continue // seen, and more than mild on metal this smooth: POWER.md counts them
		}
		r := rand.New(rand.NewPCG(3, 3))
		var copies []uint8
		for i := 0; i < n; i += 6 {
			copies = append(copies, toBytes(d.change(r, toFloats(real[i*PlaneLen:(i+1)*PlaneLen])))...)
		}
		found, err := NearestDisguised(t.Context(), copies, lightShard(real), nil, nil)
		require.NoError(t, err)
		for k, f := range found {
			require.Less(t, f.Distance, at, "%s of %d", d.name, 6*k)
			require.Equal(t, 6*k, f.Index, d.name)
		}
	}
}

func TestDisguisedSaysHow(t *testing.T) {
	real := metalPlanes(0, 6)
	turned := posedAt(pose{scale: 1 / 1.1, degrees: 4, dx: 3, dy: -2})(nil, pointwise(toFloats(real[:PlaneLen]), func(_ int, v float64) float64 { return 255 - v }))
	found, err := NearestDisguised(t.Context(), oriented(toBytes(turned), 4), lightShard(real), nil, nil)
	require.NoError(t, err)
	d := found[0]
	require.Zero(t, d.Index)
	require.True(t, d.Inverted)
	require.Equal(t, 4, d.Orientation)
	require.InDelta(t, 1/1.1, d.Scale, 0.03)
	require.InDelta(t, 4, d.Degrees, 1)
	require.InDelta(t, 3, d.DX, 1.5)
	require.InDelta(t, -2, d.DY, 1.5)
	require.Equal(t, "inverted, mirrored, scaled to 110%, turned by 4 degrees, shifted by 3 and -2 pixels",
		Disguised{Orientation: 4, Scale: 1 / 1.1, Degrees: 4.2, DX: 3.1, DY: -2.2, Inverted: true}.Words())
	require.Equal(t, "as it is", Disguised{Scale: 1}.Words())
}

// What has no contrast resembles nothing, and is no reason to fail.
func TestDisguisedWithoutContrast(t *testing.T) {
	flat := slices.Repeat([]uint8{90}, 2*PlaneLen)
	found, err := NearestDisguised(t.Context(), flat, lightShard(metalPlanes(0, 3)), nil, nil)
	require.NoError(t, err)
	require.Equal(t, []float64{1, 1}, []float64{found[0].Distance, found[1].Distance})
	found, err = NearestDisguised(t.Context(), flat, Source{}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, Disguised{Index: -1, Scale: 1, Distance: math.Inf(1)}, found[0])
	_, err = NearestDisguised(t.Context(), flat[1:], Source{}, nil, nil)
	require.ErrorContains(t, err, "no whole number of 128x128 planes")
}

// A data set's own copies in disguise do not make copies acceptable; few images allow
// only what is plainly the same.
func TestDisguisedRejectAt(t *testing.T) {
	var values []float64
	for i := range 100 {
		values = append(values, 0.3+0.002*float64(i))
	}
	even := slices.Repeat([]float64{1}, 100)
	clean := disguisedRejectAt(values, even, 0.01)
	require.InDelta(t, 0.2, clean, 0.05)
	for i := range 8 {
		values[i] = 0.001 * float64(i)
	}
	require.InDelta(t, clean, disguisedRejectAt(values, even, 0.01), 0.02)
	require.Equal(t, disguisedMost, disguisedRejectAt(slices.Repeat([]float64{0.7}, 100), even, 0.01))
	require.Equal(t, disguisedLeast, disguisedRejectAt(values[:7], even[:7], 0.01))
	require.Equal(t, disguisedLeast, disguisedRejectAt(slices.Repeat([]float64{0}, 100), even, 0.01))
}
