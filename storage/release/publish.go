package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/defectforge/defectforge/storage"
)

// workers is how many files are moved at a time, and maxFile the largest that
// Publish moves, in bytes: together they bound its memory.
const (
	workers = 8
	maxFile = 256 << 20
)

// Published describes a release that is visible.
type Published struct {
	Class          string `json:"class"`
	Release        string `json:"release"`
	Prefix         string `json:"prefix"` // in the bucket, with a slash at the end
	ManifestSHA256 string `json:"manifest_sha256"`
	Images         int    `json:"images"`
	Files          int    `json:"files"` // but for the manifest
	Bytes          int64  `json:"bytes"` // of these files
	Sequence       int    `json:"sequence"`
	// Latest is false where a later release had taken over before.
	Latest bool `json:"latest"`
}

// Publish makes the draft a release and the latest of its class. It may be
// repeated, by anybody, after whatever went wrong: the release's name and bytes
// follow from the draft, nothing is visible before the manifest, which comes
// last, and a release becomes the latest once, in the order of first success.
// Publishing what has been published returns the sequence it got then and does
// not move a later pointer back. ErrMalformed for a draft that breaks the
// format's rules, ErrConflict, and ErrWithdrawn for content that has been
// withdrawn are permanent. WithSigner signs the manifest.
func Publish(ctx context.Context, b storage.Bucket, d Draft, opts ...Option) (Published, error) {
	p, err := publish(ctx, b, d, collect(opts))
	if err != nil {
		return Published{}, fmt.Errorf("publish release of class %q: %w", d.Class, err)
	}
	return p, nil
}

func publish(ctx context.Context, b storage.Bucket, d Draft, o options) (Published, error) {
	files, m, err := d.compile(ctx, b)
	if err != nil {
		return Published{}, err
	}
	raw := m.Encode()
	if len(raw) > maxManifest {
		return Published{}, fmt.Errorf("manifest: %w: %d bytes, limit %d", ErrMalformed, len(raw), maxManifest)
	}
	if w, err := readWithdrawal(ctx, b, m.Class, m.Release); err != nil {
		return Published{}, err
	} else if w != nil {
		return Published{}, w
	}
	prefix := Prefix(m.Class, m.Release)
	if err := placeSafely(ctx, b, prefix, files); err != nil {
		return Published{}, err
	}
	if err := o.putSignature(ctx, b, m, raw); err != nil {
		return Published{}, err
	}
	if err := commit(ctx, b, prefix, raw); err != nil {
		return Published{}, err
	}
	digest := storage.Digest(raw)
	sequence, latest, err := advance(ctx, b, m.Class, m.Release, digest)
	if err != nil {
		return Published{}, err
	}
	// Also where there was nothing to move: an earlier attempt may have failed
	// right here.
	if err := b.Sync(ctx); err != nil {
		return Published{}, err
	}
	return Published{Class: m.Class, Release: m.Release, Prefix: prefix, ManifestSHA256: digest, Images: m.Images,
		Files: len(m.Files), Bytes: m.Bytes(), Sequence: sequence, Latest: latest}, nil
}

// commit writes the manifest. What it promises must be on disk before it, and it
// must be before the pointer is moved.
func commit(ctx context.Context, b storage.Bucket, prefix string, manifest []byte) error {
	if err := b.Sync(ctx); err != nil {
		return err
	}
	if err := write(ctx, b, prefix+ManifestName, manifest); err != nil {
		return err
	}
	return b.Sync(ctx)
}

// placeSafely is placeAll for a prefix that an earlier attempt may have left
// half full long ago, and that a clean-up may be about to empty; see
// storage.Keep.
func placeSafely(ctx context.Context, b storage.Bucket, prefix string, files []piece) error {
	// Nobody empties the prefix of a release that is committed.
	_, err := b.Stat(ctx, prefix+ManifestName)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	oldest, err := placeAll(ctx, b, prefix, files, err != nil)
	if err != nil || oldest.IsZero() {
		return err
	}
	waited, err := storage.New(b).Settle(ctx, oldest)
	if err == nil && waited {
		_, err = placeAll(ctx, b, prefix, files, true)
	}
	return err
}

// placeAll brings the files below the prefix: shards, which may be large, one
// by one. With renew it writes old ones again, and returns when the oldest of
// those had been written; zero where there was none.
func placeAll(ctx context.Context, b storage.Bucket, prefix string, files []piece, renew bool) (oldest time.Time, err error) {
	var mu sync.Mutex
	one := func(ctx context.Context, f piece) error {
		renewed, err := place(ctx, b, prefix, f, renew)
		mu.Lock()
		defer mu.Unlock()
		if !renewed.IsZero() && (oldest.IsZero() || renewed.Before(oldest)) {
			oldest = renewed
		}
		return err
	}
	var small []piece
	for _, f := range files {
		if f.samples == nil {
			small = append(small, f)
		}
	}
	if err := storage.Each(ctx, workers, small, one); err != nil {
		return oldest, err
	}
	for _, f := range files {
		if f.samples != nil {
			if err := one(ctx, f); err != nil {
				return oldest, err
			}
		}
	}
	return oldest, nil
}

// place brings one file below the prefix, if it is not there already. With renew,
// an old one is written again, and it returns when that had been written before.
func place(ctx context.Context, b storage.Bucket, prefix string, f piece, renew bool) (renewed time.Time, err error) {
	info, err := b.Stat(ctx, prefix+f.Path)
	there := err == nil && info.Size == f.Size && info.SHA256 == f.SHA256
	if there && (!renew || time.Since(info.Modified) <= storage.RenewAfter) {
		return renewed, nil
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return renewed, err
	}
	data, err := f.bytes(ctx, b)
	if err != nil {
		return renewed, err
	}
	if !there {
		return renewed, write(ctx, b, prefix+f.Path, data)
	}
	_, err = b.Put(ctx, prefix+f.Path, bytes.NewReader(data), f.Size, f.SHA256, storage.Condition{})
	return info.Modified, err
}

// write stores data where nothing or the same is.
func write(ctx context.Context, b storage.Bucket, key string, data []byte) error {
	_, err := b.Put(ctx, key, bytes.NewReader(data), int64(len(data)), storage.Digest(data), storage.Condition{IfAbsent: true})
	if errors.Is(err, storage.ErrPrecondition) {
		return fmt.Errorf("%w: %q is there and differs; find out who wrote it, and delete it to publish again", ErrConflict, key)
	}
	return err
}
