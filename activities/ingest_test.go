package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec/spectest"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
)

// shelf is a store and a source bucket in memory.
type shelf struct {
	t      testing.TB
	store  *storage.Store
	source storage.Bucket
}

func newShelf(t testing.TB) shelf {
	return shelf{t, storage.New(memory.New()), memory.New()}
}

func (s shelf) put(key string, data []byte) {
	s.t.Helper()
	_, err := s.source.Put(s.t.Context(), key, bytes.NewReader(data), int64(len(data)), storage.Digest(data), storage.Condition{})
	require.NoError(s.t, err)
}

func (s shelf) open(context.Context, string) (storage.Reader, error) { return s.source, nil }

func (s shelf) input() step.IngestInput {
	in := step.IngestInput{Class: "scratches", Source: step.Source{Bucket: "b", Prefix: "p"}, Ingest: spectest.Quick().Ingest}
	in.Ingest.MinImages = 3
	return in
}

func (s shelf) ingest(in step.IngestInput) (step.IngestResult, ledger.Dataset) {
	s.t.Helper()
	out, err := Ingester{Store: s.store, Sources: s.open}.Ingest(s.t.Context(), in)
	require.NoError(s.t, err)
	doc, err := ledger.Datasets.Read(s.t.Context(), s.store, out.Dataset)
	require.NoError(s.t, err)
	return out, doc
}

func metalPNG(t testing.TB, index int) []byte {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, picture.BrushedMetal(1, index)))
	return b.Bytes()
}

func metalJPEG(t testing.TB, index, quality int) []byte {
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, picture.BrushedMetal(1, index), &jpeg.Options{Quality: quality}))
	return b.Bytes()
}

func TestIngest(t *testing.T) {
	s := newShelf(t)
	for i := range 10 {
		s.put(fmt.Sprintf("p/%02d.png", i), metalPNG(t, i))
	}
	s.put("p/sub/copy.png", metalPNG(t, 3))
	s.put("p/zz.jpg", metalJPEG(t, 4, 90))
	s.put("p/.DS_Store", []byte("\x00\x00\x00\x01Bud1"))
	s.put("p/notes.txt", []byte("hello"))
	s.put("p/nothing.png", nil)
	s.put("p/cut.png", metalPNG(t, 11)[:900])
	s.put("p/folder/", nil)
	s.put("p/", []byte("the prefix itself"))
	s.put("p", []byte("outside"))
	s.put("pp/outside.png", metalPNG(t, 12))
	var huge bytes.Buffer
	require.NoError(t, png.Encode(&huge, image.NewGray(image.Rect(0, 0, 5000, 4000))))
	s.put("p/huge.png", huge.Bytes())
	s.put("p/heavy.png", make([]byte, 70_000))

	in := s.input()
	in.Ingest.MaxBytes = 65_000
	out, doc := s.ingest(in)
	require.Equal(t, []ledger.Quarantined{
		{Name: ".DS_Store", Reason: "not an image"}, {Name: "cut.png", Reason: "truncated image"}, {Name: "heavy.png", Reason: "too many bytes: 70000 exceeds 65000"},
		{Name: "huge.png", Reason: "too many pixels: 5000x4000 exceeds 16777216"}, {Name: "notes.txt", Reason: "not an image"}, {Name: "nothing.png", Reason: "empty file"},
	}, doc.Quarantine)
	require.Equal(t, []ledger.Duplicate{{Name: "sub/copy.png", Of: "03.png", Kind: ledger.DuplicateExact}, {Name: "zz.jpg", Of: "04.png", Kind: ledger.DuplicateNear}}, doc.Duplicates)
	require.Equal(t, step.IngestResult{Dataset: out.Dataset, Found: 18, Usable: 10, Quarantined: 6, Duplicates: 1, NearDuplicates: 1,
		Groups: 10, Training: 8, Holdout: 2}, out)
	require.Equal(t, "scratches", doc.Class)
	require.Equal(t, ledger.GroupedByOverlap, doc.Grouping)
	require.Len(t, doc.Images, 10)
	for i, image := range doc.Images {
		raw := metalPNG(t, i)
		require.Equal(t, fmt.Sprintf("%02d.png", i), image.Name)
		require.Equal(t, "p/"+image.Name, image.Key)
		require.Equal(t, storage.Digest(raw), image.SHA256)
		require.Equal(t, storage.Digest(raw), image.Group)
		require.Equal(t, int64(len(raw)), image.Size)
		require.Equal(t, [2]int{200, 200}, [2]int{image.Width, image.Height})
		require.Equal(t, "png", image.Encoding)
		require.Len(t, image.PHash, 16)
	}
	again, _ := s.ingest(in)
	require.Equal(t, out, again, "the same objects give the same manifest")
}

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

