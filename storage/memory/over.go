package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/defectforge/defectforge/storage"
)

// Overlay is a bucket in memory over one that is only read: it shows what is in
// both, and writes and removals stay in memory. Use Over.
type Overlay struct {
	base    storage.Reader
	written *Bucket
	mu      sync.RWMutex // holds writes together with what they look at
	removed map[string]bool
}

// Over lays an empty bucket over base.
func Over(base storage.Reader) *Overlay {
	return &Overlay{base: base, written: New(), removed: map[string]bool{}}
}

// Put implements storage.Bucket.
func (o *Overlay) Put(
	ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond storage.Condition,
) (storage.Info, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if cond != (storage.Condition{}) {
		present, err := o.stat(ctx, key)
		exists := err == nil
		switch {
		case err != nil && !errors.Is(err, storage.ErrNotFound):
			return storage.Info{}, fmt.Errorf("put %q: %w", key, err)
		case exists && present.SHA256 == sha256 && !holds(cond, present, exists):
			return present, nil
		case !holds(cond, present, exists):
			return storage.Info{}, fmt.Errorf("put %q: %w", key, storage.ErrPrecondition)
		}
	}
	info, err := o.written.Put(ctx, key, body, size, sha256, storage.Condition{})
	if err == nil {
		delete(o.removed, key)
	}
	return info, err
}

// Get implements storage.Bucket.
func (o *Overlay) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	r, info, err := o.written.Get(ctx, key)
	if errors.Is(err, storage.ErrNotFound) && !o.removed[key] {
		return o.base.Get(ctx, key)
	}
	return r, info, err
}

// Stat implements storage.Bucket.
func (o *Overlay) Stat(ctx context.Context, key string) (storage.Info, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.stat(ctx, key)
}

func (o *Overlay) stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := o.written.Stat(ctx, key)
	if errors.Is(err, storage.ErrNotFound) && !o.removed[key] {
		return o.base.Stat(ctx, key)
	}
	return info, err
}

// List implements storage.Bucket. It merges both listings as they come.
func (o *Overlay) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		next, stop := iter.Pull2(o.written.List(ctx, prefix))
		defer stop()
		written, err, more := next()
		// upTo yields what was written before key, or all of it.
		upTo := func(key string, all bool) bool {
			for ; more && (all || written.Key < key); written, err, more = next() {
				if !yield(written, err) || err != nil {
					return false
				}
			}
			return true
		}
		for info, failed := range o.base.List(ctx, prefix) {
			if failed != nil {
				yield(storage.Info{}, failed)
				return
			}
			if !upTo(info.Key, false) {
				return
			}
			if o.hides(info.Key) || more && written.Key == info.Key {
				continue
			}
			if !yield(info, nil) {
				return
			}
		}
		upTo("", true)
	}
}

// hides reports whether an object of the base has been removed.
func (o *Overlay) hides(key string) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.removed[key]
}

// Delete implements storage.Bucket.
func (o *Overlay) Delete(ctx context.Context, key string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.written.Delete(ctx, key); err != nil {
		return err
	}
	o.removed[key] = true
	return nil
}

// Sync implements storage.Bucket.
func (o *Overlay) Sync(ctx context.Context) error { return o.written.Sync(ctx) }
