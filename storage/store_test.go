package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/storagetest"
)

// counting returns a store and a function that counts calls of a method.
func counting(t *testing.T) (*storage.Store, *memory.Bucket, func(method string) int) {
	t.Helper()
	calls := map[string]int{}
	b := memory.New()
	faulty := storagetest.NewFaulty(b, func(c storagetest.Call) storagetest.Fault {
		calls[c.Method]++
		return storagetest.None
	})
	return storage.New(faulty), b, func(method string) int { return calls[method] }
}

func overwrite(t *testing.T, b storage.Bucket, key string, data []byte) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), storage.Digest(data), storage.Condition{}); err != nil {
		t.Fatal(err)
	}
}

func TestArtifacts(t *testing.T) {
	s, b, calls := counting(t)
	data := []byte(`{"a":1}`)
	digest := storage.Digest(data)
	want := storage.Object{Key: "artifacts/sha256/" + digest[:2] + "/" + digest + ".json", SHA256: digest, Size: 7}
	obj, err := s.PutArtifact(t.Context(), data, ".json")
	if err != nil || obj != want {
		t.Fatalf("stored as %+v (%v), want %+v", obj, err, want)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if obj, err := s.PutArtifactFile(t.Context(), path, ".json"); err != nil || obj != want {
		t.Fatalf("the file is stored as %+v (%v)", obj, err)
	}
	if n := calls("Put"); n != 1 {
		t.Errorf("the same bytes were sent %d times", n)
	}
	if got, err := s.Read(t.Context(), obj, 7); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %q (%v)", got, err)
	}
	// Something else at the artifact's place is replaced.
	overwrite(t, b, obj.Key, []byte("damage"))
	if _, err := s.PutArtifact(t.Context(), data, ".json"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(t.Context(), obj, 7); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after damage read %q (%v)", got, err)
	}
	if _, err := s.PutArtifact(t.Context(), data, "/../x"); !errors.Is(err, storage.ErrKey) {
		t.Errorf("a wild extension: %v", err)
	}
	if _, err := s.PutArtifactFile(t.Context(), path+"x", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestNamed(t *testing.T) {
	s, _, _ := counting(t)
	for _, content := range []string{"one", "the other"} {
		obj, err := s.PutNamed(t.Context(), "runs/w/r/run.json", []byte(content))
		if err != nil || obj.Key != "runs/w/r/run.json" || obj.SHA256 != storage.Digest([]byte(content)) || obj.Size != int64(len(content)) {
			t.Fatalf("stored as %+v (%v)", obj, err)
		}
		got, info, err := s.ReadNamed(t.Context(), obj.Key, 100)
		if err != nil || string(got) != content || info.SHA256 != obj.SHA256 || info.ETag == "" {
			t.Errorf("read %q, %+v (%v)", got, info, err)
		}
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutNamedFile(t.Context(), "runs/w/r/report.html", path); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.ReadNamed(t.Context(), "runs/w/r/report.html", 11); err != nil || string(got) != "from a file" {
		t.Errorf("read %q (%v)", got, err)
	}
	if _, _, err := s.ReadNamed(t.Context(), "runs/w/r/report.html", 10); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/./b", `a\b`, "a b", "ä", strings.Repeat("a", 256), strings.Repeat("a/", 600) + "a"} {
		if _, err := s.PutNamed(t.Context(), key, nil); !errors.Is(err, storage.ErrKey) {
			t.Errorf("key %.20q: %v", key, err)
		}
	}
}

func TestReadVerifies(t *testing.T) {
	s, b, _ := counting(t)
	obj, err := s.PutArtifact(t.Context(), []byte("the content"), "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, damage := range map[string]string{"flipped": "the c0ntent", "cut": "the conten", "longer": "the content!", "empty": ""} {
		overwrite(t, b, obj.Key, []byte(damage))
		if _, err := s.Read(t.Context(), obj, 100); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: read: %v", name, err)
		}
		if err := s.ReadToFile(t.Context(), obj, filepath.Join(dir, "file")); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: to a file: %v", name, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left in the folder: %v", entries)
	}
	if _, err := s.Read(t.Context(), obj, 10); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := s.Read(t.Context(), storage.Object{Key: "no", SHA256: obj.SHA256, Size: 1}, 10); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	for _, bad := range []storage.Object{{Key: obj.Key}, {Key: obj.Key, SHA256: obj.SHA256, Size: -1}, {Key: obj.Key, SHA256: strings.ToUpper(obj.SHA256), Size: 11}} {
		if _, err := s.Open(t.Context(), bad); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("reference %+v: %v", bad, err)
		}
	}
}

// liar is a bucket whose reads differ from what it describes, as often as told.
type liar struct {
	storage.Bucket
	lies int
	tell func(io.ReadCloser) io.ReadCloser
}

func (l *liar) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	r, info, err := l.Bucket.Get(ctx, key)
	if err == nil && l.lies > 0 {
		l.lies--
		r = l.tell(r)
	}
	return r, info, err
}

