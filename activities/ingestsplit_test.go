package activities

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// crops cuts n overlapping pictures out of one long sheet of noise.
func crops(t testing.TB, seed uint64, n int) (out [][]byte) {
	r := rand.New(rand.NewPCG(seed, 5))
	const w, h, stride = 200, 200, 70
	wide := w + stride*(n-1)
	sheet := image.NewGray(image.Rect(0, 0, wide, h))
	for y := range h {
		for x := range wide {
			v := uint8(80 + r.IntN(90))
			if x > 0 && y > 0 {
				v = uint8((2*int(v) + int(sheet.Pix[y*wide+x-1]) + int(sheet.Pix[(y-1)*wide+x])) / 4)
			}
			sheet.Pix[y*wide+x] = v
		}
	}
	for i := range n {
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, sheet.SubImage(image.Rect(i*stride, 0, i*stride+w, h))))
		out = append(out, b.Bytes())
	}
	return out
}

func TestIngestKeepsGroupsTogether(t *testing.T) {
	s := newShelf(t)
	member := map[string]int{}
	for g := range 6 {
		for i, raw := range crops(t, uint64(g), 3) {
			s.put(fmt.Sprintf("p/%d-%d.png", i, g), raw)
			member[storage.Digest(raw)] = g
		}
	}
	out, doc := s.ingest(s.input())
	require.Equal(t, 6, out.Groups)
	require.Equal(t, 3, out.Holdout, "a whole group, as two are more than a fifth")
	splits, groups := map[int]string{}, map[int]string{}
	for _, image := range doc.Images {
		g := member[image.SHA256]
		if _, seen := splits[g]; seen {
			require.Equal(t, splits[g], image.Split)
			require.Equal(t, groups[g], image.Group)
		}
		splits[g], groups[g] = image.Split, image.Group
	}

	// Other names, another order, another bucket: the same images held out.
	other := newShelf(t)
	for _, image := range doc.Images {
		data, _, err := storage.New(s.source).ReadNamed(t.Context(), image.Key, 1<<20)
		require.NoError(t, err)
		other.put("q/"+image.SHA256[:8], data)
	}
	in := s.input()
	in.Source.Prefix = "q/"
	_, renamed := other.ingest(in)
	require.Equal(t, heldOutOf(doc), heldOutOf(renamed))
}

func heldOutOf(doc ledger.Dataset) (out []string) {
	for _, i := range doc.Images {
		if i.Split == ledger.SplitHoldout {
			out = append(out, i.SHA256+" of "+i.Group)
		}
	}
	slices.Sort(out)
	return out
}

func TestAssignSplits(t *testing.T) {
	make := func(sizes ...int) (images []ledger.DatasetImage) {
		for g, n := range sizes {
			for range n {
				images = append(images, ledger.DatasetImage{Group: fmt.Sprint("g", g)})
			}
		}
		return images
	}
	count := func(images []ledger.DatasetImage) (n int) {
		for _, i := range images {
			if i.Split == ledger.SplitHoldout {
				n++
			}
		}
		return n
	}
	for name, test := range map[string]struct {
		images []ledger.DatasetImage
		share  float64
		want   int
	}{
		"ones":          {make(slices.Repeat([]int{1}, 300)...), 0.2, 60},
		"one group":     {make(100), 0.5, 0},
		"none wanted":   {make(1, 1, 1), 0, 0},
		"large group":   {make(240, 1, 1, 1), 0.2, 3},
		"two halves":    {make(5, 5), 0.5, 5},
		"two of one":    {make(1, 1), 0.5, 1},
		"single":        {make(1), 0.5, 0},
		"ragged groups": {make(7, 7, 7, 7, 7), 0.5, 14},
	} {
		assignSplits(test.images, test.share, 0)
		require.Equal(t, test.want, count(test.images), name)
		for _, i := range test.images {
			require.Contains(t, []string{ledger.SplitTraining, ledger.SplitHoldout}, i.Split)
		}
	}
}

func TestAssignSplitsKeepsSomeForSelection(t *testing.T) {
	images := func() (out []ledger.DatasetImage) {
		for g := range 100 {
			for range 1 + g%3 {
				out = append(out, ledger.DatasetImage{Group: fmt.Sprint("g", g)})
			}
		}
		return out
	}
	held := func(images []ledger.DatasetImage, split string) (out []string) {
		for _, i := range images {
			if i.Split == split {
				out = append(out, i.Group)
			}
		}
		return out
	}
	alone, both := images(), images()
	assignSplits(alone, 0.2, 0)
	assignSplits(both, 0.2, 0.1)
	require.Equal(t, held(alone, ledger.SplitHoldout), held(both, ledger.SplitHoldout), "the hold-out does not depend on the selection")
	require.Len(t, held(both, ledger.SplitSelection), 19)
	require.Subset(t, held(alone, ledger.SplitTraining), held(both, ledger.SplitSelection))
	for _, g := range held(both, ledger.SplitSelection) {
		require.NotContains(t, held(both, ledger.SplitTraining), g, "a group is never divided")
	}
	again := images()
	slices.Reverse(again)
	assignSplits(again, 0.2, 0.1)
	require.ElementsMatch(t, held(both, ledger.SplitSelection), held(again, ledger.SplitSelection), "nor does the order matter")
}

func TestIngestLetsTheGeneratorSeeFew(t *testing.T) {
	s := newShelf(t)
	for i := range 30 {
		s.put(fmt.Sprintf("p/%02d.png", i), metalPNG(t, i))
	}
	in := s.input()
	whole, all := s.ingest(in)
	in.Ingest.MaxImages = 24
	same, _ := s.ingest(in)
	require.Equal(t, whole, same, "no more than are there")
	raw, err := ledger.Datasets.Encode(all)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "left")

	trained := func(doc ledger.Dataset) (out []string) {
		for _, im := range doc.Of(ledger.SplitTraining) {
			out = append(out, im.SHA256)
		}
		return out
	}
	in.Ingest.MaxImages = 10
	ten, doc := s.ingest(in)
	require.Equal(t, [4]int{30, 10, 6, 14}, [4]int{ten.Usable, ten.Training, ten.Holdout, ten.LeftOut})
	require.Equal(t, heldOutOf(all), heldOutOf(doc), "the hold-out stays")
	require.Subset(t, trained(all), trained(doc))
	in.Ingest.MaxImages = 20
	_, twenty := s.ingest(in)
	require.Subset(t, trained(twenty), trained(doc), "more images are these and others")

	made, err := s.preprocessor().Preprocess(t.Context(), step.PreprocessInput{Dataset: ten.Dataset, Source: in.Source})
	require.NoError(t, err)
	require.Equal(t, [3]int{10, 6, 0}, [3]int{made.Training, made.Holdout, made.Selection})
	in.Ingest.MaxImages = -1
	_, err = Ingester{Store: s.store, Sources: s.open}.Ingest(t.Context(), in)
	requirePermanent(t, err, step.ErrBadInput, "ingest.max_images: -1")
}

func TestSets(t *testing.T) {
	s := newSets(6)
	s.join(4, 1)
	s.join(1, 3)
	s.join(0, 5)
	labels := []string{"f", "c", "b", "d", "e", "a"}
	require.Equal(t, []string{"a", "c", "b", "c", "c", "a"}, s.names(func(i int) string { return labels[i] }))
}
