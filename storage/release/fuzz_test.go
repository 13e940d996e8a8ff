package release_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/defectforge/defectforge/storage/release"
)

// FuzzDecodeManifest looks for input that is accepted and should not be: what
// is accepted renders as it was, and stays inside its folder.
func FuzzDecodeManifest(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "manifest.json.golden"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(golden[:len(golden)/2])
	f.Add([]byte(`{"format":"defectforge.release/1"}`))
	f.Add(bytes.Replace(golden, []byte("report.html"), []byte("../../x.htm"), 1))
	f.Add([]byte(strings.Repeat("[", 10000)))
	_, hostile := release.HostileManifest("c", "../../etc/x", []byte("x"))
	f.Add(hostile)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := release.DecodeManifest(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(m.Encode(), raw) {
			t.Fatalf("accepted %q, renders %q", raw, m.Encode())
		}
		images := 0
		for i, file := range m.Files {
			if !filepath.IsLocal(filepath.FromSlash(file.Path)) || file.Size < 0 || len(file.SHA256) != 64 {
				t.Fatalf("accepted %+v", file)
			}
			if i > 0 && m.Files[i-1].Path >= file.Path {
				t.Fatalf("accepted %q after %q", file.Path, m.Files[i-1].Path)
			}
			if strings.HasPrefix(file.Path, "images/") {
				images++
			}
		}
		if images != m.Images || images == 0 || strings.ContainsAny(m.Class, "/\\") {
			t.Fatalf("accepted %+v", m)
		}
	})
}
