// Package release writes, verifies and reads the published format: immutable
// prefixes of a bucket that become visible all at once. FORMAT.md has the
// details. It needs nothing but the standard library and a bucket.
package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/defectforge/defectforge/storage"
)

// Errors, to be matched with errors.Is, besides those of storage.
var (
	// ErrMalformed: a manifest, a pointer or a draft breaks the format's rules.
	ErrMalformed = errors.New("malformed")
	// ErrConflict: other content lies where a release should go. No retry helps.
	ErrConflict = errors.New("other content under the same release")
)

// Names of files that every release has.
const (
	ManifestName = "manifest.json"  // the commit; not listed in itself
	MetadataName = "metadata.jsonl" // one line for each image
	CardName     = "README.md"      // the data set card
	ImageDir     = "images"         // PNG files
)

const (
	root           = "releases/"
	latestName     = "latest.json"
	manifestFormat = "defectforge.release/1"
	latestFormat   = "defectforge.latest/1"
)

// Limits of what a reader accepts.
const (
	maxManifest   = 32 << 20 // bytes
	maxFiles      = 100_000
	maxFileSize   = 1 << 40 // bytes
	maxAttributes = 128
	maxAttribute  = 4096 // bytes of a name or value
	nameLength    = 16   // hex digits
)

// File is one file of a release.
type File struct {
	Path   string `json:"path"`   // below the release's prefix
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // lower-case hex
}

// Manifest lists everything in a release but itself.
type Manifest struct {
	Class string
	// Release is the release's name, which follows from all the rest.
	Release string
	Images  int // files below images/
	// Attributes tell where the content comes from.
	Attributes map[string]string
	Files      []File // in byte order of their paths
}

// Bytes is the size of all files together.
func (m Manifest) Bytes() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// Prefix is where the files of a release lie in the bucket; it ends in a slash.
func Prefix(class, release string) string { return root + class + "/" + release + "/" }

// newManifest sorts the files, counts the images and gives the release its name.
func newManifest(class string, attributes map[string]string, files []File) (Manifest, error) {
	m := Manifest{Class: class, Attributes: attributes, Files: slices.Clone(files)}
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range m.Files {
		if isImage(f.Path) {
			m.Images++
		}
	}
	m.Release = m.name()
	return m, m.validate()
}

// name is the release's name: the beginning of the SHA-256 of the manifest
// without a name.
func (m Manifest) name() string {
	m.Release = ""
	return storage.Digest(m.Encode())[:nameLength]
}

// head is the manifest without its files.
type head struct {
	Format     string            `json:"format"`
	Class      string            `json:"class"`
	Release    string            `json:"release"`
	Images     int               `json:"images"`
	Attributes map[string]string `json:"attributes"`
}

// Encode renders the manifest: JSON in the one form that DecodeManifest
// accepts, with a line for each file.
func (m Manifest) Encode() []byte {
	attributes := m.Attributes
	if attributes == nil {
		attributes = map[string]string{}
	}
	var b bytes.Buffer
	h := line(head{manifestFormat, m.Class, m.Release, m.Images, attributes})
	b.Write(h[:len(h)-1]) // all but the closing brace
	b.WriteString(",\"files\":[")
	for i, f := range m.Files {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line(f))
	}
	b.WriteString("\n]}\n")
	return b.Bytes()
}

