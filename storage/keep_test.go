package storage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dusty is a bucket of old objects, until they are written again. Deleting may
// follow a write, as a removal does that was on its way.
type dusty struct {
	Bucket
	objects map[string][]byte
	fresh   map[string]bool
	onPut   func(key string)
}

func (d *dusty) Put(_ context.Context, key string, body io.ReadSeeker, _ int64, _ string, _ Condition) (Info, error) {
	_, err := body.Seek(0, io.SeekStart)
	data, err2 := io.ReadAll(body)
	d.objects[key], d.fresh[key] = data, true
	if d.onPut != nil {
		d.onPut(key)
	}
	return d.info(key), errors.Join(err, err2)
}

func (d *dusty) info(key string) Info {
	age := 48 * time.Hour
	if d.fresh[key] {
		age = 0
	}
	data := d.objects[key]
	return Info{Key: key, Size: int64(len(data)), SHA256: Digest(data), Modified: time.Now().Add(-age)}
}

func (d *dusty) Stat(_ context.Context, key string) (Info, error) {
	if _, ok := d.objects[key]; !ok {
		return Info{}, ErrNotFound
	}
	return d.info(key), nil
}

func (d *dusty) Get(ctx context.Context, key string) (io.ReadCloser, Info, error) {
	info, err := d.Stat(ctx, key)
	return io.NopCloser(bytes.NewReader(d.objects[key])), info, err
}

func (d *dusty) List(_ context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for key := range d.objects {
			if len(key) >= len(prefix) && key[:len(prefix)] == prefix && !yield(d.info(key), nil) {
				return
			}
		}
	}
}

func (d *dusty) Delete(_ context.Context, key string) error { delete(d.objects, key); return nil }

func newDusty(t *testing.T) (*dusty, *Store, Object) {
	t.Helper()
	before := settleTime
	settleTime = time.Millisecond
	t.Cleanup(func() { settleTime = before })
	d := &dusty{objects: map[string][]byte{}, fresh: map[string]bool{}}
	s := New(d)
	obj, err := s.PutArtifact(context.Background(), []byte("old"), ".json")
	require.NoError(t, err)
	d.fresh = map[string]bool{}
	return d, s, obj
}

func TestKeepWritesOldObjectsAgain(t *testing.T) {
	ctx := context.Background()
	d, s, obj := newDusty(t)
	ok, err := s.Keep(ctx, obj)
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, d.fresh[obj.Key])

	large := bytes.Repeat([]byte("x"), 3<<20)
	big, err := s.PutArtifact(ctx, large, ".bin")
	require.NoError(t, err)
	d.fresh = map[string]bool{}
	ok, err = s.Keep(ctx, big)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, large, d.objects[big.Key])

	d.objects[obj.Key] = []byte("odd")
	d.fresh = map[string]bool{}
	ok, err = s.Keep(ctx, obj)
	require.NoError(t, err)
	require.False(t, ok, "other bytes are not it")
	ok, err = s.Keep(ctx, Object{Key: "none", SHA256: obj.SHA256, Size: 3})
	require.NoError(t, err)
	require.False(t, ok)
}

// A removal that was on its way when the object was written again is noticed.
func TestWhatARemovalTakesIsNoticed(t *testing.T) {
	ctx := context.Background()
	d, s, obj := newDusty(t)
	taken := 0
	d.onPut = func(key string) {
		if key == obj.Key && taken == 0 {
			taken++
			delete(d.objects, key)
		}
	}
	announce := func(cutoff, until time.Duration) {
		require.NoError(t, s.Announce(ctx, "c", Sweeping{Cutoff: time.Now().Add(cutoff), Until: time.Now().Add(until)}))
	}
	announce(-time.Hour, time.Minute)
	ok, err := s.Keep(ctx, obj)
	require.NoError(t, err)
	require.False(t, ok, "it has gone, and the caller makes it anew")

	d.objects[obj.Key], d.fresh, taken = []byte("old"), map[string]bool{}, 0
	_, err = s.PutArtifact(ctx, []byte("old"), ".json")
	require.NoError(t, err)
	require.Contains(t, d.objects, obj.Key, "it was put once more")

	for what, danger := range map[string]func(){
		"too young for it": func() { announce(-72*time.Hour, time.Minute) },
		"over":             func() { announce(-time.Hour, -time.Hour) },
		"ended":            func() { require.NoError(t, s.Retract(ctx, "c")) },
	} {
		danger()
		waited, err := s.Settle(ctx, time.Now().Add(-48*time.Hour))
		require.NoError(t, err)
		require.False(t, waited, what)
	}
}
