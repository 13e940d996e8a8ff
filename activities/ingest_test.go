package activities

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
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
		{Name: ".DS_Store", Reason: "not an image"}, {Name: "cut.png", Reason: "truncated image"}, {Name: "heavy.png", Reason: "too many bytes: 70000 exceeds 65000 (ingest.max_bytes)"},
		{Name: "huge.png", Reason: "too many pixels: 5000x4000 exceeds 16777216 (ingest.max_pixels)"}, {Name: "notes.txt", Reason: "not an image"}, {Name: "nothing.png", Reason: "empty file"},
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
