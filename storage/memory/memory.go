// Package memory keeps a bucket in memory, for tests and demonstrations.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/defectforge/defectforge/storage"
)

// page is how many keys List takes at a time, as S3 does.
const page = 1000

// Bucket is a storage.Bucket in memory. Use New.
type Bucket struct {
	mu      sync.RWMutex
	objects map[string]object
}

type object struct {
	info storage.Info
	data []byte // never changed
}

// New returns an empty bucket.
func New() *Bucket { return &Bucket{objects: map[string]object{}} }

// Put implements storage.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond storage.Condition) (storage.Info, error) {
	data, err := readBody(ctx, key, body, size)
	if err != nil {
		return storage.Info{}, fmt.Errorf("put %q: %w", key, err)
	}
	if digest := storage.Digest(data); digest != sha256 {
		return storage.Info{}, fmt.Errorf("put %q: %w: SHA-256 is %s, stated was %s", key, storage.ErrCorrupt, digest, sha256)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	present, exists := b.objects[key]
	holds := (!cond.IfAbsent || !exists) && (cond.IfETag == "" || exists && present.info.ETag == cond.IfETag)
	if !holds {
		if exists && present.info.SHA256 == sha256 {
			return present.info, nil
		}
		return storage.Info{}, fmt.Errorf("put %q: %w", key, storage.ErrPrecondition)
	}
	info := storage.Info{Key: key, Size: size, ETag: sha256[:32], Modified: time.Now(), SHA256: sha256}
	b.objects[key] = object{info: info, data: data}
	return info, nil
}

func readBody(ctx context.Context, key string, body io.ReadSeeker, size int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if key == "" {
		return nil, errors.New("empty key")
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != size {
		return nil, fmt.Errorf("%w: a body of %d bytes, stated were %d", storage.ErrCorrupt, len(data), size)
	}
	return data, nil
}

// Get implements storage.Bucket.
func (b *Bucket) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	o, err := b.find(ctx, key)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("get %q: %w", key, err)
	}
	return io.NopCloser(bytes.NewReader(o.data)), o.info, nil
}

// Stat implements storage.Bucket.
func (b *Bucket) Stat(ctx context.Context, key string) (storage.Info, error) {
	o, err := b.find(ctx, key)
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %q: %w", key, err)
	}
	return o.info, nil
}

func (b *Bucket) find(ctx context.Context, key string) (object, error) {
	if err := ctx.Err(); err != nil {
		return object{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	o, exists := b.objects[key]
	if !exists {
		return object{}, storage.ErrNotFound
	}
	return o, nil
}

// List implements storage.Bucket. Like an actual store's, a listing is not a
// snapshot: writes made meanwhile may or may not be seen.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for after := ""; ; {
			infos := b.page(prefix, after)
			for _, info := range infos {
				if err := ctx.Err(); err != nil {
					yield(storage.Info{}, fmt.Errorf("list %q: %w", prefix, err))
					return
				}
				if !yield(info, nil) {
					return
				}
			}
			if err := ctx.Err(); err != nil {
				yield(storage.Info{}, fmt.Errorf("list %q: %w", prefix, err))
				return
			}
			if len(infos) < page {
				return
			}
			after = infos[len(infos)-1].Key
		}
	}
}

// page returns the first objects below prefix whose keys come after after.
func (b *Bucket) page(prefix, after string) []storage.Info {
	b.mu.RLock()
	var infos []storage.Info
	for key, o := range b.objects {
		if strings.HasPrefix(key, prefix) && key > after {
			o.info.SHA256 = "" // listings of actual stores lack it
			infos = append(infos, o.info)
		}
	}
	b.mu.RUnlock()
	slices.SortFunc(infos, func(a, b storage.Info) int { return strings.Compare(a.Key, b.Key) })
	return infos[:min(page, len(infos))]
}

// Delete implements storage.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
	return nil
}

// Sync implements storage.Bucket; memory is as durable as it gets.
func (b *Bucket) Sync(ctx context.Context) error { return ctx.Err() }
