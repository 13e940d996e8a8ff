package release

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/storage"
)

// Release is a published release, opened for reading. It may be used
// concurrently.
type Release struct {
	Manifest       Manifest
	ManifestSHA256 string
	// Withdrawn says that the release is not to be used, and why; nil where it has
	// not been withdrawn. A folder does not know.
	Withdrawn *Withdrawal

	bucket    storage.Reader
	raw       []byte // the manifest
	signature []byte // nil where there is none
}

// Open opens a release, by name or Newest; see Load for its errors. A release
// that has been withdrawn opens as well: look at Withdrawn. WithVerifier it
// fails with ErrSignature unless the manifest's signature is right.
func Open(ctx context.Context, b storage.Reader, class, release string, opts ...Option) (*Release, error) {
	m, raw, w, err := load(ctx, b, class, release)
	if err != nil {
		return nil, err
	}
	signature, err := collect(opts).signature(ctx, b, class, m.Release, raw)
	if err != nil {
		return nil, fmt.Errorf("release %s of class %q: %w", m.Release, class, err)
	}
	return &Release{Manifest: m, ManifestSHA256: storage.Digest(raw), Withdrawn: w, bucket: b, raw: raw, signature: signature}, nil
}

// object names a file of the release.
func (r *Release) object(f File) storage.Object {
	return storage.Object{Key: Prefix(r.Manifest.Class, r.Manifest.Release) + f.Path, SHA256: f.SHA256, Size: f.Size}
}

// Read returns the verified bytes of a file of the release, such as
// MetadataName: storage.ErrNotFound where the manifest does not list it, and
// storage.ErrCorrupt where its bytes are not those that the manifest lists.
func (r *Release) Read(ctx context.Context, file string) ([]byte, error) {
	i, listed := slices.BinarySearchFunc(r.Manifest.Files, file, func(f File, p string) int { return strings.Compare(f.Path, p) })
	if !listed {
		return nil, fmt.Errorf("file %q: %w in the manifest", file, storage.ErrNotFound)
	}
	return storage.ViewOf(r.bucket).Read(ctx, r.object(r.Manifest.Files[i]), maxFile)
}

// Sample is an image and what is known about it.
type Sample struct {
	Path  string // below the release's prefix
	Label string // the class
	PNG   []byte // verified
	// Metadata is the image's line of metadata.jsonl, numbers as json.Number.
	Metadata map[string]any
}

// Samples yields the images in order of their paths, each verified. It reads a
// few ahead and stops at the first error.
func (r *Release) Samples(ctx context.Context) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		samples, err := r.list(ctx)
		if err != nil {
			yield(Sample{}, err)
			return
		}
		for batch := range slices.Chunk(samples, workers) {
			images, err := readAll(ctx, batch, func(ctx context.Context, s Sample) ([]byte, error) { return r.Read(ctx, s.Path) })
			if err != nil {
				yield(Sample{}, err)
				return
			}
			for i, s := range batch {
				s.PNG = images[i]
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

// list returns the samples without their pixels. It fails with ErrMalformed
// unless metadata.jsonl has a line for each image, in order.
func (r *Release) list(ctx context.Context) ([]Sample, error) {
	raw, err := r.Read(ctx, MetadataName)
	if err != nil {
		return nil, err
	}
	bad := func(n int, why any) error {
		return fmt.Errorf("%s: line %d: %w: %v", MetadataName, n, ErrMalformed, why)
	}
	var images []File
	for _, f := range r.Manifest.Files {
		if isImage(f.Path) {
			images = append(images, f)
		}
	}
	samples := make([]Sample, 0, len(images))
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, maxManifest)
	for lines.Scan() {
		n := len(samples)
		if n == len(images) {
			return nil, bad(n+1, "more lines than images")
		}
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.UseNumber()
		s := Sample{Path: images[n].Path, Label: r.Manifest.Class}
		if err := dec.Decode(&s.Metadata); err != nil {
			return nil, bad(n+1, err)
		}
		if s.Metadata["file_name"] != s.Path {
			return nil, bad(n+1, fmt.Sprintf("is about %v, not %q", s.Metadata["file_name"], s.Path))
		}
		samples = append(samples, s)
	}
	if err := lines.Err(); err != nil || len(samples) < len(images) {
		return nil, bad(len(samples)+1, "missing")
	}
	return samples, nil
}

// name is the image's name without folders.
func (s Sample) name() string { return path.Base(s.Path) }
