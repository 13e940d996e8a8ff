package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// metals puts n pictures into the source and ingests them.
func (s shelf) metals(n int) (step.PreprocessInput, ledger.Dataset) {
	s.t.Helper()
	for i := range n {
		s.put(fmt.Sprintf("p/%02d.png", i), metalPNG(s.t, i))
	}
	out, doc := s.ingest(s.input())
	return step.PreprocessInput{Dataset: out.Dataset, Source: s.input().Source}, doc
}

func (s shelf) preprocessor() Preprocessor { return Preprocessor{Store: s.store, Sources: s.open} }

// rows reads every shard's images, by the source's SHA-256.
func (s shelf) rows(index ledger.TensorIndex) map[string][]uint8 {
	s.t.Helper()
	out := map[string][]uint8{}
	for _, shard := range index.Shards {
		raw, err := s.store.Read(s.t.Context(), storage.Object(shard.Ref), 1<<30)
		require.NoError(s.t, err)
		tensors, _, err := checkpoint.Read(bytes.NewReader(raw), int64(len(raw)), checkpoint.Limits{})
		require.NoError(s.t, err)
		require.Len(s.t, tensors, 1)
		require.Equal(s.t, "images", tensors[0].Name)
		require.Equal(s.t, []int{len(shard.Images), 3, 128, 128}, tensors[0].Shape)
		pixels := tensors[0].Data.([]uint8)
		for i, digest := range shard.Images {
			out[digest] = pixels[i*spec.ImageLen : (i+1)*spec.ImageLen]
		}
	}
	return out
}

func TestPreprocess(t *testing.T) {
	s := newShelf(t)
	in, dataset := s.metals(12)
	last := 0
	p := s.preprocessor()
	p.Progress = func(done, total int) {
		require.Equal(t, 12, total)
		require.Equal(t, last+1, done)
		last = done
	}
	out, err := p.Preprocess(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 12, last)
	require.Equal(t, step.PreprocessResult{Tensors: out.Tensors, Training: 10, Holdout: 2, Coloured: new(int)}, out)

	index, err := ledger.Tensors.Read(t.Context(), s.store, out.Tensors)
	require.NoError(t, err)
	require.Equal(t, in.Dataset.SHA256, index.Dataset)
	require.Equal(t, []int{3, 128, 128}, index.Shape)
	require.Len(t, index.Shards, 2)
	var want [2][]string
	for _, i := range dataset.Images {
		side := 0
		if i.Split == ledger.SplitHoldout {
			side = 1
		}
		want[side] = append(want[side], i.SHA256)
	}
	require.Equal(t, []string{ledger.SplitTraining, ledger.SplitHoldout}, []string{index.Shards[0].Split, index.Shards[1].Split})
	require.Equal(t, want, [2][]string{index.Shards[0].Images, index.Shards[1].Images}, "in the manifest's order")

	rows := s.rows(index)
	for i := range 12 {
		raw := metalPNG(t, i)
		img, _, err := picture.Decode(raw, picture.Limits{})
		require.NoError(t, err)
		require.Equal(t, picture.Square(img, 128), rows[storage.Digest(raw)], "picture %d", i)
	}
}

// deaf fails every read, to prove that nothing is read.
type deaf struct{ storage.Bucket }

func (deaf) Get(context.Context, string) (io.ReadCloser, storage.Info, error) {
	return nil, storage.Info{}, errors.New("must not be read")
}

func TestPreprocessFindsWhatWasDone(t *testing.T) {
	s := newShelf(t)
	in, _ := s.metals(6)
	first, err := s.preprocessor().Preprocess(t.Context(), in)
	require.NoError(t, err)
	require.False(t, first.Cached)

	p := s.preprocessor()
	p.Sources = func(context.Context, string) (storage.Reader, error) { return deaf{s.source}, nil }
	again, err := p.Preprocess(t.Context(), in)
	require.NoError(t, err)
	require.True(t, again.Cached)
	again.Cached = false
	require.Equal(t, first, again)

	// Whatever of it is lost or damaged, it is made anew, and the same.
	index, err := ledger.Tensors.Read(t.Context(), s.store, first.Tensors)
	require.NoError(t, err)
	for _, key := range []string{index.Shards[0].Ref.Key, index.Shards[1].Ref.Key, first.Tensors.Key} {
		require.NoError(t, s.store.Bucket().Delete(t.Context(), key))
		redone, err := s.preprocessor().Preprocess(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, first, redone, "without %s", key)
	}
	_, err = s.store.PutNamed(t.Context(), first.Tensors.Key, []byte("{}"))
	require.NoError(t, err)
	redone, err := s.preprocessor().Preprocess(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, first, redone)

	s.put("p/more.png", metalPNG(t, 50))
	more, _ := s.ingest(s.input())
	other, err := s.preprocessor().Preprocess(t.Context(), step.PreprocessInput{Dataset: more.Dataset, Source: in.Source})
	require.NoError(t, err)
	require.False(t, other.Cached)
	require.NotEqual(t, first.Tensors, other.Tensors)
}