func TestSplit(t *testing.T) {
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

func TestSplitKeepsSomeForSelection(t *testing.T) {
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

func TestIngestTooFewImages(t *testing.T) {
	s := newShelf(t)
	_, err := Ingester{Store: s.store, Sources: s.open}.Ingest(t.Context(), s.input())
	requirePermanent(t, err, step.ErrTooFewImages, "nothing found below s3://b/p/")

	s.put("p/a.png", metalPNG(t, 1))
	s.put("p/b.png", metalPNG(t, 1))
	s.put("p/x.txt", []byte("x"))
	s.put("p/y.txt", []byte("y"))
	_, err = Ingester{Store: s.store, Sources: s.open}.Ingest(t.Context(), s.input())
	requirePermanent(t, err, step.ErrTooFewImages, "too few images: 1 usable of 4 found below s3://b/p/; left out: 2 not an image, "+
		"1 exact duplicate; add images (at least 3 are needed) or lower ingest.min_images")
}

func requirePermanent(t testing.TB, err error, kind, text string) {
	t.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, kind, app.Type())
	require.True(t, app.NonRetryable())
	require.ErrorContains(t, err, text)
}

func TestIngestRefusesBadInput(t *testing.T) {
	s := newShelf(t)
	for text, change := range map[string]func(*step.IngestInput){
		"class is empty":         func(in *step.IngestInput) { in.Class = "" },
		"source.bucket is empty": func(in *step.IngestInput) { in.Source.Bucket = "" },
		"max_bytes: 0":           func(in *step.IngestInput) { in.Ingest.MaxBytes = 0 },
		"holdout_share: 0.6":     func(in *step.IngestInput) { in.Ingest.HoldoutShare = 0.6 },
	} {
		in := s.input()
		change(&in)
		_, err := Ingester{Store: s.store, Sources: s.open}.Ingest(t.Context(), in)
		requirePermanent(t, err, step.ErrBadInput, text)
	}
}

// faulty fails on some keys, as a store does that is down for a moment.
type faulty struct {
	storage.Bucket
	get, list error
	after     int // objects listed before list fails
}

func (f faulty) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	if f.get != nil && strings.HasSuffix(key, "2.png") {
		return nil, storage.Info{}, f.get
	}
	return f.Bucket.Get(ctx, key)
}

func (f faulty) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		n := 0
		for info, err := range f.Bucket.List(ctx, prefix) {
			if n == f.after && f.list != nil {
				yield(storage.Info{}, f.list)
				return
			}
			n++
			if !yield(info, err) {
				return
			}
		}
	}
}

func TestIngestPassesStoreFailuresOn(t *testing.T) {
	s := newShelf(t)
	for i := range 5 {
		s.put(fmt.Sprintf("p/%d.png", i), metalPNG(t, i))
	}
	down := errors.New("connection reset")
	for _, b := range []storage.Bucket{faulty{Bucket: s.source, get: down}, faulty{Bucket: s.source, list: down, after: 3}} {
		g := Ingester{Store: s.store, Sources: func(context.Context, string) (storage.Reader, error) { return b, nil }}
		_, err := g.Ingest(t.Context(), s.input())
		require.ErrorIs(t, err, down)
		var app *temporal.ApplicationError
		require.False(t, errors.As(typed(err), &app), "it may be tried again")
	}
	ctx, cancel := context.WithCancel(t.Context())
	g := Ingester{Store: s.store, Sources: s.open, Progress: func(int, int) { cancel() }}
	_, err := g.Ingest(ctx, s.input())
	require.ErrorIs(t, err, context.Canceled)
}

// endless lists many objects, all of which are the same few bytes.
type endless struct {
	storage.Bucket
	n int
}

func (e endless) List(context.Context, string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for i := range e.n {
			if !yield(storage.Info{Key: fmt.Sprintf("p/%06d.png", i), Size: 4}, nil) {
				return
			}
		}
	}
}