// line renders v on one line. What the package renders are plain data, which
// can't fail.
func line(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("release: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// DecodeManifest reads a manifest. It fails with ErrMalformed unless raw is the
// exact encoding of a valid one, so that no damage goes unnoticed.
func DecodeManifest(raw []byte) (Manifest, error) {
	if len(raw) > maxManifest {
		return Manifest{}, fmt.Errorf("manifest: %w: %d bytes, limit %d", ErrMalformed, len(raw), maxManifest)
	}
	var doc struct {
		head
		Files []File `json:"files"`
	}
	if err := decode(raw, manifestFormat, &doc); err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	m := Manifest{Class: doc.Class, Release: doc.Release, Images: doc.Images, Attributes: doc.Attributes, Files: doc.Files}
	if err := m.validate(); err != nil {
		return Manifest{}, err
	}
	if !bytes.Equal(m.Encode(), raw) {
		return Manifest{}, fmt.Errorf("manifest: %w: not in the one form that is allowed", ErrMalformed)
	}
	return m, nil
}

// decode reads one JSON object of the wanted format into v.
func decode(raw []byte, format string, v any) error {
	var stamp struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(raw, &stamp); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if stamp.Format != format {
		return fmt.Errorf("%w: format %q, this program reads %q", ErrMalformed, stamp.Format, format)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the document", ErrMalformed)
	}
	return nil
}

func (m Manifest) validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("manifest: %w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	if err := validClass(m.Class); err != nil {
		return err
	}
	if err := validAttributes(m.Attributes); err != nil {
		return err
	}
	if len(m.Files) > maxFiles {
		return bad("%d files, limit %d", len(m.Files), maxFiles)
	}
	if err := validPaths(m.Files); err != nil {
		return err
	}
	images, metadata := 0, false
	for _, f := range m.Files {
		if f.Size < 0 || f.Size > maxFileSize {
			return bad("file %q has %d bytes", f.Path, f.Size)
		}
		if !isHex(f.SHA256, 64) {
			return bad("file %q has SHA-256 %q", f.Path, f.SHA256)
		}
		if isImage(f.Path) {
			images++
		}
		metadata = metadata || f.Path == MetadataName
	}
	switch {
	case images == 0 || images != m.Images:
		return bad("%d images stated, %d listed", m.Images, images)
	case !metadata:
		return bad("no %s", MetadataName)
	case m.Release != m.name():
		return bad("release %q, but the content's name is %q", m.Release, m.name())
	}
	return nil
}

func validClass(class string) error {
	if strings.Contains(class, "/") || len(class) > 128 || storage.ValidKey(class) != nil {
		return fmt.Errorf("class %q: %w: use at most 128 letters, digits, '.', '_' and '-'", class, ErrMalformed)
	}
	return nil
}

func validAttributes(attributes map[string]string) error {
	if len(attributes) > maxAttributes {
		return fmt.Errorf("attributes: %w: %d of them, limit %d", ErrMalformed, len(attributes), maxAttributes)
	}
	for _, k := range slices.Sorted(maps.Keys(attributes)) {
		v := attributes[k]
		if k == "" || len(k) > maxAttribute || len(v) > maxAttribute || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("attribute %.80q: %w: name and value must be UTF-8 of at most %d bytes, and the name not empty", k, ErrMalformed, maxAttribute)
		}
	}
	return nil
}

// validPaths fails unless the files, in order, can lie in one folder on any
// system, none of them outside of it.
func validPaths(files []File) error {
	bad := func(p, why string) error { return fmt.Errorf("file %q: %w: %s", p, ErrMalformed, why) }
	// Lower-case paths and folders; true for folders.
	folded := map[string]bool{ManifestName: false}
	for i, f := range files {
		if err := validPath(f.Path); err != nil {
			return err
		}
		if i > 0 && files[i-1].Path >= f.Path {
			return bad(f.Path, "listed twice or out of order")
		}
		low := strings.ToLower(f.Path)
		if _, taken := folded[low]; taken {
			return bad(f.Path, "another path differs in nothing but case, or goes through it")
		}
		folded[low] = false
		for dir := path.Dir(low); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if isDir, taken := folded[dir]; taken && !isDir {
				return bad(f.Path, "a folder on its way is a file")
			}
			folded[dir] = true
		}
	}
	return nil
}

func validPath(p string) error {
	bad := func(why string) error { return fmt.Errorf("file %q: %w: %s", p, ErrMalformed, why) }
	if err := storage.ValidKey(p); err != nil {
		return bad(err.Error())
	}
	if len(p) > 512 {
		return bad("a path of more than 512 bytes")
	}
	if p == ManifestName {
		return bad("the manifest does not list itself")
	}
	inside := strings.HasPrefix(p, ImageDir+"/")
	switch ext := strings.ToLower(path.Ext(p)); ext {
	case ".png":
		if !inside {
			return bad("images belong below " + ImageDir + "/")
		}
	case ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff":
		return bad("images are PNG files below " + ImageDir + "/")
	default:
		if inside {
			return bad("only PNG files belong below " + ImageDir + "/")
		}
	}
	return nil
}

func isImage(p string) bool { return strings.HasPrefix(p, ImageDir+"/") }

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}
