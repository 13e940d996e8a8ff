package release_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
)

// many is a draft with n images of some bytes each.
func many(class string, n, size int) release.Draft {
	d := release.Draft{Class: class}
	for i := range n {
		data := bytes.Repeat([]byte{byte(i)}, size+i)
		d.Files = append(d.Files, release.DraftFile{Path: fmt.Sprintf("images/%s/%s-%06d.png", class, class, i), Data: data,
			Fields: map[string]any{"label": class, "latent_index": i}})
	}
	return d
}

func wantSamples(t *testing.T, r *release.Release, class string, n, size int) {
	t.Helper()
	i := 0
	for s, err := range r.Samples(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Label != class || len(s.PNG) != size+i || fmt.Sprint(s.Metadata["latent_index"]) != fmt.Sprint(i) || !strings.HasSuffix(s.Path, fmt.Sprintf("%06d.png", i)) {
			t.Fatalf("sample %d: %s, %s, %d bytes, %v", i, s.Path, s.Label, len(s.PNG), s.Metadata)
		}
		i++
	}
	if i != n {
		t.Errorf("%d samples, want %d", i, n)
	}
	for range r.Samples(t.Context()) {
		break // and no panic
	}
}

func TestSamples(t *testing.T) {
	b := memory.New()
	p := mustPublish(t, b, many("pits", 21, 100))
	r, err := release.Open(t.Context(), b, "pits", "latest")
	if err != nil {
		t.Fatal(err)
	}
	wantSamples(t, r, "pits", 21, 100)
	dir := filepath.Join(t.TempDir(), "pits")
	if _, err := release.Pull(t.Context(), b, "pits", "latest", dir); err != nil {
		t.Fatal(err)
	}
	if r, err = release.OpenDir(t.Context(), dir); err != nil || r.ManifestSHA256 != p.ManifestSHA256 {
		t.Fatalf("opened %+v (%v)", r, err)
	}
	wantSamples(t, r, "pits", 21, 100)
	if _, err := r.Read(t.Context(), "images/pits/none.png"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("not listed: %v", err)
	}
	// A wrong byte ends the iteration where it lies.
	put(t, b, p.Prefix+"images/pits/pits-000010.png", bytes.Repeat([]byte{1}, 110))
	r, err = release.Open(t.Context(), b, "pits", p.Release)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, err = range r.Samples(t.Context()) {
		if err == nil {
			seen++
		}
	}
	if !errors.Is(err, storage.ErrCorrupt) || seen > 10 {
		t.Errorf("after %d samples: %v", seen, err)
	}
}

// TestOddMetadata: lines that do not fit the images are noticed, though every
// digest is right.
func TestOddMetadata(t *testing.T) {
	for what, lines := range map[string]string{
		"right": `{"file_name":"images/a.png"}`, "none": "", "no JSON": "x", "another": `{"file_name":"images/b.png"}`, "a number": `{"file_name":1}`,
		"twice": `{"file_name":"images/a.png"}` + "\n" + `{"file_name":"images/a.png"}`,
	} {
		b := memory.New()
		name, raw := release.OddMetadata("pits", []byte(lines))
		prefix := release.Prefix("pits", name)
		put(t, b, prefix+"manifest.json", raw)
		put(t, b, prefix+"metadata.jsonl", []byte(lines))
		put(t, b, prefix+"images/a.png", nil)
		r, err := release.Open(t.Context(), b, "pits", name)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range r.Samples(t.Context()) {
			if (what == "right") != (err == nil) || err != nil && !errors.Is(err, release.ErrMalformed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err = release.PullSet(t.Context(), b, []release.Choice{{Class: "pits", Release: name}}, filepath.Join(t.TempDir(), "x"))
		if (what == "right") != (err == nil) {
			t.Errorf("%s: pulled: %v", what, err)
		}
	}
}

func TestVerifyDir(t *testing.T) {
	b := memory.New()
	if _, err := release.Publish(t.Context(), b, draft("a"), release.WithSigner(seal("key"))); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		want  string // the beginning of the only problem
	}{
		"whole":   {func(string) error { return nil }, ""},
		"changed": {func(d string) error { return os.WriteFile(filepath.Join(d, "report.html"), []byte("<p>b"), 0o600) }, "report.html: SHA-256 is"},
		"gone":    {func(d string) error { return os.Remove(filepath.Join(d, "README.md")) }, "README.md: missing"},
		"more":    {func(d string) error { return os.WriteFile(filepath.Join(d, "images", "x"), nil, 0o600) }, "images/x: not in the manifest"},
		"folder": {func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, "README.md")), os.Mkdir(filepath.Join(d, "README.md"), 0o700))
		}, "README.md: missing"},
		"bad manifest": {func(d string) error { return os.WriteFile(filepath.Join(d, "manifest.json"), []byte("{}"), 0o600) },
			"manifest.json: open release"},
		"no manifest":  {func(d string) error { return os.Remove(filepath.Join(d, "manifest.json")) }, "manifest.json: open release"},
		"no signature": {func(d string) error { return os.Remove(filepath.Join(d, "manifest.json.minisig")) }, "manifest.json.minisig: signature: missing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "r")
			if got, err := release.Pull(t.Context(), b, "scratches", "latest", dir); err != nil || !got.Signed {
				t.Fatalf("%+v (%v)", got, err)
			}
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			r, err := release.VerifyDir(t.Context(), dir, release.WithVerifier(seal("key")))
			if err != nil || r.OK != (tt.want == "") {
				t.Fatalf("%+v (%v)", r, err)
			}
			if tt.want != "" && (len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0], tt.want)) {
				t.Errorf("problems %q", r.Problems)
			}
		})
	}
}

