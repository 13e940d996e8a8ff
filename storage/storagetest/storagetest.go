// Package storagetest is the suite that every storage driver passes, and a
// bucket that fails on demand.
package storagetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/defectforge/defectforge/storage"
)

// Run holds the bucket that open returns against the contract of
// storage.Bucket. Buckets may be shared: every test keeps below a prefix of its
// own, which it clears at its end.
func Run(t *testing.T, open func(t *testing.T) storage.Bucket) {
	newSuite := func(t *testing.T) *suite {
		b := open(t)
		s := &suite{reading: reading{T: t, r: b, prefix: ownPrefix()}, b: b}
		t.Cleanup(s.clear)
		return s
	}
	for _, test := range readingTests {
		t.Run(test.name, func(t *testing.T) {
			s := newSuite(t)
			s.putAll(test.objects())
			test.run(&s.reading)
		})
	}
	tests := []struct {
		name string
		run  func(s *suite)
	}{
		{"RoundTrip", (*suite).roundTrip},
		{"Overwrite", (*suite).overwrite},
		{"WrongDigest", (*suite).wrongDigest},
		{"WrongSize", (*suite).wrongSize},
		{"RewindsBody", (*suite).rewindsBody},
		{"Delete", (*suite).delete},
		{"IfAbsent", (*suite).ifAbsent},
		{"IfAbsentRace", (*suite).ifAbsentRace},
		{"IfAbsentRaceLarge", (*suite).ifAbsentRaceLarge},
		{"IfETag", (*suite).ifETag},
		{"IfETagRace", (*suite).ifETagRace},
		{"Concurrent", (*suite).concurrent},
		{"ReadersSeeWhole", (*suite).readersSeeWhole},
		{"CancelledWrites", (*suite).cancelledWrites},
		{"Sync", (*suite).sync},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(newSuite(t)) })
	}
}

type suite struct {
	reading
	b storage.Bucket
}

// ownPrefix is one that no other test has.
func ownPrefix() string { return "storagetest/" + unique() + "/" }

func unique() string {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		panic(err)
	}
	return hex.EncodeToString(raw[:])
}

// clear removes what the test has left, 16 objects at a time.
func (s *suite) clear() {
	ctx := context.WithoutCancel(s.Context())
	keys := make(chan string)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for key := range keys {
				if err := s.b.Delete(ctx, key); err != nil {
					s.Errorf("clear %q: %v", key, err)
				}
			}
		})
	}
	for info, err := range s.b.List(ctx, s.prefix) {
		if err != nil {
			s.Errorf("clear: %v", err)
			break
		}
		keys <- info.Key
	}
	close(keys)
	group.Wait()
}

// put writes data below the suite's prefix.
func (s *suite) put(key string, data []byte, cond storage.Condition) (storage.Info, error) {
	return s.b.Put(s.Context(), s.prefix+key, bytes.NewReader(data), int64(len(data)), storage.Digest(data), cond)
}

func (s *suite) mustPut(key string, data []byte) storage.Info {
	s.Helper()
	info, err := s.put(key, data, storage.Condition{})
	if err != nil {
		s.Fatalf("put %q: %v", key, err)
	}
	return info
}

