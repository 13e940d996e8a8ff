// Package storagetest is the suite that every storage driver passes, and a
// bucket that fails on demand.
package storagetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/defectforge/defectforge/storage"
)

// Run holds the bucket that open returns against the contract of
// storage.Bucket. Buckets may be shared: every test keeps below a prefix of its
// own, which it clears at its end.
func Run(t *testing.T, open func(t *testing.T) storage.Bucket) {
	tests := []struct {
		name string
		run  func(s *suite)
	}{
		{"RoundTrip", (*suite).roundTrip},
		{"Overwrite", (*suite).overwrite},
		{"Missing", (*suite).missing},
		{"Empty", (*suite).empty},
		{"Large", (*suite).large},
		{"WrongDigest", (*suite).wrongDigest},
		{"WrongSize", (*suite).wrongSize},
		{"RewindsBody", (*suite).rewindsBody},
		{"OddKeys", (*suite).oddKeys},
		{"ListOrder", (*suite).listOrder},
		{"ListPages", (*suite).listPages},
		{"ListStops", (*suite).listStops},
		{"Folders", (*suite).folders},
		{"Delete", (*suite).delete},
		{"IfAbsent", (*suite).ifAbsent},
		{"IfAbsentRace", (*suite).ifAbsentRace},
		{"IfAbsentRaceLarge", (*suite).ifAbsentRaceLarge},
		{"IfETag", (*suite).ifETag},
		{"IfETagRace", (*suite).ifETagRace},
		{"Concurrent", (*suite).concurrent},
		{"ReadersSeeWhole", (*suite).readersSeeWhole},
		{"Cancelled", (*suite).cancelled},
		{"Sync", (*suite).sync},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := &suite{T: t, b: open(t), prefix: "storagetest/" + unique() + "/"}
			t.Cleanup(s.clear)
			test.run(s)
		})
	}
}

type suite struct {
	*testing.T
	b      storage.Bucket
	prefix string
}

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

