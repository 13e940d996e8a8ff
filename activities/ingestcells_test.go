package activities

import (
	"bytes"
	"fmt"
	"image"
	stddraw "image/draw"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

// fixturePart is a picture of one part in a fixture, of the given side, with noise of its own;
// defect, if above 0, is the side of a dark square somewhere.
func fixturePart(t testing.TB, side, defect int, seed uint64) *image.RGBA {
	t.Helper()
	metal := picture.BrushedMetal(2, 7)
	big := image.NewRGBA(metal.Rect)
	stddraw.Draw(big, metal.Rect, metal, image.Point{}, stddraw.Src)
	img, r := picture.Resize(big, side, side), rand.New(rand.NewPCG(seed, 4))
	left, top := r.IntN(side-defect), r.IntN(side-defect)
	for y := range side {
		for x := range side {
			p := img.Pix[img.PixOffset(x, y):]
			v := float64(p[0]) + 3*r.NormFloat64()
			if defect > 0 && x >= left && x < left+defect && y >= top && y < top+defect {
				v -= 60
			}
			for c := range 3 {
				p[c] = uint8(min(max(v, 0), 255))
			}
		}
	}
	return img
}

func asPNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return b.Bytes()
}

func TestCellsTellPicturesApart(t *testing.T) {
	plain := measureCells(fixturePart(t, 512, 0, 1))
	require.Equal(t, samePicture, plain.compare(measureCells(fixturePart(t, 512, 0, 2))), "noise alone")
	require.Equal(t, samePicture, plain.compare(measureCells(fixturePart(t, 300, 0, 3))), "another size")
	brighter := fixturePart(t, 512, 0, 4)
	for i := range brighter.Pix {
		brighter.Pix[i] = uint8(15 + int(brighter.Pix[i])*9/10)
	}
	require.Equal(t, samePicture, plain.compare(measureCells(brighter)))
	var compressed bytes.Buffer
	require.NoError(t, jpeg.Encode(&compressed, fixturePart(t, 512, 0, 5), &jpeg.Options{Quality: 50}))
	img, _, err := picture.Decode(compressed.Bytes(), picture.Limits{})
	require.NoError(t, err)
	require.Equal(t, samePicture, plain.compare(measureCells(img)))

	for _, defect := range []int{24, 12, 6} {
		require.Equal(t, sameScene, plain.compare(measureCells(fixturePart(t, 512, defect, 6))), "a defect of %d pixels", defect)
	}
	require.Equal(t, sameScene, plain.compare(measureCells(fixturePart(t, 2048, 14, 7))), "a small one in a large picture")
	metal := picture.BrushedMetal(9, 3)
	other := image.NewRGBA(metal.Rect)
	stddraw.Draw(other, metal.Rect, metal, image.Point{}, stddraw.Src)
	require.Equal(t, otherScene, plain.compare(measureCells(other)))
	wide := picture.Resize(other, 400, 200)
	require.Equal(t, otherScene, measureCells(other).compare(measureCells(wide)), "another shape")
	require.Equal(t, samePicture, measureCells(image.NewRGBA(image.Rect(0, 0, 3, 3))).compare(measureCells(image.NewRGBA(image.Rect(0, 0, 5, 5)))), "tiny and flat")
}

// Two plates of one light whose grain differs everywhere are no one scene.
func TestCellsOfAnotherGrain(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	one, other := new(cells), new(cells)
	for _, c := range []*cells{one, other} {
		c.w, c.h, c.means = 1024, 1024, make([]uint16, cellGrid*cellGrid)
		for i := range c.means {
			c.means[i] = uint16(256 * (60 + i/40 + int(8*r.NormFloat64())))
		}
	}
	require.Equal(t, otherScene, one.compare(other))
	require.Equal(t, samePicture, one.compare(one))
}

// Parts in a fixture differ by their defects alone: all of them are used, and the
// hold-out is drawn from them one by one. The same part twice is a duplicate.
func TestIngestOfAFixture(t *testing.T) {
	const n = 12
	files := map[string][]byte{}
	for i := range n {
		files[fmt.Sprintf("p/%02d.png", i)] = asPNG(t, fixturePart(t, 256, 8, uint64(i)))
	}
	files["p/again.png"] = files["p/03.png"]
	var saved bytes.Buffer
	require.NoError(t, jpeg.Encode(&saved, fixturePart(t, 256, 8, 4), &jpeg.Options{Quality: 70}))
	files["p/saved.jpg"] = saved.Bytes()
	for mode, want := range map[string]struct{ usable, near, exact int }{
		spec.DuplicatesVerify: {n, 1, 1},
		spec.DuplicatesExact:  {n + 1, 0, 1},
		spec.DuplicatesOff:    {n + 2, 0, 0},
		"":                    {},
	} {
		s := newShelf(t)
		for key, raw := range files {
			s.put(key, raw)
		}
		in := s.input()
		in.Ingest.Duplicates, in.Ingest.MinImages = mode, 1
		out, doc := s.ingest(in)
		if mode == "" {
			require.LessOrEqual(t, out.Usable, 3, "by hashes alone most are duplicates")
			continue
		}
		require.Equal(t, want, struct{ usable, near, exact int }{out.Usable, out.NearDuplicates, out.Duplicates}, mode)
		require.Equal(t, n, out.Groups, mode)
		require.InDelta(t, out.Usable/5, out.Holdout, 1, mode)
		group := map[string]string{}
		for _, i := range doc.Images {
			group[i.Name] = i.Group
		}
		if mode == spec.DuplicatesOff {
			require.Equal(t, group["03.png"], group["again.png"])
			require.Equal(t, group["04.png"], group["saved.jpg"], "the hold-out may not have one of the two")
		}
	}
}

// Whether pixels are looked at depends on how many images there are, not on which of
// them were read first.
func TestAllImagesAreVerifiedOrNone(t *testing.T) {
	known := func(n int) (kept int) {
		var s scan
		for i := range n {
			s.add(&scanned{DatasetImage: ledger.DatasetImage{Name: fmt.Sprint(i)}, cells: new(cells)}, nil)
		}
		s.settle()
		for _, i := range s.images {
			if i.cells != nil {
				kept++
			}
		}
		return kept
	}
	require.Equal(t, maxPaired, known(maxPaired))
	require.Zero(t, known(maxPaired+1))
}

func BenchmarkCompareCells(b *testing.B) {
	one, other := measureCells(fixturePart(b, 512, 24, 1)), measureCells(fixturePart(b, 512, 24, 2))
	for b.Loop() {
		if one.compare(other) != sameScene {
			b.Fatal("another answer")
		}
	}
}
