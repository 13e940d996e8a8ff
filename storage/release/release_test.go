package release_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
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

var update = flag.Bool("update", false, "write the golden files anew")

// draft is a draft whose content depends on seed.
func draft(seed string) release.Draft { return draftOf("scratches", seed) }

func draftOf(class, seed string) release.Draft {
	return release.Draft{
		Class: class,
		Files: []release.DraftFile{
			{Path: "images/" + class + "/000001.png", Data: []byte("second image of " + seed), Fields: map[string]any{"seed": seed, "index": 1, "distance": 0.5}},
			{Path: "images/" + class + "/000000.png", Data: []byte("first image of " + seed), Fields: map[string]any{"seed": seed, "index": 0, "distance": 1e-7}},
			{Path: "report.html", Data: []byte("<p>" + seed)},
			{Path: "report.json", Data: []byte(`{"seed":"` + seed + `"}`)},
		},
		Attributes: map[string]string{"seed": seed, "note": `<a> & "b"`},
	}
}

func mustPublish(t *testing.T, b storage.Bucket, d release.Draft) release.Published {
	t.Helper()
	p, err := release.Publish(t.Context(), b, d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func put(t *testing.T, b storage.Bucket, key string, data []byte) {
	t.Helper()
	if _, err := b.Put(t.Context(), key, bytes.NewReader(data), int64(len(data)), storage.Digest(data), storage.Condition{}); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, b storage.Bucket, key string) []byte {
	t.Helper()
	data, _, err := storage.New(b).ReadNamed(t.Context(), key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func keys(t *testing.T, b storage.Bucket, prefix string) []string {
	t.Helper()
	var all []string
	for info, err := range b.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return all
}

func TestPublishGolden(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, draft("a"))
	want := []string{"README.md", "croissant.json", "images/scratches/000000.png", "images/scratches/000001.png",
		"manifest.json", "metadata.jsonl", "report.html", "report.json", "shards/scratches-000000.tar"}
	for i := range want {
		want[i] = p.Prefix + want[i]
	}
	if got := keys(t, b, p.Prefix); !slices.Equal(got, want) {
		t.Errorf("published %q\nwant      %q", got, want)
	}
	for _, name := range []string{"manifest.json", "metadata.jsonl", "README.md", "croissant.json", "latest.json", "shards/scratches-000000.tar"} {
		key := p.Prefix + name
		if name == "latest.json" {
			key = "releases/scratches/latest.json"
		}
		got, golden := contents(t, b, key), filepath.Join("testdata", filepath.Base(name)+".golden")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
		}
	}
	if p.Images != 2 || p.Files != 8 || p.Sequence != 1 || !p.Latest || p.ManifestSHA256 != storage.Digest(contents(t, b, p.Prefix+"manifest.json")) {
		t.Errorf("published %+v", p)
	}
}

func TestMetadataLines(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, draft("a"))
	lines := strings.Split(strings.TrimSpace(string(contents(t, b, p.Prefix+"metadata.jsonl"))), "\n")
	for i, line := range lines {
		var row struct {
			FileName string  `json:"file_name"`
			Index    int     `json:"index"`
			Seed     string  `json:"seed"`
			Distance float64 `json:"distance"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if row.FileName != fmt.Sprintf("images/scratches/%06d.png", i) || row.Index != i || row.Seed != "a" || row.Distance == 0 {
			t.Errorf("line %d is %+v", i, row)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestPublishFromArtifacts(t *testing.T) {
	b := memory.New()
	image := bytes.Repeat([]byte("pixel"), 5000)
	obj, err := storage.New(b).PutArtifact(t.Context(), image, ".png")
	if err != nil {
		t.Fatal(err)
	}
	d := release.Draft{Class: "c", Files: []release.DraftFile{{Path: "images/c/x.png", Object: obj}}}
	p := mustPublish(t, b, d)
	if got := contents(t, b, p.Prefix+"images/c/x.png"); !bytes.Equal(got, image) {
		t.Errorf("published %d bytes, want %d", len(got), len(image))
	}
	// The same bytes handed over directly are the same release.
	same := mustPublish(t, b, release.Draft{Class: "c", Files: []release.DraftFile{{Path: "images/c/x.png", Data: image}}})
	if same != p {
		t.Errorf("from memory %+v, from the store %+v", same, p)
	}
	d.Files[0].Object.SHA256 = storage.Digest([]byte("another"))
	if _, err := release.Publish(t.Context(), b, d); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("an artifact with another digest: %v", err)
	}
	d.Files[0].Object.Key = "artifacts/gone"
	if _, err := release.Publish(t.Context(), b, d); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a missing artifact: %v", err)
	}
	if list, err := release.List(t.Context(), b, "c"); err != nil || len(list) != 1 {
		t.Errorf("failed publishes show: %+v (%v)", list, err)
	}
}

func TestNameFollowsContent(t *testing.T) {
	b := memory.New()
	base := mustPublish(t, b, draft("a"))
	for name, change := range map[string]func(*release.Draft){
		"class":     func(d *release.Draft) { *d = draftOf("pits", "a") },
		"license":   func(d *release.Draft) { d.License = "MIT" },
		"about":     func(d *release.Draft) { d.About = "x" },
		"attribute": func(d *release.Draft) { d.Attributes["seed"] = "b" },
		"bytes":     func(d *release.Draft) { d.Files[0].Data = []byte("other") },
		"path":      func(d *release.Draft) { d.Files[0].Path = "images/scratches/other.png" },
		"fields":    func(d *release.Draft) { d.Files[0].Fields["index"] = 2 },
		"card": func(d *release.Draft) {
			d.Files = append(d.Files, release.DraftFile{Path: "README.md", Data: []byte("x")})
		},
	} {
		d := draft("a")
		change(&d)
		if p := mustPublish(t, b, d); p.Release == base.Release {
			t.Errorf("another %s gives the same release", name)
		}
	}
	d := draft("a")
	slices.Reverse(d.Files)
	if p := mustPublish(t, memory.New(), d); p.ManifestSHA256 != base.ManifestSHA256 {
		t.Error("the order of the draft's files matters")
	}
}

func TestBadDrafts(t *testing.T) {
	ctx := t.Context()
	for name, change := range map[string]func(*release.Draft){
		"no class":         func(d *release.Draft) { d.Class = "" },
		"class with slash": func(d *release.Draft) { d.Class = "a/b" },
		"dots":             func(d *release.Draft) { d.Class = ".." },
		"no images":        func(d *release.Draft) { d.Files = d.Files[2:] },
		"manifest":         func(d *release.Draft) { d.Files[2].Path = "manifest.json" },
		"Manifest":         func(d *release.Draft) { d.Files[2].Path = "MANIFEST.JSON/x" },
		"metadata":         func(d *release.Draft) { d.Files[2].Path = "metadata.jsonl" },
		"traversal":        func(d *release.Draft) { d.Files[2].Path = "../report.html" },
		"absolute":         func(d *release.Draft) { d.Files[2].Path = "/report.html" },
		"backslash":        func(d *release.Draft) { d.Files[2].Path = `a\b` },
		"twice":            func(d *release.Draft) { d.Files[2].Path = "report.json" },
		"case":             func(d *release.Draft) { d.Files[2].Path = "REPORT.json" },
		"file as folder":   func(d *release.Draft) { d.Files[2].Path = "report.json/x" },
		"stray image":      func(d *release.Draft) { d.Files[2].Path = "sheet.png" },
		"text in images":   func(d *release.Draft) { d.Files[2].Path = "images/a.txt" },
		"shard":            func(d *release.Draft) { d.Files[2].Path = "shards/x.tar" },
		"croissant":        func(d *release.Draft) { d.Files[2].Path = "croissant.json" },
		"signature":        func(d *release.Draft) { d.Files[2].Path = "manifest.json.minisig" },
		"another's folder": func(d *release.Draft) { d.Files[0].Path = "images/pits/000001.png" },
		"no folder":        func(d *release.Draft) { d.Files[0].Path = "images/000001.png" },
		"deeper folder":    func(d *release.Draft) { d.Files[0].Path = "images/scratches/a/000001.png" },
		"dotted twin": func(d *release.Draft) {
			d.Files[0].Path, d.Files[1].Path = "images/scratches/a.b.png", "images/scratches/a_b.png"
		},
		"field of two types": func(d *release.Draft) { d.Files[0].Fields["index"] = "one" },
		"too large": func(d *release.Draft) {
			d.Files[0].Object = storage.Object{Key: "k", SHA256: storage.Digest(nil), Size: 64_000_000}
		},
		"jpeg":             func(d *release.Draft) { d.Files[2].Path = "images/a.jpg" },
		"file_name":        func(d *release.Draft) { d.Files[0].Fields["file_name"] = "x" },
		"fields elsewhere": func(d *release.Draft) { d.Files[2].Fields = map[string]any{"a": 1} },
		"no JSON":          func(d *release.Draft) { d.Files[0].Fields["f"] = func() {} },
		"attribute":        func(d *release.Draft) { d.Attributes["a"] = "\xff" },
	} {
		b := memory.New()
		d := draft("a")
		change(&d)
		if _, err := release.Publish(ctx, b, d); !errors.Is(err, release.ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
		if left := keys(t, b, ""); len(left) > 0 {
			t.Errorf("%s: wrote %q", name, left)
		}
	}
}

// TestOrder holds the protocol's order: data, sync, manifest, sync, pointer, sync.
func TestOrder(t *testing.T) {
	var log []string
	calls := make(chan storagetest.Call, 1000)
	b := storagetest.NewFaulty(memory.New(), func(c storagetest.Call) storagetest.Fault { calls <- c; return storagetest.None })
	p := mustPublish(t, b, draft("a"))
	close(calls)
	for c := range calls {
		switch {
		case c.Method == "Sync":
			log = append(log, "sync")
		case c.Method == "Put" && strings.HasSuffix(c.Key, "latest.json"):
			log = append(log, "pointer")
		case c.Method == "Put" && c.Key == p.Prefix+"manifest.json":
			log = append(log, "manifest")
		case c.Method == "Put":
			log = append(log, "data")
		}
	}
	if got, want := strings.Join(slices.Compact(log), " "), "data sync manifest sync pointer sync"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
}

func TestSequence(t *testing.T) {
	b := memory.New()
	first := mustPublish(t, b, draft("a"))
	second := mustPublish(t, b, draft("b"))
	if first.Sequence != 1 || second.Sequence != 2 || !second.Latest {
		t.Fatalf("published %+v, %+v", first, second)
	}
	if again := mustPublish(t, b, draft("b")); again != second {
		t.Errorf("the latest again: %+v, at first %+v", again, second)
	}
	before := contents(t, b, "releases/scratches/latest.json")
	again := mustPublish(t, b, draft("a"))
	if again.Sequence != 1 || again.Latest || again.ManifestSHA256 != first.ManifestSHA256 {
		t.Errorf("an old one again: %+v", again)
	}
	if after := contents(t, b, "releases/scratches/latest.json"); !bytes.Equal(after, before) {
		t.Errorf("publishing an old release again moved the pointer to %s", after)
	}
	third := mustPublish(t, b, draft("c"))
	if third.Sequence != 3 {
		t.Errorf("published %+v", third)
	}
	list, err := release.List(t.Context(), b, "")
	if err != nil || len(list) != 3 {
		t.Fatalf("list: %+v (%v)", list, err)
	}
	for i, p := range []release.Published{first, second, third} {
		s := list[i]
		if s.Release != p.Release || s.Sequence != i+1 || s.Latest != (i == 2) || s.ManifestSHA256 != p.ManifestSHA256 ||
			s.Images != 2 || s.Files != 8 || s.Bytes != p.Bytes || s.Class != "scratches" || s.Published.IsZero() || s.Problem != "" {
			t.Errorf("listed %+v for %+v", s, p)
		}
	}
}

func TestConflict(t *testing.T) {
	clean := mustPublish(t, memory.New(), draft("a"))
	for _, name := range []string{"images/scratches/000000.png", "metadata.jsonl", "shards/scratches-000000.tar", "manifest.json"} {
		b := memory.New()
		put(t, b, clean.Prefix+name, []byte("somebody else's"))
		if _, err := release.Publish(t.Context(), b, draft("a")); !errors.Is(err, release.ErrConflict) {
			t.Errorf("other content in %s: %v", name, err)
		}
		if got := contents(t, b, clean.Prefix+name); string(got) != "somebody else's" {
			t.Errorf("%s was overwritten", name)
		}
		if _, err := release.ReadLatest(t.Context(), b, "scratches"); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("a pointer was written in spite of the conflict (%v)", err)
		}
	}
	b := memory.New()
	put(t, b, "releases/scratches/latest.json", []byte("{}"))
	if _, err := release.Publish(t.Context(), b, draft("a")); !errors.Is(err, release.ErrMalformed) {
		t.Errorf("a pointer that is none: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := memory.New()
	if _, err := release.Publish(ctx, b, draft("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("publish: %v", err)
	}
	mustPublish(t, b, draft("a"))
	if _, err := release.Verify(ctx, b, "scratches", "latest"); !errors.Is(err, context.Canceled) {
		t.Errorf("verify: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "x")
	if _, err := release.Pull(ctx, b, "scratches", "latest", dir); !errors.Is(err, context.Canceled) {
		t.Errorf("pull: %v", err)
	}
}
