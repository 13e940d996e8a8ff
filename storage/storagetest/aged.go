package storagetest

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/defectforge/defectforge/storage"
)

// Aged is a bucket whose objects look older than they are, until they are written
// again.
type Aged struct {
	storage.Bucket
	mu   sync.Mutex
	ages map[string]time.Duration
}

// NewAged wraps b, in which nothing looks older yet.
func NewAged(b storage.Bucket) *Aged { return &Aged{Bucket: b, ages: map[string]time.Duration{}} }

// Age makes everything that is below prefix now look that much older.
func (a *Aged) Age(ctx context.Context, prefix string, age time.Duration) error {
	for info, err := range a.Bucket.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("age objects: %w", err)
		}
		a.mu.Lock()
		a.ages[info.Key] = age
		a.mu.Unlock()
	}
	return nil
}

func (a *Aged) dated(info storage.Info) storage.Info {
	a.mu.Lock()
	defer a.mu.Unlock()
	info.Modified = info.Modified.Add(-a.ages[info.Key])
	return info
}

// Put implements storage.Bucket. A write on the condition that nothing is there
// leaves the age of what is there already.
func (a *Aged) Put(
	ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond storage.Condition,
) (storage.Info, error) {
	info, err := a.Bucket.Put(ctx, key, body, size, sha256, cond)
	if err == nil && !cond.IfAbsent {
		a.mu.Lock()
		delete(a.ages, key)
		a.mu.Unlock()
	}
	return info, err
}

// Get implements storage.Bucket.
func (a *Aged) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	r, info, err := a.Bucket.Get(ctx, key)
	return r, a.dated(info), err
}

// Stat implements storage.Bucket.
func (a *Aged) Stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := a.Bucket.Stat(ctx, key)
	return a.dated(info), err
}

// List implements storage.Bucket.
func (a *Aged) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for info, err := range a.Bucket.List(ctx, prefix) {
			if !yield(a.dated(info), err) {
				return
			}
		}
	}
}