// TestVersion1 reads what the first version published.
func TestVersion1(t *testing.T) {
	b := memory.New()
	const name = "f9ac9ba6cc9ff152"
	prefix := release.Prefix("scratches", name)
	for file, data := range map[string]string{"images/000000.png": "first image of a", "images/000001.png": "second image of a", "report.html": "<p>a", "report.json": `{"seed":"a"}`} {
		put(t, b, prefix+file, []byte(data))
	}
	for _, file := range []string{"manifest.json", "metadata.jsonl", "README.md"} {
		raw, err := os.ReadFile(filepath.Join("testdata", "v1", file))
		if err != nil {
			t.Fatal(err)
		}
		put(t, b, prefix+file, raw)
	}
	if r, err := release.Verify(t.Context(), b, "scratches", name); err != nil || !r.OK || r.Files != 6 {
		t.Fatalf("verify: %+v (%v)", r, err)
	}
	r, err := release.Open(t.Context(), b, "scratches", name)
	if err != nil || r.Manifest.Version != 1 {
		t.Fatalf("open: %+v (%v)", r, err)
	}
	var got []string
	for s, err := range r.Samples(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Path+" "+s.Label+" "+string(s.PNG))
	}
	if want := []string{"images/000000.png scratches first image of a", "images/000001.png scratches second image of a"}; !slices.Equal(got, want) {
		t.Errorf("samples %q", got)
	}
	mustPublish(t, b, many("pits", 3, 10))
	dir := filepath.Join(t.TempDir(), "set")
	if _, err := release.PullSet(t.Context(), b, []release.Choice{{Class: "scratches", Release: name}, {Class: "pits", Release: "latest"}}, dir); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "scratches", "000001.png")); err != nil || string(raw) != "second image of a" {
		t.Errorf("%q (%v)", raw, err)
	}
}

func TestPullSet(t *testing.T) {
	b := memory.New()
	mustPublish(t, b, many("pits", 3, 10))
	p := mustPublish(t, b, many("scratches", 2, 10))
	dir := filepath.Join(t.TempDir(), "set")
	choices := []release.Choice{{Class: "pits", Release: release.Newest}, {Class: "scratches", Release: p.Release}}
	set, err := release.PullSet(t.Context(), b, choices, dir)
	if err != nil || set.Images != 5 || len(set.Sources) != 2 || set.Sources[1].ManifestSHA256 != p.ManifestSHA256 {
		t.Fatalf("%+v (%v)", set, err)
	}
	var files []string
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); !e.IsDir() {
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	want := []string{"metadata.jsonl", "pits/pits-000000.png", "pits/pits-000001.png", "pits/pits-000002.png",
		"scratches/scratches-000000.png", "scratches/scratches-000001.png", "sources.json"}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("files %q (%v)", files, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "metadata.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		var row struct {
			Name  string `json:"file_name"`
			Label string `json:"label"`
		}
		if err := json.Unmarshal([]byte(l), &row); err != nil || row.Name != want[1+i] || row.Label != filepath.Dir(want[1+i]) {
			t.Errorf("line %d: %s (%v)", i, l, err)
		}
	}
	for name, bad := range map[string][]release.Choice{"none": {}, "twice": {choices[0], choices[0]}, "case": {choices[0], {Class: "PITS"}}} {
		if _, err := release.PullSet(t.Context(), b, bad, filepath.Join(t.TempDir(), "x")); !errors.Is(err, release.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := release.PullSet(t.Context(), b, choices, dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("into a full folder: %v", err)
	}
}

// TestShards reads shards as WebDataset does: by what is before and after a
// name's first dot.
func TestShards(t *testing.T) {
	b := memory.New()
	// Eight images, of which seven fill a shard.
	d := many("dented.v2", 8, 9_000_000)
	p := mustPublish(t, b, d)
	shards := keys(t, b, p.Prefix+"shards/")
	if len(shards) != 2 || !strings.HasSuffix(shards[0], "/shards/dented_v2-000000.tar") || !strings.HasSuffix(shards[1], "-000001.tar") {
		t.Fatalf("shards %q", shards)
	}
	i := 0
	for _, key := range shards {
		raw, _, err := storage.New(b).ReadNamed(t.Context(), key, 64_000_000)
		if err != nil {
			t.Fatal(err)
		}
		in := tar.NewReader(bytes.NewReader(raw))
		for ; ; i++ {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			name, kind, _ := strings.Cut(h.Name, ".")
			if err != nil || name != fmt.Sprintf("dented_v2-%06d", i/2) || kind != []string{"json", "png"}[i%2] ||
				h.ModTime.Unix() != 0 || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
				t.Fatalf("file %d: %+v (%v)", i, h, err)
			}
			data, err := io.ReadAll(in)
			if err != nil || kind == "png" && !bytes.Equal(data, d.Files[i/2].Data) || kind == "json" && !bytes.Contains(data, fmt.Appendf(nil, `"latent_index":%d}`, i/2)) {
				t.Fatalf("file %d: %d bytes (%v)", i, len(data), err)
			}
		}
	}
	if i != 16 {
		t.Errorf("%d files", i)
	}
}