// One image with a colour is enough for three channels. What a version remembered
// that did not count them is counted once, without the images.
func TestPreprocessCountsColours(t *testing.T) {
	s := newShelf(t)
	in, _ := s.metals(6)
	out, err := s.preprocessor().Preprocess(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, spec.Images{Training: 5, Grey: true}, out.Images())

	orange := image.NewRGBA(image.Rect(0, 0, 130, 130))
	for i := range orange.Pix {
		orange.Pix[i] = []uint8{uint8(200 + i%40), 120, 40, 255}[i%4]
	}
	var raw bytes.Buffer
	require.NoError(t, png.Encode(&raw, orange))
	s.put("p/orange.png", raw.Bytes())
	more, _ := s.ingest(s.input())
	in.Dataset = more.Dataset
	first, err := s.preprocessor().Preprocess(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 1, *first.Coloured)
	require.False(t, first.Images().Grey)

	before := first
	before.Coloured = nil
	require.NoError(t, tensorMemo(in.Dataset.SHA256, spec.Framing{}).Remember(t.Context(), s.store, before))
	p := s.preprocessor()
	p.Sources = func(context.Context, string) (storage.Reader, error) { return deaf{s.source}, nil }
	again, err := p.Preprocess(t.Context(), in)
	require.NoError(t, err)
	first.Cached = true
	require.Equal(t, first, again)
	known, found, err := tensorMemo(in.Dataset.SHA256, spec.Framing{}).Look(t.Context(), s.store)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, 1, *known.Coloured, "remembered from now on")
}

func TestPreprocessNoticesChanges(t *testing.T) {
	s := newShelf(t)
	in, _ := s.metals(4)
	s.put("p/02.png", metalPNG(t, 60))
	_, err := s.preprocessor().Preprocess(t.Context(), in)
	requirePermanent(t, err, step.ErrBadInput, "image p/02.png has changed since it was ingested")
	same := metalPNG(t, 2)
	same[len(same)-1] ^= 1
	s.put("p/02.png", same)
	_, err = s.preprocessor().Preprocess(t.Context(), in)
	requirePermanent(t, err, step.ErrBadInput, "image p/02.png has changed since it was ingested")
	require.NoError(t, s.source.Delete(t.Context(), "p/02.png"))
	_, err = s.preprocessor().Preprocess(t.Context(), in)
	requirePermanent(t, err, step.ErrBadInput, "image p/02.png has gone since it was ingested")

	s.put("p/02.png", metalPNG(t, 2))
	down := errors.New("connection reset")
	p := s.preprocessor()
	p.Sources = func(context.Context, string) (storage.Reader, error) { return faulty{Bucket: s.source, get: down}, nil }
	_, err = p.Preprocess(t.Context(), in)
	require.ErrorIs(t, err, down)
	_, err = s.preprocessor().Preprocess(t.Context(), in)
	require.NoError(t, err)
}

// small puts n pictures of 8x8 into the source and makes a data set of them.
func (s shelf) small(n int) step.PreprocessInput {
	s.t.Helper()
	doc := ledger.Dataset{Class: "c"}
	img := image.NewRGBA(image.Rect(0, 0, 8, 8))
	for i := range n {
		img.Pix[0], img.Pix[1] = uint8(i), uint8(i>>8)
		img.Pix[3] = 255
		chw := picture.Square(img, 8)
		raw, err := picture.EncodePNG(chw)
		require.NoError(s.t, err)
		key := fmt.Sprintf("p/%04d", i)
		s.put(key, raw)
		doc.Images = append(doc.Images, ledger.DatasetImage{Name: key, Key: key, SHA256: storage.Digest(raw), Size: int64(len(raw)),
			Width: 8, Height: 8, Split: ledger.SplitTraining})
	}
	raw, err := ledger.Datasets.Encode(doc)
	require.NoError(s.t, err)
	obj, err := s.store.PutArtifact(s.t.Context(), raw, ".json")
	require.NoError(s.t, err)
	return step.PreprocessInput{Dataset: step.Ref(obj), Source: s.input().Source}
}

// TestPreprocessShards splits a set that is larger than a shard.
func TestPreprocessShards(t *testing.T) {
	s := newShelf(t)
	const n = shardImages + 3
	out, err := s.preprocessor().Preprocess(t.Context(), s.small(n))
	require.NoError(t, err)
	require.Equal(t, [2]int{n, 0}, [2]int{out.Training, out.Holdout})
	index, err := ledger.Tensors.Read(t.Context(), s.store, out.Tensors)
	require.NoError(t, err)
	require.Len(t, index.Shards, 2)
	require.Len(t, index.Shards[0].Images, shardImages)
	require.Len(t, s.rows(index), n)
}

// TestPreprocessStreams: the images of the next shard are read while one is
// stored, those of the one after that are not, and images are read side by side.
func TestPreprocessStreams(t *testing.T) {
	s := newShelf(t)
	in := s.small(2*shardImages + 1)
	var read, reading, most, shards atomic.Int64
	source := &hooked{Bucket: s.source, before: func(op, _ string) error {
		most.Store(max(most.Load(), reading.Add(1)))
		time.Sleep(100 * time.Microsecond)
		reading.Add(-1)
		read.Add(1)
		return nil
	}}
	store := &hooked{Bucket: s.store.Bucket(), before: func(op, key string) error {
		if op != "put" || !strings.HasSuffix(key, ".safetensors") || shards.Add(1) > 1 {
			return nil
		}
		for deadline := time.Now().Add(time.Minute); read.Load() < 2*shardImages; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return errors.New("the next images are not read while a shard is stored")
			}
		}
		time.Sleep(50 * time.Millisecond)
		if n := read.Load(); n != 2*shardImages {
			return fmt.Errorf("%d images are read while the first shard is stored", n)
		}
		return nil
	}}
	p := Preprocessor{Store: storage.New(store), Sources: func(context.Context, string) (storage.Reader, error) { return source, nil }}
	out, err := p.Preprocess(t.Context(), in)
	require.NoError(t, err)
	require.EqualValues(t, 3, shards.Load())
	require.Greater(t, most.Load(), int64(1))
	require.LessOrEqual(t, most.Load(), int64(readers()))
	index, err := ledger.Tensors.Read(t.Context(), s.store, out.Tensors)
	require.NoError(t, err)
	require.Len(t, s.rows(index), 2*shardImages+1)
}
