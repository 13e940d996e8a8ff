package release_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
	"github.com/defectforge/defectforge/storage/storagetest"
)

func TestVerifyOK(t *testing.T) {
	b := memory.New()
	mustPublish(t, b, draft("old"))
	p := mustPublish(t, b, draft("new"))
	for _, name := range []string{"latest", "", p.Release} {
		r, err := release.Verify(t.Context(), b, "scratches", name)
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK || len(r.Problems) != 0 || r.Release != p.Release || r.ManifestSHA256 != p.ManifestSHA256 || r.Files != 8 || r.Bytes != p.Bytes {
			t.Errorf("verify %q: %+v", name, r)
		}
	}
}

func TestVerifyProblems(t *testing.T) {
	digest := storage.Digest
	image := []byte("first image of a")
	rotten := bytes.ToUpper(image)
	tests := []struct {
		name  string
		spoil func(t *testing.T, b storage.Bucket, prefix string)
		want  []string // the beginnings of the problems
	}{
		{"missing", func(t *testing.T, b storage.Bucket, prefix string) {
			if err := b.Delete(t.Context(), prefix+"images/scratches/000000.png"); err != nil {
				t.Fatal(err)
			}
		}, []string{"images/scratches/000000.png: missing"}},
		{"corrupt", func(t *testing.T, b storage.Bucket, prefix string) {
			put(t, b, prefix+"images/scratches/000000.png", rotten)
		}, []string{"images/scratches/000000.png: SHA-256 is " + digest(rotten) + ", the manifest says " + digest(image)}},
		{"size", func(t *testing.T, b storage.Bucket, prefix string) {
			put(t, b, prefix+"images/scratches/000000.png", image[:5])
		}, []string{"images/scratches/000000.png: 5 bytes, the manifest says 16"}},
		{"extra", func(t *testing.T, b storage.Bucket, prefix string) {
			put(t, b, prefix+"images/scratches/000002.png", image)
			put(t, b, prefix+"manifest.json.bak", image)
		}, []string{"images/scratches/000002.png: not in the manifest", "manifest.json.bak: not in the manifest"}},
		{"several", func(t *testing.T, b storage.Bucket, prefix string) {
			put(t, b, prefix+"report.html", nil)
			put(t, b, prefix+"images/scratches/000000.png", rotten)
			put(t, b, prefix+"a", nil)
		}, []string{"a: not in", "images/scratches/000000.png: SHA-256 is", "report.html: 0 bytes"}},
		{"no manifest", func(t *testing.T, b storage.Bucket, prefix string) {
			if err := b.Delete(t.Context(), prefix+"manifest.json"); err != nil {
				t.Fatal(err)
			}
		}, []string{"manifest.json: missing"}},
		{"malformed manifest", func(t *testing.T, b storage.Bucket, prefix string) {
			put(t, b, prefix+"manifest.json", []byte("{}\n"))
		}, []string{"manifest.json: SHA-256 is", "manifest.json: manifest: malformed"}},
		{"another's manifest", func(t *testing.T, b storage.Bucket, prefix string) {
			other := mustPublish(t, memory.New(), draft("b"))
			copyOf := memory.New()
			mustPublish(t, copyOf, draft("b"))
			put(t, b, prefix+"manifest.json", contents(t, copyOf, other.Prefix+"manifest.json"))
		}, []string{"manifest.json: SHA-256 is", "manifest.json: malformed: it is that of release"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := memory.New()
			p := mustPublish(t, b, draft("a"))
			test.spoil(t, b, p.Prefix)
			for _, name := range []string{"latest", p.Release} {
				r, err := release.Verify(t.Context(), b, "scratches", name)
				if err != nil {
					t.Fatal(err)
				}
				match := slices.EqualFunc(r.Problems, test.want, strings.HasPrefix)
				if r.OK || !match {
					t.Errorf("verify %q: ok %t, problems %q, want %q", name, r.OK, r.Problems, test.want)
				}
			}
		})
	}
}

func TestVerifyPointer(t *testing.T) {
	b := memory.New()
	r, err := release.Verify(t.Context(), b, "scratches", "latest")
	if err != nil || r.OK || !slices.Equal(r.Problems, []string{"latest.json: missing"}) {
		t.Errorf("nothing published: %+v (%v)", r, err)
	}
	p := mustPublish(t, b, draft("a"))
	latest := contents(t, b, "releases/scratches/latest.json")
	put(t, b, "releases/scratches/latest.json", bytes.Replace(latest, []byte(p.ManifestSHA256[:8]), []byte("00000000"), 1))
	r, err = release.Verify(t.Context(), b, "scratches", p.Release)
	if err != nil || r.OK || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "latest.json says 00000000") {
		t.Errorf("a pointer with another digest: %+v (%v)", r, err)
	}
	put(t, b, "releases/scratches/latest.json", latest[:len(latest)-5])
	r, err = release.Verify(t.Context(), b, "scratches", "latest")
	if err != nil || r.OK || len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0], "latest.json: ") {
		t.Errorf("half a pointer: %+v (%v)", r, err)
	}
	if r, err := release.Verify(t.Context(), b, "scratches", p.Release); err != nil || !r.OK {
		t.Errorf("a good release by name, in spite of half a pointer: %+v (%v)", r, err)
	}
	for _, bad := range []string{"../x", "0123", strings.Repeat("G", 16)} {
		if _, err := release.Verify(t.Context(), b, "scratches", bad); !errors.Is(err, release.ErrMalformed) {
			t.Errorf("release %q: %v", bad, err)
		}
		if _, err := release.Verify(t.Context(), b, bad+"/", "latest"); !errors.Is(err, release.ErrMalformed) {
			t.Errorf("class %q: %v", bad, err)
		}
	}
}

