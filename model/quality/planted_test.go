package quality

import (
	"image"
	"image/draw"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

// copies are what a generator that memorised an image might give.
var copies = map[string]func(plane []uint8) []uint8{
	"exact copy": slices.Clone[[]uint8],
	"noisy copy": func(p []uint8) []uint8 {
		r := rand.New(rand.NewPCG(1, 1))
		return mapped(p, func(v int) int { return v + r.IntN(7) - 3 })
	},
	"brighter copy": func(p []uint8) []uint8 { return mapped(p, func(v int) int { return v + 3 }) },
	"flatter copy":  func(p []uint8) []uint8 { return mapped(p, func(v int) int { return 128 + (v-128)*95/100 }) },
}

func mapped(p []uint8, f func(int) int) []uint8 {
	out := make([]uint8, len(p))
	for i, v := range p {
		out[i] = uint8(min(max(f(int(v)), 0), 255))
	}
	return out
}

// planted judges copies of some reals, and others that are none, by the
// source's distance and the reals' own.
func planted(t *testing.T, reals, others []uint8, every int) {
	t.Helper()
	n := len(reals) / PlaneLen
	source := shards(reals, n/2, n-n/2)
	own, err := LeaveOneOut(t.Context(), source, nil)
	require.NoError(t, err)
	rejectAt := Quantile(own, 0.01)
	require.Positive(t, rejectAt)
	for name, change := range copies {
		for i := 0; i < n; i += every {
			got, err := Nearest(t.Context(), change(plane(reals, i)), source, 1, nil)
			require.NoError(t, err)
			require.Equal(t, i, got[0][0].Index, name)
			require.Less(t, got[0][0].Distance, rejectAt, "%s of image %d", name, i)
		}
	}
	nearest, err := Nearest(t.Context(), others, source, 1, nil)
	require.NoError(t, err)
	rejected := 0
	for _, list := range nearest {
		if list[0].Distance < rejectAt {
			rejected++
		}
	}
	t.Logf("rejected below %.2f; %d of %d images that are no copies", rejectAt, rejected, len(nearest))
	require.LessOrEqual(t, rejected, len(nearest)/20, "images that are no copies")
}

func TestPlantedCopiesOfDrawnMetal(t *testing.T) {
	const n, others = 120, 60
	var planes []uint8
	for i := range n + others {
		img := picture.BrushedMetal(3, i)
		rgba := image.NewRGBA(img.Rect)
		draw.Draw(rgba, img.Rect, img, image.Point{}, draw.Src)
		planes = append(planes, FirstChannels(picture.Square(rgba, spec.Size))...)
	}
	planted(t, planes[:n*PlaneLen], planes[n*PlaneLen:], 17)
}

// TestPlantedCopiesOfSteel uses real scratches, of which every fifth stands for
// a generated one. Some of those overlap with ones among the reals.
func TestPlantedCopiesOfSteel(t *testing.T) {
	root := os.Getenv("DEFECTFORGE_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	files, err := filepath.Glob(filepath.Join(root, "neu", "scratches", "*.jpg"))
	require.NoError(t, err)
	if len(files) == 0 {
		if os.Getenv("CI") == "true" && os.Getenv("DEFECTFORGE_REQUIRE_SHARED") == "1" {
			t.Fatalf("%s/neu/scratches is required here", root)
		}
		t.Skipf("%s/neu/scratches is not there; set DEFECTFORGE_SHARED to the folder that holds neu", root)
	}
	var reals, others []uint8
	for i, name := range files {
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		img, _, err := picture.Decode(raw, picture.Limits{})
		require.NoError(t, err)
		plane := FirstChannels(picture.Square(img, spec.Size))
		if i%5 == 0 {
			others = append(others, plane...)
		} else {
			reals = append(reals, plane...)
		}
	}
	planted(t, reals, others, 23)
}
