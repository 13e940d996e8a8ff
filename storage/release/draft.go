package release

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/storage"
)

// Draft is the content of a release to be. Equal drafts make equal releases,
// byte for byte: put no times, run names or machine names into one.
type Draft struct {
	Class string // one component of a key
	// Files are the release's files but for those that Publish writes: the
	// manifest, metadata.jsonl, the shards, croissant.json, and README.md unless it
	// is here. At least one image is needed, as images/<class>/<name>.png, with
	// names that differ in more than dots.
	Files []DraftFile
	// Attributes say where the content comes from: digests of the data set and
	// the checkpoint, the recipe, the seed, the verdict.
	Attributes map[string]string
	// License is an SPDX identifier, a URL or words; empty says that none is
	// stated.
	License string
	// Pixels says in words what the images are; empty means DefaultPixels.
	Pixels string
	// About is Markdown for the data set card: what the images are for, how they
	// were made and judged.
	About string
}

// DefaultPixels is what a draft's images are where it says nothing.
const DefaultPixels = "128x128 RGB"

// DraftFile is one file of a draft: the bytes of Object, which lies in the same
// bucket, or else Data.
type DraftFile struct {
	Path   string // below the release's prefix, such as "images/pits/000017.png"
	Object storage.Object
	Data   []byte
	// Fields of an image become its line in metadata.jsonl, besides file_name:
	// a name means the same type in every image.
	Fields map[string]any
}

// piece is a file of a release together with where its bytes come from: an
// object, a shard's samples, or else data.
type piece struct {
	File
	data    []byte
	object  storage.Object
	samples []sample
}

func (f DraftFile) piece() piece {
	if f.Object.Key != "" {
		return piece{File: File{Path: f.Path, Size: f.Object.Size, SHA256: f.Object.SHA256}, object: f.Object}
	}
	return textPiece(f.Path, f.Data)
}

func textPiece(path string, data []byte) piece {
	return piece{File: File{Path: path, Size: int64(len(data)), SHA256: storage.Digest(data)}, data: data}
}

// bytes are the piece's content.
func (p piece) bytes(ctx context.Context, b storage.Reader) ([]byte, error) {
	switch {
	case p.samples != nil:
		buf := bytes.NewBuffer(make([]byte, 0, p.Size))
		err := writeShard(ctx, b, p.samples, buf)
		return buf.Bytes(), err
	case p.object.Key != "":
		data, err := storage.ViewOf(b).Read(ctx, p.object, maxFile)
		if err != nil {
			return nil, fmt.Errorf("file %q: %w", p.Path, err)
		}
		return data, nil
	}
	return p.data, nil
}

// compile checks the draft and returns all files but the manifest, by path,
// and the manifest. It reads every image, to know its shard.
func (d Draft) compile(ctx context.Context, b storage.Reader) ([]piece, Manifest, error) {
	files := slices.Clone(d.Files)
	slices.SortFunc(files, func(a, b DraftFile) int { return strings.Compare(a.Path, b.Path) })
	pieces, err := d.pieces(files)
	if err != nil {
		return nil, Manifest{}, err
	}
	lines, err := imageLines(files)
	if err != nil {
		return nil, Manifest{}, err
	}
	shards, err := d.shards(ctx, b, pieces, lines)
	if err != nil {
		return nil, Manifest{}, err
	}
	metadata := textPiece(MetadataName, slices.Concat(lines...))
	croissant, err := d.croissant(metadata.File, shards, lines)
	if err != nil {
		return nil, Manifest{}, err
	}
	pieces = append(pieces, metadata, textPiece(CroissantName, croissant))
	if !slices.ContainsFunc(files, func(f DraftFile) bool { return f.Path == CardName }) {
		pieces = append(pieces, textPiece(CardName, d.card(len(lines))))
	}
	pieces = append(pieces, shards...)
	slices.SortFunc(pieces, func(a, b piece) int { return strings.Compare(a.Path, b.Path) })
	entries := make([]File, len(pieces))
	for i, p := range pieces {
		entries[i] = p.File
	}
	m, err := newManifest(d.Class, d.Attributes, entries)
	return pieces, m, err
}

// pieces are the draft's own files. It finds what is wrong with the draft
// before anything of it is read.
func (d Draft) pieces(files []DraftFile) ([]piece, error) {
	if err := validClass(d.Class); err != nil {
		return nil, err
	}
	if err := validAttributes(d.Attributes); err != nil {
		return nil, err
	}
	pieces := make([]piece, len(files))
	entries := make([]File, len(files))
	for i, f := range files {
		pieces[i] = f.piece()
		entries[i] = pieces[i].File
		if made := f.Path == MetadataName || f.Path == CroissantName || strings.HasPrefix(f.Path, ShardDir+"/"); made {
			return nil, fmt.Errorf("file %q: %w: is made of the images and their fields", f.Path, ErrMalformed)
		}
	}
	return pieces, validPaths(entries)
}

// imageLines renders the lines of metadata.jsonl as Hugging Face's ImageFolder
// reads them: file_name is relative to the file itself.
func imageLines(files []DraftFile) ([][]byte, error) {
	var lines [][]byte
	for _, f := range files {
		if !isImage(f.Path) {
			if len(f.Fields) > 0 {
				return nil, fmt.Errorf("file %q: %w: only images have fields", f.Path, ErrMalformed)
			}
			continue
		}
		if _, taken := f.Fields["file_name"]; taken {
			return nil, fmt.Errorf("file %q: %w: field file_name is set from the path", f.Path, ErrMalformed)
		}
		var b bytes.Buffer
		b.WriteString(`{"file_name":`)
		b.Write(line(f.Path))
		if len(f.Fields) > 0 {
			fields, err := json.Marshal(f.Fields)
			if err != nil {
				return nil, fmt.Errorf("file %q: %w: fields: %w", f.Path, ErrMalformed, err)
			}
			b.WriteByte(',')
			b.Write(fields[1 : len(fields)-1])
		}
		b.WriteString("}\n")
		lines = append(lines, b.Bytes())
	}
	return lines, nil
}
