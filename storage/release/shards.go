package release

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/defectforge/defectforge/storage"
)

const (
	// maxShard bounds a shard, in bytes.
	maxShard = 64_000_000
	// tarBlock is what a tar file is made of: a header takes one, content is
	// padded to whole ones, and two of them are the end.
	tarBlock = 512
	// longName is the longest name for which one header does; a longer one takes
	// two blocks more, and one for each 512 bytes of it.
	longName = 100
)

// sample is an image and its line of metadata.jsonl, as a shard holds them:
// files with the same name but for what follows the first dot.
type sample struct {
	name  string
	image piece
	line  []byte
}

// size is how much the sample takes of a shard, at most.
func (s sample) size() int64 {
	entry := func(content int64) int64 {
		n := tarBlock + (content+tarBlock-1)/tarBlock*tarBlock
		if len(s.name)+len(".json") > longName {
			n += 3 * tarBlock
		}
		return n
	}
	return entry(s.image.Size) + entry(int64(len(s.line)))
}

// shards divides the images, which have the lines in order, into shards, and
// reads them all to learn the shards' sizes and digests.
func (d Draft) shards(ctx context.Context, b storage.Reader, pieces []piece, lines [][]byte) ([]piece, error) {
	var shards []piece
	var used int64
	names := map[string]bool{}
	for _, p := range pieces {
		if !isImage(p.Path) {
			continue
		}
		s := sample{name: undotted(strings.TrimSuffix(path.Base(p.Path), path.Ext(p.Path))), image: p, line: lines[len(names)]}
		if names[s.name] {
			return nil, fmt.Errorf("file %q: %w: another image has the same name but for dots", p.Path, ErrMalformed)
		}
		names[s.name] = true
		size := s.size()
		if size > maxShard-2*tarBlock {
			return nil, fmt.Errorf("file %q: %w: %d bytes, and a shard has at most %d", p.Path, ErrMalformed, p.Size, maxShard)
		}
		if len(shards) == 0 || used+size > maxShard {
			shards = append(shards, piece{File: File{Path: fmt.Sprintf("%s/%s-%06d.tar", ShardDir, undotted(d.Class), len(shards))}})
			used = 2 * tarBlock
		}
		last := &shards[len(shards)-1]
		last.samples = append(last.samples, s)
		used += size
	}
	for i := range shards {
		h := &counter{}
		sum := sha256.New()
		if err := writeShard(ctx, b, shards[i].samples, io.MultiWriter(h, sum)); err != nil {
			return nil, err
		}
		shards[i].Size, shards[i].SHA256 = h.n, hex.EncodeToString(sum.Sum(nil))
	}
	return shards, nil
}

// undotted is a name in which a WebDataset reader finds no field.
func undotted(name string) string { return strings.ReplaceAll(name, ".", "_") }

// counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// writeShard writes a tar file with nothing in it that the samples do not say.
// A few images are in memory at a time.
func writeShard(ctx context.Context, b storage.Reader, samples []sample, w io.Writer) error {
	out := tar.NewWriter(w)
	for len(samples) > 0 {
		batch := samples[:min(workers, len(samples))]
		samples = samples[len(batch):]
		images, err := readAll(ctx, batch, func(ctx context.Context, s sample) ([]byte, error) { return s.image.bytes(ctx, b) })
		if err != nil {
			return err
		}
		for i, s := range batch {
			if err := addFile(out, s.name+".json", s.line); err != nil {
				return err
			}
			if err := addFile(out, s.name+".png", images[i]); err != nil {
				return err
			}
		}
	}
	return out.Close()
}

func addFile(out *tar.Writer, name string, data []byte) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return fmt.Errorf("shard: file %q: %w", name, err)
	}
	_, err := out.Write(data)
	return err
}

// readAll reads what belongs to each item, some at a time.
func readAll[T any](ctx context.Context, items []T, read func(context.Context, T) ([]byte, error)) ([][]byte, error) {
	all := make([][]byte, len(items))
	index := make([]int, len(items))
	for i := range index {
		index[i] = i
	}
	err := storage.Each(ctx, workers, index, func(ctx context.Context, i int) (err error) {
		all[i], err = read(ctx, items[i])
		return err
	})
	return all, err
}
