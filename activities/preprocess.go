package activities

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// shardImages bounds a shard to 24 MiB.
const shardImages = 512

// tensorMemo is where the tensors of a data set are remembered. The number in the
// inputs counted versions before Memo did.
func tensorMemo(dataset string, frame spec.Framing) ledger.Memo[step.PreprocessResult] {
	return ledger.Memo[step.PreprocessResult]{
		Stage: "preprocess", Version: 1,
		Inputs: struct {
			Version int          `json:"version"`
			Dataset string       `json:"dataset"`
			Frame   spec.Framing `json:"frame,omitzero"`
		}{1, dataset, frame},
		Refs: func(ctx context.Context, s *storage.Store, r step.PreprocessResult) ([]step.Ref, error) {
			index, err := ledger.Tensors.Read(ctx, s, r.Tensors)
			if err == nil && index.Dataset != dataset {
				err = fmt.Errorf("%w: tensors of data set %s", ledger.ErrFormat, index.Dataset)
			}
			refs := []step.Ref{r.Tensors}
			for _, shard := range index.Shards {
				refs = append(refs, shard.Ref)
			}
			return refs, err
		},
	}
}

// Preprocessor makes tensors of a data set's images.
type Preprocessor struct {
	Store   *storage.Store
	Sources func(ctx context.Context, bucket string) (storage.Reader, error)
	// Progress, if set, is called with the images done.
	Progress func(done, total int)
}

// Preprocess crops and resizes every image of the manifest to 128x128 and
// stores them as shards, first those for training, then those held out, then
// those kept for selection, with an index of the shards. A data set that was
// preprocessed before is found, not done again. An image that is no longer the
// one in the manifest is a permanent failure.
func (p Preprocessor) Preprocess(ctx context.Context, in step.PreprocessInput) (step.PreprocessResult, error) {
	memo := tensorMemo(in.Dataset.SHA256, in.Frame)
	out, found, err := memo.Do(ctx, p.Store, in.Refresh, func() (step.PreprocessResult, error) {
		return p.tensors(ctx, in)
	})
	if err == nil && out.Coloured == nil { // remembered before colours were counted
		if out.Coloured, err = p.coloured(ctx, out.Tensors); err == nil {
			err = memo.Remember(ctx, p.Store, out)
		}
	}
	out.Cached = found
	return out, err
}

// coloured counts the images with a colour in stored tensors.
func (p Preprocessor) coloured(ctx context.Context, tensors step.Ref) (*int, error) {
	index, err := ledger.Tensors.Read(ctx, p.Store, tensors)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, shard := range index.Shards {
		raw, err := p.Store.Read(ctx, storage.Object(shard.Ref), shard.Ref.Size)
		if err != nil {
			return nil, fmt.Errorf("read shard %s: %w", shard.Ref.Key, err)
		}
		rows, err := shard.Pixels(raw)
		if err != nil {
			return nil, fmt.Errorf("shard %s: %w", shard.Ref.Key, err)
		}
		n += countColoured(rows)
	}
	return &n, nil
}

// countColoured counts those of images (n,3,128,128) that are not grey.
func countColoured(images []uint8) int {
	n := 0
	for image := range slices.Chunk(images, spec.ImageLen) {
		if !picture.Grey(image) {
			n++
		}
	}
	return n
}

// tensors makes the shards and their index.
func (p Preprocessor) tensors(ctx context.Context, in step.PreprocessInput) (step.PreprocessResult, error) {
	dataset, err := ledger.Datasets.Read(ctx, p.Store, in.Dataset)
	if err != nil {
		return step.PreprocessResult{}, err
	}
	bucket, err := p.Sources(ctx, in.Source.Bucket)
	if err != nil {
		return step.PreprocessResult{}, fmt.Errorf("open source bucket %q: %w", in.Source.Bucket, err)
	}
	m := shardMaker{
		store: p.Store, source: storage.ViewOf(bucket), decoder: newDecoder(picture.Limits{}), progress: p.Progress,
		levels: dataset.Levels, frame: in.Frame,
	}
	out := step.PreprocessResult{
		Training: m.rows(dataset.Of(ledger.SplitTraining)), Holdout: m.rows(dataset.Of(ledger.SplitHoldout)),
		Selection: m.rows(dataset.Of(ledger.SplitSelection)),
	}
	m.total = out.Training + out.Holdout + out.Selection
	index := ledger.TensorIndex{Dataset: in.Dataset.SHA256, Shape: []int{spec.Channels, spec.Size, spec.Size}, Frame: in.Frame}
	if index.Shards, err = m.all(ctx, dataset); err != nil {
		return step.PreprocessResult{}, err
	}
	out.Coloured = &m.coloured
	if out.Tensors, err = ledger.Tensors.Put(ctx, p.Store, index); err != nil {
		return step.PreprocessResult{}, fmt.Errorf("store tensor index: %w", err)
	}
	return out, nil
}

// shardMaker reads images and writes shards of them.
type shardMaker struct {
	store    *storage.Store
	source   storage.View
	decoder  decoder
	progress func(done, total int)
	total    int
	levels   int // of the data set
	frame    spec.Framing
	file     bytes.Buffer // of the shard that is being stored

	mu       sync.Mutex
	done     int // rows
	coloured int // of the rows done, those that are not grey
}

// part is some of the frames of one image, n from first on.
type part struct {
	image    ledger.DatasetImage
	first, n int
}

