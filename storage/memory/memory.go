// Package memory keeps a bucket's list of objects in memory, for tests,
// demonstrations and what a command needs only while it runs. Their bytes are in
// memory as well (New) or in files (InFolder); Over lays a bucket in memory over one
// that is only read.
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

// Bucket is a storage.Bucket whose list of objects is in memory. Use New or
// InFolder.
type Bucket struct {
	keep    func(body io.Reader) (content, error)
	mu      sync.RWMutex
	objects map[string]object
}

type object struct {
	info    storage.Info
	content content
}

// content is an object's bytes, which never change.
type content interface {
	open() (io.ReadCloser, error)
	// drop frees them. Readers that are open may continue.
	drop()
}

// New returns an empty bucket.
func New() *Bucket { return &Bucket{keep: keepBytes, objects: map[string]object{}} }

type inMemory []byte

func keepBytes(body io.Reader) (content, error) {
	data, err := io.ReadAll(body)
	return inMemory(data), err
}

func (c inMemory) open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c)), nil }
func (inMemory) drop()                          {}

// Put implements storage.Bucket.
func (b *Bucket) Put(
	ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond storage.Condition,
) (storage.Info, error) {
	data, err := b.receive(ctx, key, body, size, sha256)
	if err != nil {
		return storage.Info{}, fmt.Errorf("put %q: %w", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	present, exists := b.objects[key]
	if !holds(cond, present.info, exists) {
		data.drop()
		if exists && present.info.SHA256 == sha256 {
			return present.info, nil
		}
		return storage.Info{}, fmt.Errorf("put %q: %w", key, storage.ErrPrecondition)
	}
	if exists {
		present.content.drop()
	}
	info := storage.Info{Key: key, Size: size, ETag: sha256[:32], Modified: time.Now(), SHA256: sha256}
	b.objects[key] = object{info: info, content: data}
	return info, nil
}

// holds reports whether a write on a condition may take place.
func holds(cond storage.Condition, present storage.Info, exists bool) bool {
	return (!cond.IfAbsent || !exists) && (cond.IfETag == "" || exists && present.ETag == cond.IfETag)
}

// receive keeps a body's bytes if they are what the writer says they are.
func (b *Bucket) receive(ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string) (content, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if key == "" {
		return nil, errors.New("empty key")
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	passing := newMeter(body)
	data, err := b.keep(passing)
	if err != nil {
		return nil, err
	}
	if err := passing.check(size, sha256); err != nil {
		data.drop()
		return nil, err
	}
	return data, nil
}

// Get implements storage.Bucket.
func (b *Bucket) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	b.mu.RLock() // while it opens, so that nobody drops the bytes before
	defer b.mu.RUnlock()
	o, err := b.find(ctx, key)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("get %q: %w", key, err)
	}
	r, err := o.content.open()
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("get %q: %w", key, err)
	}
	return r, o.info, nil
}

// Stat implements storage.Bucket.
func (b *Bucket) Stat(ctx context.Context, key string) (storage.Info, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
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
	if o, exists := b.objects[key]; exists {
		o.content.drop()
		delete(b.objects, key)
	}
	return nil
}

// Sync implements storage.Bucket; what ends with the process is as durable as it
// will ever be.
func (b *Bucket) Sync(ctx context.Context) error { return ctx.Err() }
