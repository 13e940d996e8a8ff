package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/defectforge/defectforge/storage"
)

// RunReader holds the reader that open makes of objects, with nothing else below
// the first component of their keys, against the contract of storage.Reader.
func RunReader(t *testing.T, open func(t *testing.T, objects map[string][]byte) storage.Reader) {
	for _, test := range readingTests {
		t.Run(test.name, func(t *testing.T) {
			s := &reading{T: t, prefix: ownPrefix()}
			objects := map[string][]byte{}
			for key, data := range test.objects() {
				objects[s.prefix+key] = data
			}
			s.r = open(t, objects)
			test.run(s)
		})
	}
}

// readingTests are what RunReader and Run have in common: tests that only read the
// objects they are given, below a prefix of their own.
var readingTests = []struct {
	name    string
	objects func() map[string][]byte
	run     func(*reading)
}{
	{"Describes", one("dir/file.json", []byte("a few bytes")), (*reading).describes},
	{"Missing", one("deep/down/key", []byte("x")), (*reading).missing},
	{"Empty", one("empty", nil), (*reading).empty},
	{"Large", one("large", noise(20<<20, 1)), (*reading).large},
	{"OddKeys", oddObjects, (*reading).oddKeys},
	{"ListOrder", orderedObjects, (*reading).listOrder},
	{"ListPages", manyObjects, (*reading).listPages},
	{"ListStops", orderedObjects, (*reading).listStops},
	{"Folders", nestedObjects, (*reading).folders},
	{"Cancelled", one("key", []byte("x")), (*reading).cancelled},
}

func one(key string, data []byte) func() map[string][]byte {
	return func() map[string][]byte { return map[string][]byte{key: data} }
}

type reading struct {
	*testing.T
	r      storage.Reader
	prefix string
}