// frames is how many rows an image gives.
func (m *shardMaker) frames(image ledger.DatasetImage) int {
	if m.frame.Frame != spec.FrameTiles {
		return 1
	}
	return picture.Tiling{Tile: m.frame.Tile, Stride: m.frame.Stride}.Count(image.Width, image.Height)
}

// rows is how many rows images give.
func (m *shardMaker) rows(images []ledger.DatasetImage) (n int) {
	for _, image := range images {
		n += m.frames(image)
	}
	return n
}

// parts divides images into lists of at most shardImages rows.
func (m *shardMaker) parts(images []ledger.DatasetImage) (lists [][]part) {
	room := 0
	for _, image := range images {
		for first, left := 0, m.frames(image); left > 0; {
			if room == 0 {
				lists, room = append(lists, nil), shardImages
			}
			n := min(left, room)
			last := &lists[len(lists)-1]
			*last = append(*last, part{image, first, n})
			first, left, room = first+n, left-n, room-n
		}
	}
	return lists
}

// all makes the shards of every split. While one is stored, the images of the next
// are decoded, side by side; no more than two shards are in memory.
func (m *shardMaker) all(ctx context.Context, dataset ledger.Dataset) ([]ledger.Shard, error) {
	var shards []ledger.Shard
	var lists [][]part
	for _, split := range []string{ledger.SplitTraining, ledger.SplitHoldout, ledger.SplitSelection} {
		for _, parts := range m.parts(dataset.Of(split)) {
			shards, lists = append(shards, ledger.Shard{Split: split}), append(lists, parts)
		}
	}
	storing, sctx := errgroup.WithContext(ctx)
	storing.SetLimit(1)
	var memory [2][]uint8
	var err error
	for i, parts := range lists {
		var rows []uint8
		if rows, err = m.decode(sctx, memory[i%2], parts); err != nil {
			break
		}
		memory[i%2] = rows
		storing.Go(func() error { return m.put(sctx, &shards[i], rows, parts) })
	}
	// A shard that can't be stored ends the decoding of the next one.
	if err := cmp.Or(storing.Wait(), err); err != nil {
		return nil, err
	}
	return shards, nil
}

// decode reads images into rows of memory, or of new memory where that is too
// small.
func (m *shardMaker) decode(ctx context.Context, memory []uint8, parts []part) ([]uint8, error) {
	n := 0
	for _, p := range parts {
		n += p.n
	}
	rows := slices.Grow(memory[:0], n*spec.ImageLen)[:n*spec.ImageLen]
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers())
	left := rows
	for _, p := range parts {
		dst := left[:p.n*spec.ImageLen]
		left = left[len(dst):]
		group.Go(func() error { return m.read(ctx, dst, p) })
	}
	return rows, group.Wait()
}

// put stores one shard with the parts as its rows.
func (m *shardMaker) put(ctx context.Context, shard *ledger.Shard, rows []uint8, parts []part) error {
	m.file.Reset()
	m.file.Grow(len(rows) + 4096)
	err := ledger.WriteShard(&m.file, rows)
	if err != nil {
		return fmt.Errorf("encode shard: %w", err)
	}
	obj, err := m.store.PutArtifact(ctx, m.file.Bytes(), ".safetensors")
	if err != nil {
		return fmt.Errorf("store shard: %w", err)
	}
	shard.Ref = step.Ref(obj)
	for _, p := range parts {
		shard.Images = append(shard.Images, slices.Repeat([]string{p.image.SHA256}, p.n)...)
	}
	return nil
}

// read reads some frames of an image, which must be the one of the manifest, into dst.
func (m *shardMaker) read(ctx context.Context, dst []uint8, p part) error {
	want := p.image
	data, err := m.source.Read(ctx, storage.Object{Key: want.Key, SHA256: want.SHA256, Size: want.Size}, want.Size)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return ledger.Permanent(step.ErrBadInput,
			"image %s has gone since it was ingested: %w; run again to ingest what is there now", want.Key, err)
	case errors.Is(err, storage.ErrCorrupt):
		return ledger.Permanent(step.ErrBadInput,
			"image %s has changed since it was ingested: %w; run again to ingest what is there now", want.Key, err)
	case err != nil:
		return fmt.Errorf("read image: %w", err)
	}
	limits := picture.Limits{MaxPixels: int64(want.Width) * int64(want.Height), Levels: m.levels}
	_, err = m.decoder.decode(ctx, data, limits, func(img *image.RGBA) error {
		for k := range p.n {
			copy(dst[k*spec.ImageLen:], m.framed(img, p.first+k))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("decode %s: %w", want.Key, err)
	}
	coloured := countColoured(dst)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += p.n
	m.coloured += coloured
	if m.progress != nil {
		m.progress(m.done, m.total)
	}
	return nil
}

// framed is what is taken of an image, of tiles the k-th.
func (m *shardMaker) framed(img *image.RGBA, k int) []uint8 {
	switch m.frame.Frame {
	case spec.FramePad:
		return picture.Pad(img, spec.Size)
	case spec.FrameStretch:
		return picture.Stretch(img, spec.Size)
	case spec.FrameTiles:
		return picture.Tiling{Tile: m.frame.Tile, Stride: m.frame.Stride}.Square(img, k, spec.Size)
	}
	return picture.Square(img, spec.Size)
}