func (s *suite) get(key string) ([]byte, storage.Info, error) {
	r, info, err := s.b.Get(s.Context(), s.prefix+key)
	if err != nil {
		return nil, storage.Info{}, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return data, info, err
}

func (s *suite) wantContent(key string, want []byte) {
	s.Helper()
	data, info, err := s.get(key)
	if err != nil {
		s.Fatalf("get %q: %v", key, err)
	}
	if !bytes.Equal(data, want) {
		s.Fatalf("%q holds %d bytes with digest %s, want %d with %s", key, len(data), storage.Digest(data), len(want), storage.Digest(want))
	}
	if info.Size != int64(len(want)) || info.Key != s.prefix+key {
		s.Fatalf("get %q describes %+v", key, info)
	}
}

func (s *suite) wantError(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// list returns the keys below the suite's prefix and prefix, without the former.
func (s *suite) list(prefix string) []string {
	s.Helper()
	var keys []string
	for info, err := range s.b.List(s.Context(), s.prefix+prefix) {
		if err != nil {
			s.Fatalf("list %q: %v", prefix, err)
		}
		keys = append(keys, strings.TrimPrefix(info.Key, s.prefix))
	}
	return keys
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

func (s *suite) missing() {
	_, _, err := s.get("nothing/here")
	s.wantError("get", err, storage.ErrNotFound)
	_, err = s.b.Stat(s.Context(), s.prefix+"nothing/here")
	s.wantError("stat", err, storage.ErrNotFound)
	if keys := s.list(""); len(keys) != 0 {
		s.Errorf("an empty prefix lists %q", keys)
	}
	// A prefix of a key is no key.
	s.mustPut("deep/down/key", []byte("x"))
	_, _, err = s.get("deep/down")
	s.wantError("get a prefix", err, storage.ErrNotFound)
}

func (s *suite) empty() {
	s.mustPut("empty", nil)
	s.wantContent("empty", []byte{})
	info, err := s.b.Stat(s.Context(), s.prefix+"empty")
	if err != nil || info.SHA256 != storage.Digest(nil) {
		s.Errorf("stat describes %+v (%v)", info, err)
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

func (s *suite) large() {
	data := noise(20<<20, 1)
	s.mustPut("large", data)
	s.wantContent("large", data)
	info, err := s.b.Stat(s.Context(), s.prefix+"large")
	if err != nil || info.SHA256 != storage.Digest(data) {
		s.Errorf("stat describes %+v (%v)", info, err)
	}
}

func (s *suite) wrongDigest() {
	body := []byte("not what was promised")
	_, err := s.b.Put(s.Context(), s.prefix+"key", bytes.NewReader(body), int64(len(body)), storage.Digest([]byte("promised")), storage.Condition{})
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

func (s *suite) oddKeys() {
	keys := []string{
		"with space", "plus+sign", "percent%41", "question?mark", "hash#mark", "amp&equals=", "semi;colon", "comma,at@",
		"brackets[1]", "curly{2}", "quote'single", `quote"double`, "star*", "tilde~", "umlaut-ä-日本.png", "dots..in..it", ".hidden",
		"UPPER", "upper", "trailing.", strings.Repeat("n", 255), "a/" + strings.Repeat("b/", 60) + "deep",
	}
	for i, key := range keys {
		s.mustPut("odd/"+key, []byte{byte(i)})
	}
	for i, key := range keys {
		s.wantContent("odd/"+key, []byte{byte(i)})
	}
	slices.Sort(keys)
	got := s.list("odd/")
	for i := range got {
		got[i] = strings.TrimPrefix(got[i], "odd/")
	}
	if !slices.Equal(got, keys) {
		s.Errorf("listed  %q\nwritten %q", got, keys)
	}
}

func (s *suite) listOrder() {
	// Where stores that keep folders are tempted to get it wrong.
	keys := []string{"a-b", "a.b/x", "a/b/c", "a/b-c", "a/b.c", "a0", "b", "ab/1", "ab/10", "ab/2", "B/1"}
	for _, key := range keys {
		s.mustPut(key, []byte(key))
	}
	slices.Sort(keys)
	if got := s.list(""); !slices.Equal(got, keys) {
		s.Errorf("listed %q\nwant   %q", got, keys)
	}
	if got := s.list("a"); !slices.Equal(got, keys[1:len(keys)-1]) {
		s.Errorf("below a: %q", got)
	}
	if got := s.list("ab/1"); !slices.Equal(got, []string{"ab/1", "ab/10"}) {
		s.Errorf("below ab/1: %q", got)
	}
	if got := s.list("a/"); !slices.Equal(got, []string{"a/b-c", "a/b.c", "a/b/c"}) {
		s.Errorf("below a/: %q", got)
	}
	if got := s.list("c"); len(got) != 0 {
		s.Errorf("below c: %q", got)
	}
	for info, err := range s.b.List(s.Context(), s.prefix+"b") {
		if err != nil || info.Size != 1 || info.Modified.IsZero() {
			s.Errorf("listed %+v (%v)", info, err)
		}
	}
}

func (s *suite) listPages() {
	const n = 2345 // more than two pages of S3
	want := make([]string, n)
	var group sync.WaitGroup
	var next atomic.Int64
	for i := range want {
		want[i] = fmt.Sprintf("pages/%05d", i)
	}
	for range 16 {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if _, err := s.put(want[i], []byte("x"), storage.Condition{}); err != nil {
					s.Errorf("put %q: %v", want[i], err)
					return
				}
			}
		})
	}
	group.Wait()
	if got := s.list("pages/"); !slices.Equal(got, want) {
		s.Errorf("listed %d keys, want %d, or in another order", len(got), n)
	}
}

func (s *suite) listStops() {
	for i := range 5 {
		s.mustPut(fmt.Sprint("stop/", i), nil)
	}
	seen := 0
	for _, err := range s.b.List(s.Context(), s.prefix+"stop/") {
		if err != nil {
			s.Fatal(err)
		}
		if seen++; seen == 2 {
			break
		}
	}
	if seen != 2 {
		s.Errorf("saw %d keys before the break", seen)
	}
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

func (s *suite) cancelled() {
	s.mustPut("key", []byte("x"))
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, err := s.b.Put(ctx, s.prefix+"other", bytes.NewReader(nil), 0, storage.Digest(nil), storage.Condition{})
	s.wantError("put", err, context.Canceled)
	_, _, err = s.b.Get(ctx, s.prefix+"key")
	s.wantError("get", err, context.Canceled)
	_, err = s.b.Stat(ctx, s.prefix+"key")
	s.wantError("stat", err, context.Canceled)
	s.wantError("delete", s.b.Delete(ctx, s.prefix+"key"), context.Canceled)
	s.wantError("sync", s.b.Sync(ctx), context.Canceled)
	ended := false
	for _, err := range s.b.List(ctx, s.prefix) {
		ended = errors.Is(err, context.Canceled)
	}
	if !ended {
		s.Error("the list does not end with the context's error")
	}
	s.wantContent("key", []byte("x"))
}
