package activities

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// maxDocument bounds the JSON documents that are read whole.
const maxDocument = 1 << 30

// readDocument reads and decodes one of the stages' documents.
func readDocument[T any](ctx context.Context, s *storage.Store, ref step.Ref, decode func([]byte) (T, error)) (T, error) {
	var doc T
	raw, err := s.Read(ctx, storage.Object(ref), maxDocument)
	if err != nil {
		return doc, fmt.Errorf("read %s: %w", ref.Key, err)
	}
	if doc, err = decode(raw); err != nil {
		return doc, fmt.Errorf("read %s: %w", ref.Key, err)
	}
	return doc, nil
}

// images are the rows of a tensor index's shards, kept in files, so that
// memory does not grow with the data set.
type images struct {
	shards []shardFile
	n      int
}

type shardFile struct {
	file  *os.File
	first int   // row number of the shard's first image
	data  int64 // offset of the first image's bytes
}

// openImages downloads the shards of the given splits into dir, verified. Rows
// keep the index's order. The index must be of this project's image shape.
func openImages(ctx context.Context, s *storage.Store, index TensorIndex, dir string, splits ...string) (*images, error) {
	if !slices.Equal(index.Shape, []int{spec.Channels, spec.Size, spec.Size}) {
		return nil, permanent(step.ErrBadInput, "tensor index: shape %v; the networks take %v", index.Shape, []int{spec.Channels, spec.Size, spec.Size})
	}
	im := &images{}
	for i, shard := range index.Shards {
		if !slices.Contains(splits, shard.Split) || len(shard.Images) == 0 {
			continue
		}
		path := filepath.Join(dir, fmt.Sprintf("shard-%06d", i))
		if err := s.ReadToFile(ctx, storage.Object(shard.Ref), path); err != nil {
			return nil, errors.Join(fmt.Errorf("fetch shard %s: %w", shard.Ref.Key, err), im.Close())
		}
		if err := im.add(path, shard); err != nil {
			return nil, errors.Join(fmt.Errorf("open shard %s: %w", shard.Ref.Key, err), im.Close())
		}
	}
	return im, nil
}

// add opens a shard's file and finds its images in it.
func (im *images) add(path string, shard Shard) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	im.shards = append(im.shards, shardFile{file: f, first: im.n})
	rd, err := checkpoint.NewReader(f, shard.Ref.Size, checkpoint.Limits{})
	if err != nil {
		return err
	}
	want := []int{len(shard.Images), spec.Channels, spec.Size, spec.Size}
	entries := rd.Entries()
	if len(entries) != 1 || entries[0].DType != checkpoint.U8 || !slices.Equal(entries[0].Shape, want) {
		return permanent(step.ErrCorrupt, "shard %s: does not hold one U8 tensor of shape %v", shard.Ref.Key, want)
	}
	// The data section ends the file.
	im.shards[len(im.shards)-1].data = shard.Ref.Size - entries[0].Bytes
	im.n += len(shard.Images)
	return nil
}

// Len is the number of images.
func (im *images) Len() int { return im.n }

// Row reads image i's spec.ImageLen bytes into dst, channel by channel.
func (im *images) Row(dst []uint8, i int) error {
	at, found := slices.BinarySearchFunc(im.shards, i, func(s shardFile, i int) int { return s.first - i })
	if !found {
		at--
	}
	s := im.shards[at]
	if _, err := s.file.ReadAt(dst[:spec.ImageLen], s.data+int64(i-s.first)*spec.ImageLen); err != nil {
		return fmt.Errorf("read image %d: %w", i, err)
	}
	return nil
}

// Planes reads the first channel of the images of shard i, (n,128,128).
func (im *images) Planes(i int) ([]uint8, error) {
	s, end := im.shards[i], im.n
	if i+1 < len(im.shards) {
		end = im.shards[i+1].first
	}
	planes := make([]uint8, (end-s.first)*spec.Size*spec.Size)
	for row := range end - s.first {
		dst := planes[row*spec.Size*spec.Size:]
		if _, err := s.file.ReadAt(dst[:spec.Size*spec.Size], s.data+int64(row)*spec.ImageLen); err != nil {
			return nil, fmt.Errorf("read image %d: %w", s.first+row, err)
		}
	}
	return planes, nil
}

// Close closes the files.
func (im *images) Close() error {
	var all error
	for _, s := range im.shards {
		all = errors.Join(all, s.file.Close())
	}
	return all
}
