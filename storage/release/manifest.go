// Package release writes, verifies and reads the published format: immutable
// prefixes of a bucket that become visible all at once. FORMAT.md has the
// details. It needs nothing but the standard library and a bucket: to use a
// release, Open it, or OpenDir the folder that it was pulled into, and range
// over its Samples.
package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/storage"
)

// Errors, to be matched with errors.Is, besides those of storage.
var (
	// ErrWithdrawn: the release has been marked as not to be used.
	ErrWithdrawn = errors.New("withdrawn")
	// ErrSignature: the manifest has no signature, or not one of the wanted key.
	ErrSignature = errors.New("signature")
	// ErrMalformed: a manifest, a pointer or a draft breaks the format's rules.
	ErrMalformed = errors.New("malformed")
	// ErrConflict: other content lies where a release should go. No retry helps.
	ErrConflict = errors.New("other content under the same release")
)

// Names of files that every release has.
const (
	ManifestName  = "manifest.json"  // the commit; not listed in itself
	MetadataName  = "metadata.jsonl" // one line for each image
	CardName      = "README.md"      // the data set card
	CroissantName = "croissant.json" // the description for machines
	ImageDir      = "images"         // PNG files, in a folder named like the class
	ShardDir      = "shards"         // the same as tar files
	// SignatureName is the manifest's signature, beside it where there is one; no
	// manifest lists it.
	SignatureName = ManifestName + ".minisig"
)

// Root is the prefix of all releases.
const Root = "releases/"

const (
	latestName   = "latest.json"
	latestFormat = "defectforge.latest/1"
	// version is what Publish writes; readers take every one up to it.
	version = 2
)

// manifestFormats are the values of a manifest's format, by version from 1 on.
var manifestFormats = []string{"defectforge.release/1", "defectforge.release/2"}

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
	// Version is that of the format: 1 has neither shards nor croissant.json, and
	// its images lie in one folder.
	Version int
	Class   string
	// Release is the release's name, which follows from all the rest.
	Release string
	Images  int // files below images/
	// Attributes say where the content comes from.
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
func Prefix(class, release string) string { return Root + class + "/" + release + "/" }

// newManifest sorts the files, counts the images and gives the release its name.
func newManifest(class string, attributes map[string]string, files []File) (Manifest, error) {
	m := Manifest{Version: version, Class: class, Attributes: attributes, Files: slices.Clone(files)}
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
	h := line(head{manifestFormats[m.Version-1], m.Class, m.Release, m.Images, attributes})
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
	if err := decode(raw, &doc, manifestFormats...); err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	m := Manifest{
		Version: slices.Index(manifestFormats, doc.Format) + 1, Class: doc.Class, Release: doc.Release,
		Images: doc.Images, Attributes: doc.Attributes, Files: doc.Files,
	}
	if err := m.validate(); err != nil {
		return Manifest{}, err
	}
	if !bytes.Equal(m.Encode(), raw) {
		return Manifest{}, fmt.Errorf("manifest: %w: not in the one form that is allowed", ErrMalformed)
	}
	return m, nil
}

// decode reads one JSON object of one of the formats into v.
func decode(raw []byte, v any, formats ...string) error {
	var stamp struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(raw, &stamp); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !slices.Contains(formats, stamp.Format) {
		return fmt.Errorf("%w: format %q, this program reads %q", ErrMalformed, stamp.Format, formats)
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