func TestStoreFailureIsNoVerdict(t *testing.T) {
	b := memory.New()
	mustPublish(t, b, draft("a"))
	counter := storagetest.NewFaulty(b, storagetest.FailAt(0, storagetest.None))
	if _, err := release.Verify(t.Context(), counter, "scratches", "latest"); err != nil {
		t.Fatal(err)
	}
	for n := range counter.Calls() {
		faulty := storagetest.NewFaulty(b, func(c storagetest.Call) storagetest.Fault {
			if c.N > n { // from here on, for good
				return storagetest.Before
			}
			return storagetest.None
		})
		if r, err := release.Verify(t.Context(), faulty, "scratches", "latest"); !errors.Is(err, storagetest.ErrInjected) {
			t.Errorf("failing from call %d: %+v (%v)", n+1, r, err)
		}
	}
}

func TestListSkipsHalfReleases(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, draft("a"))
	q := mustPublish(t, memory.New(), draft("b"))
	put(t, b, q.Prefix+"images/scratches/000000.png", []byte("x"))
	put(t, b, "releases/pits/"+p.Release+"/deep/manifest.json", []byte("x"))
	put(t, b, "releases/pits/no-name/manifest.json", []byte("x"))
	list, err := release.List(t.Context(), b, "")
	if err != nil || len(list) != 1 || list[0].Release != p.Release {
		t.Errorf("list: %+v (%v)", list, err)
	}
	// A manifest that can't be read is shown, with the reason.
	put(t, b, q.Prefix+"manifest.json", []byte("x"))
	list, err = release.List(t.Context(), b, "scratches")
	if err != nil || len(list) != 2 || list[0].Release != q.Release || list[0].Problem == "" || list[0].Sequence != 0 {
		t.Errorf("list: %+v (%v)", list, err)
	}
	if list, err := release.List(t.Context(), b, "nothing"); err != nil || list == nil || len(list) != 0 {
		t.Errorf("list of nothing: %#v (%v)", list, err)
	}
	if _, err := release.List(t.Context(), b, "a/b"); !errors.Is(err, release.ErrMalformed) {
		t.Errorf("list of a/b: %v", err)
	}
}

func TestPull(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, draft("a"))
	dir := filepath.Join(t.TempDir(), "new", "set")
	got, err := release.Pull(t.Context(), b, "scratches", "latest", dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Release != p.Release || got.ManifestSHA256 != p.ManifestSHA256 || got.Files != 8 || got.Images != 2 || got.Bytes != p.Bytes || got.Dir != dir {
		t.Errorf("pulled %+v", got)
	}
	for _, key := range keys(t, b, p.Prefix) {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(key, p.Prefix))))
		if err != nil || !bytes.Equal(data, contents(t, b, key)) {
			t.Errorf("%s differs in the folder (%v)", key, err)
		}
	}
	if _, err := release.Pull(t.Context(), b, "scratches", p.Release, dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into a folder with something in it: %v", err)
	}
	empty := t.TempDir()
	if _, err := release.Pull(t.Context(), b, "scratches", p.Release, empty); err != nil {
		t.Errorf("into an empty folder: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := release.Pull(t.Context(), b, "scratches", p.Release, file); err == nil {
		t.Error("onto a file: no error")
	}
}

func TestPullLeavesNothing(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, draft("a"))
	put(t, b, p.Prefix+"report.json", []byte(`{"seed":"b"}`))
	parent := t.TempDir()
	dir := filepath.Join(parent, "set")
	if _, err := release.Pull(t.Context(), b, "scratches", "latest", dir); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("pull of a corrupt release: %v", err)
	}
	if _, err := release.Pull(t.Context(), b, "scratches", "0123456789abcdef", dir); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("pull of nothing: %v", err)
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

// TestPullHostile pulls a manifest that is consistent in itself, name and all,
// but has a path that leads out of the folder.
func TestPullHostile(t *testing.T) {
	for _, path := range []string{"../evil", "images/../../evil.png", "/evil", `..\evil`, "C:evil", "a//evil", "./evil", "images/..%2f..", "a\x00b"} {
		b := memory.New()
		name, raw := release.HostileManifest("scratches", path, []byte("evil"))
		put(t, b, "releases/scratches/"+name+"/manifest.json", raw)
		put(t, b, "releases/scratches/"+name+"/"+path, []byte("evil"))
		parent := t.TempDir()
		_, err := release.Pull(t.Context(), b, "scratches", name, filepath.Join(parent, "set"))
		if !errors.Is(err, release.ErrMalformed) {
			t.Errorf("path %q: %v", path, err)
		}
		if entries, err := os.ReadDir(parent); err != nil || len(entries) != 0 {
			t.Errorf("path %q left %v (%v)", path, entries, err)
		}
	}
}