// spoiled reads other bytes than r.
type spoiled struct {
	io.Reader
	io.Closer
}

// bad fails with err once r has ended.
type bad struct{ err error }

func (b bad) Read([]byte) (int, error) { return 0, b.err }

func TestDamageOnTheWay(t *testing.T) {
	broken := errors.New("connection reset")
	data := bytes.Repeat([]byte("0123456789"), 1000)
	for name, tell := range map[string]func(r io.ReadCloser) io.ReadCloser{
		"flipped": func(r io.ReadCloser) io.ReadCloser {
			return spoiled{io.MultiReader(strings.NewReader("x"), io.LimitReader(r, 9999)), r}
		},
		"cut":    func(r io.ReadCloser) io.ReadCloser { return spoiled{io.LimitReader(r, 5000), r} },
		"longer": func(r io.ReadCloser) io.ReadCloser { return spoiled{io.MultiReader(r, strings.NewReader("x")), r} },
		"reset": func(r io.ReadCloser) io.ReadCloser {
			return spoiled{io.MultiReader(io.LimitReader(r, 5000), bad{broken}), r}
		},
	} {
		l := &liar{Bucket: memory.New(), tell: tell}
		s := storage.New(l)
		obj, err := s.PutArtifact(t.Context(), data, "")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "file")
		l.lies = 2
		if got, err := s.Read(t.Context(), obj, 1<<20); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s twice: read %d bytes (%v)", name, len(got), err)
		}
		l.lies = 2
		if err := s.ReadToFile(t.Context(), obj, path); err != nil {
			t.Errorf("%s twice: to a file: %v", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s twice: the file has %d bytes (%v)", name, len(got), err)
		}
		l.lies = 2
		if got, _, err := s.ReadNamed(t.Context(), obj.Key, 1<<20); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s twice: read %d bytes by name (%v)", name, len(got), err)
		}
		l.lies = 1000
		want := storage.ErrCorrupt
		if name == "reset" {
			want = broken
		}
		if _, err := s.Read(t.Context(), obj, 1<<20); !errors.Is(err, want) {
			t.Errorf("%s always: %v", name, err)
		}
		r, err := s.Open(t.Context(), obj)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, want) {
			t.Errorf("%s always: open reader: %v", name, err)
		}
		r.Close()
	}
}

func TestReadToFileReplaces(t *testing.T) {
	s, _, _ := counting(t)
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"a long first content", "short"} {
		obj, err := s.PutArtifact(t.Context(), []byte(content), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.ReadToFile(t.Context(), obj, path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("the file holds %q (%v)", got, err)
		}
	}
}

func TestSafeName(t *testing.T) {
	for name, want := range map[string]string{
		"scratches_12.jpg": "scratches_12.jpg",
		"":                 "%",
		".":                "%2E",
		"..":               "%2E%2E",
		"...":              "...",
		"a/b":              "a%2Fb",
		"a b%20":           "a%20b%2520",
		"ä":                "%C3%A4",
		"%":                "%25",
	} {
		if got := storage.SafeName(name); got != want {
			t.Errorf("SafeName(%q) = %q, want %q", name, got, want)
		}
	}
	seen := map[string]string{}
	for i := range 300 {
		for _, name := range []string{strings.Repeat("x", i), strings.Repeat("ä", i), strings.Repeat("x", i) + ".png", strings.Repeat("%", i) + "é.png"} {
			safe := storage.SafeName(name)
			if err := storage.ValidKey(safe); err != nil || strings.Contains(safe, "/") {
				t.Errorf("SafeName(%q) = %q: %v", name, safe, err)
			}
			if former, taken := seen[safe]; taken && former != name {
				t.Errorf("%q and %q both give %q", former, name, safe)
			}
			seen[safe] = name
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, name := range []string{"", "..", "a/b.png", "%-", "\x00", strings.Repeat("ä", 200) + ".jpeg", strings.Repeat("a", 300) + ".verylongextension"} {
		f.Add(name, name+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := storage.SafeName(a), storage.SafeName(b)
		if err := storage.ValidKey(x); err != nil || strings.Contains(x, "/") {
			t.Fatalf("SafeName(%q) = %q: %v", a, x, err)
		}
		if (a == b) != (x == y) {
			t.Fatalf("SafeName(%q) = %q, SafeName(%q) = %q", a, x, b, y)
		}
	})
}

func FuzzValidKey(f *testing.F) {
	for _, key := range []string{"a/b", "..", "a/../b", "/a", "a//b", "a/", `a\..\b`, "a/.%2e/b"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if storage.ValidKey(key) == nil && !filepath.IsLocal(filepath.FromSlash(key)) {
			t.Fatalf("%q is valid and leads out of its folder", key)
		}
	})
}

func ExampleStore() {
	ctx := context.Background()
	s := storage.New(memory.New())
	obj, err := s.PutArtifact(ctx, []byte("hello"), ".txt")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(obj.Key)
	// Output: artifacts/sha256/2c/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824.txt
}