// putAll writes objects, some at a time.
func (s *suite) putAll(objects map[string][]byte) {
	s.Helper()
	err := storage.Each(s.Context(), writers, slices.Collect(maps.Keys(objects)), func(_ context.Context, key string) error {
		if _, err := s.put(key, objects[key], storage.Condition{}); err != nil {
			return fmt.Errorf("put %q: %w", key, err)
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) roundTrip() {
	data := []byte("a few bytes")
	before := s.mustPut("dir/file.json", data)
	s.wantContent("dir/file.json", data)
	info, err := s.b.Stat(s.Context(), s.prefix+"dir/file.json")
	if err != nil {
		s.Fatal(err)
	}
	if info.Key != s.prefix+"dir/file.json" || info.Size != int64(len(data)) || info.SHA256 != storage.Digest(data) ||
		info.ETag == "" || info.Modified.IsZero() {
		s.Errorf("stat describes %+v", info)
	}
	if before.ETag != info.ETag || before.SHA256 != info.SHA256 || before.Size != info.Size || before.Key != info.Key {
		s.Errorf("put describes %+v, stat %+v", before, info)
	}
	if _, got, err := s.get("dir/file.json"); err != nil || got.ETag != info.ETag || got.SHA256 != info.SHA256 {
		s.Errorf("get describes %+v, stat %+v (%v)", got, info, err)
	}
	for listed, err := range s.b.List(s.Context(), s.prefix) {
		if err != nil || listed.Size != info.Size || listed.Modified.IsZero() {
			s.Errorf("list describes %+v (%v)", listed, err)
		}
	}
	if none := s.mustPut("empty", nil); none.SHA256 != storage.Digest(nil) {
		s.Errorf("put of nothing describes %+v", none)
	}
}

func (s *suite) overwrite() {
	first := s.mustPut("key", []byte("one"))
	second := s.mustPut("key", []byte("the other"))
	s.wantContent("key", []byte("the other"))
	if first.ETag == second.ETag {
		s.Errorf("other content has the same ETag %q", first.ETag)
	}
	again := s.mustPut("key", []byte("the other"))
	if again.SHA256 != second.SHA256 {
		s.Errorf("the same content gives another digest")
	}
}

// noise returns n bytes that no store can shorten, different for every seed.
func noise(n int, seed byte) []byte {
	data := make([]byte, n)
	state := uint32(seed) + 1
	for i := range data {
		state = state*1664525 + 1013904223
		data[i] = byte(state >> 24)
	}
	return data
}

func (s *suite) wrongDigest() {
	body := []byte("not what was promised")
	promised := storage.Digest([]byte("promised"))
	_, err := s.b.Put(s.Context(), s.prefix+"key", bytes.NewReader(body), int64(len(body)), promised, storage.Condition{})
	s.wantError("put", err, storage.ErrCorrupt)
	_, _, err = s.get("key")
	s.wantError("get", err, storage.ErrNotFound)
	_, err = s.b.Put(s.Context(), s.prefix+"key", bytes.NewReader(body), int64(len(body)), "no digest", storage.Condition{})
	s.wantError("put without a digest", err, storage.ErrCorrupt)
}

func (s *suite) wrongSize() {
	body := []byte("eleven byte")
	for _, size := range []int64{0, 5, 12} {
		_, err := s.b.Put(s.Context(), s.prefix+"key", bytes.NewReader(body), size, storage.Digest(body), storage.Condition{})
		s.wantError(fmt.Sprintf("put with size %d", size), err, storage.ErrCorrupt)
	}
	_, _, err := s.get("key")
	s.wantError("get", err, storage.ErrNotFound)
}

func (s *suite) rewindsBody() {
	data := []byte("read from the start, wherever the reader stands")
	body := bytes.NewReader(data)
	for range 2 {
		if _, err := s.b.Put(s.Context(), s.prefix+"key", body, int64(len(data)), storage.Digest(data), storage.Condition{}); err != nil {
			s.Fatal(err)
		}
	}
	s.wantContent("key", data)
}

func (s *suite) delete() {
	s.mustPut("gone/one", []byte("1"))
	s.mustPut("gone/two", []byte("2"))
	for range 2 { // the second time it is missing
		if err := s.b.Delete(s.Context(), s.prefix+"gone/one"); err != nil {
			s.Fatal(err)
		}
	}
	if err := s.b.Delete(s.Context(), s.prefix+"never/was/there"); err != nil {
		s.Errorf("delete of a missing key: %v", err)
	}
	_, _, err := s.get("gone/one")
	s.wantError("get", err, storage.ErrNotFound)
	if got := s.list("gone/"); !slices.Equal(got, []string{"gone/two"}) {
		s.Errorf("left: %q", got)
	}
	s.mustPut("gone/one", []byte("again"))
	s.wantContent("gone/one", []byte("again"))
}

func (s *suite) sync() {
	s.mustPut("synced", []byte("x"))
	if err := s.b.Sync(s.Context()); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) cancelledWrites() {
	s.mustPut("key", []byte("x"))
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := s.b.Put(ctx, s.prefix+"other", bytes.NewReader(nil), 0, storage.Digest(nil), storage.Condition{})
	s.wantError("put", err, context.Canceled)
	s.wantError("delete", s.b.Delete(ctx, s.prefix+"key"), context.Canceled)
	s.wantError("sync", s.b.Sync(ctx), context.Canceled)
	s.wantContent("key", []byte("x"))
}