func (s *reading) get(key string) ([]byte, storage.Info, error) {
	r, info, err := s.r.Get(s.Context(), s.prefix+key)
	if err != nil {
		return nil, storage.Info{}, err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return data, info, err
}

func (s *reading) wantContent(key string, want []byte) {
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

func (s *reading) wantError(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// list returns the keys below the suite's prefix and prefix, without the former.
func (s *reading) list(prefix string) []string {
	s.Helper()
	var keys []string
	for info, err := range s.r.List(s.Context(), s.prefix+prefix) {
		if err != nil {
			s.Fatalf("list %q: %v", prefix, err)
		}
		keys = append(keys, strings.TrimPrefix(info.Key, s.prefix))
	}
	return keys
}

// describes wants the same of Stat and Get. Digests are stated or left out, never
// wrong.
func (s *reading) describes() {
	data := []byte("a few bytes")
	s.wantContent("dir/file.json", data)
	info, err := s.r.Stat(s.Context(), s.prefix+"dir/file.json")
	if err != nil {
		s.Fatal(err)
	}
	if info.Key != s.prefix+"dir/file.json" || info.Size != int64(len(data)) || info.SHA256 != "" && info.SHA256 != storage.Digest(data) {
		s.Errorf("stat describes %+v", info)
	}
	if _, got, err := s.get("dir/file.json"); err != nil || got != info {
		s.Errorf("get describes %+v, stat %+v (%v)", got, info, err)
	}
}

func (s *reading) missing() {
	// Neither are a prefix of a key, a folder, and what would lie below a file.
	for _, key := range []string{"nothing/here", "deep/down", "deep/down/", "deep/down/key/below", "deep/down/ke"} {
		_, _, err := s.get(key)
		s.wantError("get "+key, err, storage.ErrNotFound)
		_, err = s.r.Stat(s.Context(), s.prefix+key)
		s.wantError("stat "+key, err, storage.ErrNotFound)
	}
	for _, prefix := range []string{"nothing/", "deep/down/key/"} {
		if keys := s.list(prefix); len(keys) != 0 {
			s.Errorf("below %s: %q", prefix, keys)
		}
	}
	for info, err := range s.r.List(s.Context(), "elsewhere-"+s.prefix) {
		s.Errorf("listed %+v (%v) below another prefix", info, err)
	}
}

func (s *reading) empty() { s.wantContent("empty", []byte{}) }
func (s *reading) large() { s.wantContent("large", noise(20<<20, 1)) }

// oddNames are names that files and objects can have.
var oddNames = []string{
	"with space", "plus+sign", "percent%41", "question?mark", "hash#mark", "amp&equals=", "semi;colon", "comma,at@",
	"brackets[1]", "curly{2}", "quote'single", `quote"double`, "star*", "tilde~", "umlaut-ä-日本.png", "dots..in..it", ".hidden",
	"UPPER", "upper", "trailing.", strings.Repeat("n", 255), "a/" + strings.Repeat("b/", 60) + "deep",
}

func oddObjects() map[string][]byte {
	objects := map[string][]byte{}
	for i, name := range oddNames {
		objects["odd/"+name] = []byte{byte(i)}
	}
	return objects
}

func (s *reading) oddKeys() {
	for key, data := range oddObjects() {
		s.wantContent(key, data)
	}
	want := slices.Sorted(maps.Keys(oddObjects()))
	if got := s.list("odd/"); !slices.Equal(got, want) {
		s.Errorf("listed  %q\nwritten %q", got, want)
	}
}

// orderedObjects are where stores that keep folders are tempted to list in
// another order than that of bytes.
func orderedObjects() map[string][]byte {
	objects := map[string][]byte{}
	for _, key := range []string{"a-b", "a.b/x", "a/b/c", "a/b-c", "a/b.c", "a0", "b", "ab/1", "ab/10", "ab/2", "B/1"} {
		objects[key] = []byte(key)
	}
	return objects
}

func (s *reading) listOrder() {
	keys := slices.Sorted(maps.Keys(orderedObjects()))
	for prefix, want := range map[string][]string{
		"": keys, "a": keys[1 : len(keys)-1], "ab/1": {"ab/1", "ab/10"}, "a/": {"a/b-c", "a/b.c", "a/b/c"}, "a/b/": {"a/b/c"}, "c": nil,
	} {
		if got := s.list(prefix); !slices.Equal(got, want) {
			s.Errorf("below %q: %q\nwant     %q", prefix, got, want)
		}
	}
	for info, err := range s.r.List(s.Context(), s.prefix+"b") {
		if err != nil || info.Size != 1 {
			s.Errorf("listed %+v (%v)", info, err)
		}
	}
}

// manyObjects are more than two pages of S3.
func manyObjects() map[string][]byte {
	objects := map[string][]byte{}
	for i := range 2345 {
		objects[fmt.Sprintf("pages/%05d", i)] = []byte("x")
	}
	return objects
}

func (s *reading) listPages() {
	want := slices.Sorted(maps.Keys(manyObjects()))
	if got := s.list("pages/"); !slices.Equal(got, want) {
		s.Errorf("listed %d keys, want %d, or in another order", len(got), len(want))
	}
}

func (s *reading) listStops() {
	seen := 0
	for _, err := range s.r.List(s.Context(), s.prefix) {
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

// nestedObjects lie in more folders than a page of S3 lists.
func nestedObjects() map[string][]byte {
	objects := map[string][]byte{}
	for i := range 1100 {
		objects[fmt.Sprintf("f/d%04d/x", i)] = []byte("x")
	}
	for _, key := range []string{"f/d0003/y/z", "f/a", "f/d0003.txt", "g/other"} {
		objects[key] = []byte("x")
	}
	return objects
}

// folders lists what lies directly below a prefix.
func (s *reading) folders() {
	want := []string{"f/a", "f/d0003.txt"}
	for i := range 1100 {
		want = append(want, fmt.Sprintf("f/d%04d/", i))
	}
	slices.Sort(want)
	var got []string
	for info, err := range storage.Folders(s.Context(), s.r, s.prefix+"f/") {
		if err != nil {
			s.Fatalf("folders: %v", err)
		}
		got = append(got, strings.TrimPrefix(info.Key, s.prefix))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.Fatalf("%d folders and objects, want %d: %.200v", len(got), len(want), got)
	}
	for range storage.Folders(s.Context(), s.r, s.prefix+"f/") {
		break // stops without harm
	}
	for info := range storage.Folders(s.Context(), s.r, s.prefix+"none/") {
		s.Fatalf("found %q where there is nothing", info.Key)
	}
}

func (s *reading) cancelled() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	_, _, err := s.r.Get(ctx, s.prefix+"key")
	s.wantError("get", err, context.Canceled)
	_, err = s.r.Stat(ctx, s.prefix+"key")
	s.wantError("stat", err, context.Canceled)
	for _, prefix := range []string{s.prefix, s.prefix + "none/"} {
		ended := false
		for _, err := range s.r.List(ctx, prefix) {
			ended = errors.Is(err, context.Canceled)
		}
		if !ended {
			s.Errorf("the list of %s does not end with the context's error", prefix)
		}
	}
	s.wantContent("key", []byte("x"))
}
