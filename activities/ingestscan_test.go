package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/storage"
)

// faulty fails on some keys, as a store does that is down for a moment.
type faulty struct {
	storage.Bucket
	get, list error
	after     int // objects listed before list fails
}

func (f faulty) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	if f.get != nil && strings.HasSuffix(key, "2.png") {
		return nil, storage.Info{}, f.get
	}
	return f.Bucket.Get(ctx, key)
}

func (f faulty) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		n := 0
		for info, err := range f.Bucket.List(ctx, prefix) {
			if n == f.after && f.list != nil {
				yield(storage.Info{}, f.list)
				return
			}
			n++
			if !yield(info, err) {
				return
			}
		}
	}
}

func TestIngestPassesStoreFailuresOn(t *testing.T) {
	s := newShelf(t)
	for i := range 5 {
		s.put(fmt.Sprintf("p/%d.png", i), metalPNG(t, i))
	}
	down := errors.New("connection reset")
	for _, b := range []storage.Bucket{faulty{Bucket: s.source, get: down}, faulty{Bucket: s.source, list: down, after: 3}} {
		g := Ingester{Store: s.store, Sources: func(context.Context, string) (storage.Reader, error) { return b, nil }}
		_, err := g.Ingest(t.Context(), s.input())
		require.ErrorIs(t, err, down)
		var app *temporal.ApplicationError
		require.False(t, errors.As(typed(err), &app), "it may be tried again")
	}
	ctx, cancel := context.WithCancel(t.Context())
	g := Ingester{Store: s.store, Sources: s.open, Progress: func(int, int) { cancel() }}
	_, err := g.Ingest(ctx, s.input())
	require.ErrorIs(t, err, context.Canceled)
}

// endless lists many objects, all of which are the same few bytes.
type endless struct {
	storage.Bucket
	n int
}

func (e endless) List(context.Context, string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for i := range e.n {
			if !yield(storage.Info{Key: fmt.Sprintf("p/%06d.png", i), Size: 4}, nil) {
				return
			}
		}
	}
}

func (e endless) Get(context.Context, string) (io.ReadCloser, storage.Info, error) {
	return io.NopCloser(strings.NewReader("none")), storage.Info{Size: 4}, nil
}

func TestIngestStreamsLongListings(t *testing.T) {
	s := newShelf(t)
	g := Ingester{Store: s.store, Sources: func(context.Context, string) (storage.Reader, error) { return endless{n: 100_000}, nil }}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	g.Progress = func(done, _ int) {
		if done%10_000 == 0 {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}
	in := s.input()
	in.Ingest.MinImages = 0
	out, err := g.Ingest(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 100_000, out.Quarantined)
	require.Less(t, most, before.HeapAlloc+100<<20, "bytes on the heap, at most")
}
