package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/defectforge/defectforge/storage"
)

// ErrInjected is the failure that a Faulty bucket makes up.
var ErrInjected = errors.New("injected fault")

// Fault is what goes wrong with one call.
type Fault int

// The faults. After is a lost reply: the effect has taken place.
const (
	None Fault = iota
	Before
	After
)

// Call is one call of a bucket's method.
type Call struct {
	Method string // "Put", "Get", "Stat", "List", "Delete" or "Sync"
	Key    string // or prefix; empty for Sync
	N      int    // counts the calls of all methods, from 1
}

// Faulty is a bucket that fails where its plan says so.
type Faulty struct {
	bucket storage.Bucket
	plan   func(Call) Fault
	calls  atomic.Int64
}

// NewFaulty wraps b. plan is called before every call, also concurrently.
func NewFaulty(b storage.Bucket, plan func(Call) Fault) *Faulty {
	return &Faulty{bucket: b, plan: plan}
}

// FailAt is the plan that gives call number n the fault.
func FailAt(n int, fault Fault) func(Call) Fault {
	return func(c Call) Fault {
		if c.N == n {
			return fault
		}
		return None
	}
}

// FailSometimes is the plan that gives every call, with probability p, one of
// the faults, both equally often.
func FailSometimes(seed uint64, p float64) func(Call) Fault {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	return func(Call) Fault {
		mu.Lock()
		defer mu.Unlock()
		if random.Float64() >= p {
			return None
		}
		return Before + Fault(random.IntN(2))
	}
}

// Calls is how many calls there have been.
func (f *Faulty) Calls() int { return int(f.calls.Load()) }

// around runs do, unless the plan forbids it; the plan may lose its outcome.
func (f *Faulty) around(method, key string, do func() error) error {
	c := Call{Method: method, Key: key, N: int(f.calls.Add(1))}
	switch f.plan(c) {
	case Before:
		return fmt.Errorf("%s %q, call %d, before it: %w", method, key, c.N, ErrInjected)
	case After:
		if err := do(); err != nil {
			return err
		}
		return fmt.Errorf("%s %q, call %d, after it: %w", method, key, c.N, ErrInjected)
	}
	return do()
}

// Put implements storage.Bucket.
func (f *Faulty) Put(
	ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond storage.Condition,
) (info storage.Info, err error) {
	err = f.around("Put", key, func() (err error) {
		info, err = f.bucket.Put(ctx, key, body, size, sha256, cond)
		return err
	})
	if err != nil {
		return storage.Info{}, err
	}
	return info, nil
}

// Get implements storage.Bucket.
func (f *Faulty) Get(ctx context.Context, key string) (r io.ReadCloser, info storage.Info, err error) {
	err = f.around("Get", key, func() (err error) {
		r, info, err = f.bucket.Get(ctx, key)
		return err
	})
	if err != nil {
		if r != nil {
			r.Close()
		}
		return nil, storage.Info{}, err
	}
	return r, info, nil
}

// Stat implements storage.Bucket.
func (f *Faulty) Stat(ctx context.Context, key string) (info storage.Info, err error) {
	err = f.around("Stat", key, func() (err error) {
		info, err = f.bucket.Stat(ctx, key)
		return err
	})
	if err != nil {
		return storage.Info{}, err
	}
	return info, nil
}

// List implements storage.Bucket; faults strike before the first key.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if err := f.around("List", prefix, func() error { return nil }); err != nil {
			yield(storage.Info{}, err)
			return
		}
		f.bucket.List(ctx, prefix)(yield)
	}
}

// Delete implements storage.Bucket.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	return f.around("Delete", key, func() error { return f.bucket.Delete(ctx, key) })
}

// Sync implements storage.Bucket.
func (f *Faulty) Sync(ctx context.Context) error {
	return f.around("Sync", "", func() error { return f.bucket.Sync(ctx) })
}

// bigRaces reports whether there is time for races of large objects.
func bigRaces() bool { return !testing.Short() }
