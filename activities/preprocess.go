package activities

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

const (
	preprocessStage = "preprocess"
	// preprocessVersion goes up whenever the same images give other tensors.
	preprocessVersion = 1
	// shardImages bounds a shard to 24 MiB.
	shardImages = 512
)

// Preprocessor makes tensors of a data set's images.
type Preprocessor struct {
	Store   *storage.Store
	Sources func(ctx context.Context, bucket string) (storage.Bucket, error)
	// Progress, if set, is told the images done.
	Progress func(done, total int)
}

// Preprocess crops and resizes every image of the manifest to 128x128 and
// stores them as shards, first those for training, then those held out, then
// those kept for selection, with an index of the shards. A data set that was preprocessed before is found, not
// done again. An image that is not the one of the manifest any more is a
// permanent failure.
func (p Preprocessor) Preprocess(ctx context.Context, in step.PreprocessInput) (step.PreprocessResult, error) {
	fingerprint := spec.Digest(struct {
		Version int    `json:"version"`
		Dataset string `json:"dataset"`
	}{preprocessVersion, in.Dataset.SHA256})
	if known, ok, err := p.recall(ctx, fingerprint, in.Dataset.SHA256); err != nil || ok {
		return known, err
	}
	dataset, err := readDocument(ctx, p.Store, in.Dataset, DecodeDataset)
	if err != nil {
		return step.PreprocessResult{}, err
	}
	bucket, err := p.Sources(ctx, in.Source.Bucket)
	if err != nil {
		return step.PreprocessResult{}, fmt.Errorf("open source bucket %q: %w", in.Source.Bucket, err)
	}
	m := shardMaker{store: p.Store, source: storage.New(bucket), decoder: newDecoder(picture.Limits{}), progress: p.Progress}
	index := TensorIndex{Dataset: in.Dataset.SHA256, Shape: []int{spec.Channels, spec.Size, spec.Size}}
	out := step.PreprocessResult{
		Training:  len(ofSplit(dataset.Images, SplitTraining)),
		Holdout:   len(ofSplit(dataset.Images, SplitHoldout)),
		Selection: len(ofSplit(dataset.Images, SplitSelection)),
	}
	m.total = out.Training + out.Holdout + out.Selection
	for _, split := range []string{SplitTraining, SplitHoldout, SplitSelection} {
		images := ofSplit(dataset.Images, split)
		for from := 0; from < len(images); from += shardImages {
			shard, err := m.make(ctx, images[from:min(from+shardImages, len(images))], split)
			if err != nil {
				return step.PreprocessResult{}, err
			}
			index.Shards = append(index.Shards, shard)
		}
	}
	raw, err := index.Encode()
	if err != nil {
		return step.PreprocessResult{}, err
	}
	obj, err := p.Store.PutArtifact(ctx, raw, ".json")
	if err != nil {
		return step.PreprocessResult{}, fmt.Errorf("store tensor index: %w", err)
	}
	out.Tensors = step.Ref(obj)
	if err := p.Store.Remember(ctx, preprocessStage, fingerprint, out); err != nil {
		return step.PreprocessResult{}, err
	}
	return out, nil
}

// recall finds what was made of the data set before, if all of it still exists.
func (p Preprocessor) recall(ctx context.Context, fingerprint, dataset string) (step.PreprocessResult, bool, error) {
	var known step.PreprocessResult
	ok, err := p.Store.Recall(ctx, preprocessStage, fingerprint, &known)
	if err != nil || !ok {
		return step.PreprocessResult{}, false, err
	}
	index, err := readDocument(ctx, p.Store, known.Tensors, DecodeTensorIndex)
	if err == nil && index.Dataset != dataset {
		err = ErrFormat
	}
	for _, shard := range index.Shards {
		if err != nil {
			break
		}
		var info storage.Info
		info, err = p.Store.Bucket().Stat(ctx, shard.Ref.Key)
		if err == nil && info.Size != shard.Ref.Size {
			err = storage.ErrCorrupt
		}
	}
	switch {
	case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrCorrupt), errors.Is(err, ErrFormat):
		return step.PreprocessResult{}, false, nil // it is made anew
	case err != nil:
		return step.PreprocessResult{}, false, fmt.Errorf("look for tensors: %w", err)
	}
	known.Cached = true
	return known, true, nil
}

func ofSplit(images []DatasetImage, split string) []DatasetImage {
	var out []DatasetImage
	for _, i := range images {
		if i.Split == split {
			out = append(out, i)
		}
	}
	return out
}

// shardMaker reads images and writes shards of them.
type shardMaker struct {
	store    *storage.Store
	source   *storage.Store
	decoder  decoder
	progress func(done, total int)
	total    int

	mu   sync.Mutex
	done int
}

// make writes one shard with the images as its rows.
func (m *shardMaker) make(ctx context.Context, images []DatasetImage, split string) (Shard, error) {
	rows := make([]uint8, len(images)*spec.ImageLen)
	digests := make([]string, len(images))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(readers())
	for i, image := range images {
		digests[i] = image.SHA256
		group.Go(func() error { return m.row(gctx, rows[i*spec.ImageLen:(i+1)*spec.ImageLen], image) })
	}
	if err := group.Wait(); err != nil {
		return Shard{}, err
	}
	var file bytes.Buffer
	err := checkpoint.Write(&file, nil, []checkpoint.Tensor{{
		Name: "images", DType: checkpoint.U8, Shape: []int{len(images), spec.Channels, spec.Size, spec.Size}, Data: rows,
	}})
	if err != nil {
		return Shard{}, fmt.Errorf("encode shard: %w", err)
	}
	obj, err := m.store.PutArtifact(ctx, file.Bytes(), ".safetensors")
	if err != nil {
		return Shard{}, fmt.Errorf("store shard: %w", err)
	}
	return Shard{Ref: step.Ref(obj), Split: split, Images: digests}, nil
}

// row reads one image, which must be the one of the manifest, into dst.
func (m *shardMaker) row(ctx context.Context, dst []uint8, want DatasetImage) error {
	data, err := m.source.Read(ctx, storage.Object{Key: want.Key, SHA256: want.SHA256, Size: want.Size}, want.Size)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return permanent(step.ErrBadInput, "image %s has gone since it was ingested: %w; run again to ingest what is there now", want.Key, err)
	case errors.Is(err, storage.ErrCorrupt):
		return permanent(step.ErrBadInput, "image %s has changed since it was ingested: %w; run again to ingest what is there now", want.Key, err)
	case err != nil:
		return fmt.Errorf("read image: %w", err)
	}
	limits := picture.Limits{MaxPixels: int64(want.Width) * int64(want.Height)}
	_, err = m.decoder.decode(ctx, data, limits, func(img *image.RGBA) error {
		copy(dst, picture.Square(img, spec.Size))
		return nil
	})
	if err != nil {
		return fmt.Errorf("decode %s: %w", want.Key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done++
	if m.progress != nil {
		m.progress(m.done, m.total)
	}
	return nil
}
