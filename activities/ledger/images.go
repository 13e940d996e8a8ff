package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// Images are the rows of a tensor index's shards, kept in files, so that
// memory does not grow with the data set.
type Images struct {
	shards []shardFile
	n      int
}

type shardFile struct {
	file  *os.File
	first int   // row number of the shard's first image
	data  int64 // offset of the first image's bytes
}

// OpenImages downloads the shards of the given splits into dir, verified. Rows
// keep the index's order. The index must be of this project's image shape.
func OpenImages(ctx context.Context, s *storage.Store, index TensorIndex, dir string, splits ...string) (*Images, error) {
	if !slices.Equal(index.Shape, []int{spec.Channels, spec.Size, spec.Size}) {
		return nil, Permanent(step.ErrBadInput,
			"tensor index: shape %v; the networks take %v", index.Shape, []int{spec.Channels, spec.Size, spec.Size})
	}
	im := &Images{}
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
func (im *Images) add(path string, shard Shard) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	im.shards = append(im.shards, shardFile{file: f, first: im.n})
	rd, err := checkpoint.NewReader(f, shard.Ref.Size, checkpoint.Limits{})
	if err != nil {
		return err
	}
	at, err := shardRows(rd, shard)
	if err != nil {
		return err
	}
	im.shards[len(im.shards)-1].data = at
	im.n += len(shard.Images)
	return nil
}

// Len is the number of images.
func (im *Images) Len() int { return im.n }

// Row reads image i's spec.ImageLen bytes into dst, channel by channel.
func (im *Images) Row(dst []uint8, i int) error {
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

// Shards is the number of shards that the images lie in.
func (im *Images) Shards() int { return len(im.shards) }

// RowsOf are the numbers of the images of shard i: from first up to end.
func (im *Images) RowsOf(i int) (first, end int) {
	if i+1 < len(im.shards) {
		return im.shards[i].first, im.shards[i+1].first
	}
	return im.shards[i].first, im.n
}

// Planes reads the first channel of the images of shard i, (n,128,128).
func (im *Images) Planes(i int) ([]uint8, error) {
	s := im.shards[i]
	_, end := im.RowsOf(i)
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
func (im *Images) Close() error {
	var all error
	for _, s := range im.shards {
		all = errors.Join(all, s.file.Close())
	}
	return all
}

// WriteShard writes images, (n,3,128,128), as a shard.
func WriteShard(w io.Writer, pixels []uint8) error {
	return checkpoint.Write(w, nil, []checkpoint.Tensor{{
		Name: "images", DType: checkpoint.U8, Shape: []int{len(pixels) / spec.ImageLen, spec.Channels, spec.Size, spec.Size}, Data: pixels,
	}})
}

// Pixels are the images, (n,3,128,128), of a shard that was read whole, a part of
// raw.
func (s Shard) Pixels(raw []byte) ([]uint8, error) {
	rd, err := checkpoint.NewReader(bytes.NewReader(raw), int64(len(raw)), checkpoint.Limits{})
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	at, err := shardRows(rd, s)
	if err != nil {
		return nil, err
	}
	return raw[at:], nil
}

// shardRows is where a shard's images begin: the data section ends the file.
func shardRows(rd *checkpoint.Reader, shard Shard) (int64, error) {
	want, entries := []int{len(shard.Images), spec.Channels, spec.Size, spec.Size}, rd.Entries()
	if len(entries) != 1 || entries[0].DType != checkpoint.U8 || !slices.Equal(entries[0].Shape, want) {
		return 0, Permanent(step.ErrCorrupt, "does not hold one U8 tensor of shape %v", want)
	}
	return shard.Ref.Size - entries[0].Bytes, nil
}