func (e endless) Get(context.Context, string) (io.ReadCloser, storage.Info, error) {
	return io.NopCloser(strings.NewReader("none")), storage.Info{Size: 4}, nil
}

func TestIngestStreamsLongListings(t *testing.T) {
	s := newShelf(t)
	g := Ingester{Store: s.store, Sources: func(context.Context, string) (storage.Reader, error) { return endless{n: 100_000}, nil }}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	g.Progress = func(done, _ int) {
		if done%10_000 == 0 {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}
	in := s.input()
	in.Ingest.MinImages = 0
	out, err := g.Ingest(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 100_000, out.Quarantined)
	require.Less(t, most, before.HeapAlloc+100<<20, "bytes on the heap, at most")
}

func TestSets(t *testing.T) {
	s := newSets(6)
	s.join(4, 1)
	s.join(1, 3)
	s.join(0, 5)
	labels := []string{"f", "c", "b", "d", "e", "a"}
	require.Equal(t, []string{"a", "c", "b", "c", "c", "a"}, s.names(func(i int) string { return labels[i] }))
}

// shared finds the folder of test data beside the module, or skips the test.
func shared(t testing.TB, parts ...string) string {
	t.Helper()
	root := os.Getenv("DEFECTFORGE_SHARED")
	for dir := ".."; root == ""; dir = filepath.Join("..", dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			root = filepath.Join(dir, "..", "shared")
		}
		require.Less(t, len(dir), 60, "no go.mod above")
	}
	path := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" && os.Getenv("DEFECTFORGE_REQUIRE_SHARED") == "1" {
			t.Fatalf("%s is required here: %v", path, err)
		}
		t.Skipf("test data %s is not there; set DEFECTFORGE_SHARED to the folder that holds neu", path)
	}
	return path
}

// TestIngestSteel pins what the default distances make of real images: the one
// known duplicate is found, nothing else is dropped, overlapping crops of one
// strip (scratches 3 to 10 and many more) are grouped and do not all chain up.
func TestIngestSteel(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 1,200 images")
	}
	for class, want := range map[string]struct{ duplicates, leastGroups, mostGroups, largest int }{
		"scratches":       {0, 85, 115, 90},
		"crazing":         {0, 165, 190, 15},
		"patches":         {1, 235, 255, 10},
		"rolled-in_scale": {0, 170, 195, 15},
	} {
		folder := shared(t, "neu", class)
		s := newShelf(t)
		files, err := os.ReadDir(folder)
		require.NoError(t, err)
		for _, f := range files {
			raw, err := os.ReadFile(filepath.Join(folder, f.Name()))
			require.NoError(t, err)
			s.put("p/"+f.Name(), raw)
		}
		in := s.input()
		in.Class = class
		in.Ingest = spectest.Quick().Ingest
		out, doc := s.ingest(in)
		sizes, of := map[string]int{}, map[string]string{}
		largest := 0
		for _, i := range doc.Images {
			sizes[i.Group]++
			largest = max(largest, sizes[i.Group])
			of[i.Name] = i.Group
		}
		t.Logf("%s: %d images, %d groups, largest %d, held out %d", class, out.Usable, out.Groups, largest, out.Holdout)
		require.Equal(t, want.duplicates, out.Duplicates, class)
		require.Zero(t, out.NearDuplicates, class)
		require.Empty(t, doc.Quarantine)
		require.Equal(t, (300-want.duplicates)/5, out.Holdout, class)
		require.True(t, want.leastGroups <= out.Groups && out.Groups <= want.mostGroups, "%s: %d groups", class, out.Groups)
		require.LessOrEqual(t, largest, want.largest, class)
		switch class {
		case "scratches":
			for i := 4; i <= 7; i++ {
				require.Equal(t, of["scratches_4.jpg"], of[fmt.Sprintf("scratches_%d.jpg", i)], "scratches_%d", i)
			}
			for i := 8; i <= 11; i++ {
				require.Equal(t, of["scratches_8.jpg"], of[fmt.Sprintf("scratches_%d.jpg", i)], "scratches_%d", i)
			}
		case "patches":
			require.Equal(t, []ledger.Duplicate{{Name: "patches_105.jpg", Of: "patches_101.jpg", Kind: ledger.DuplicateExact}}, doc.Duplicates)
		}
	}
}
