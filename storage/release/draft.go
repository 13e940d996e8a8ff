package release

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/storage"
)

// Draft is the content of a release to be. Equal drafts make equal releases,
// byte for byte: put no times, run names or machine names into one.
type Draft struct {
	Class string // one component of a key
	// Files are the release's files but for the manifest and metadata.jsonl,
	// which Publish writes, and README.md, which it writes unless it is here. At
	// least one image is needed; only PNG files go below images/.
	Files []DraftFile
	// Attributes tell where the content comes from: digests of the data set and
	// the checkpoint, the recipe, the seed, the verdict.
	Attributes map[string]string
}

// DraftFile is one file of a draft: the bytes of Object, which lies in the same
// bucket, or else Data.
type DraftFile struct {
	Path   string // below the release's prefix, such as "images/000017.png"
	Object storage.Object
	Data   []byte
	// Fields of an image become its line in metadata.jsonl, besides file_name:
	// a name means the same type in every image.
	Fields map[string]any
}

func (f DraftFile) file() File {
	if f.Object.Key != "" {
		return File{Path: f.Path, Size: f.Object.Size, SHA256: f.Object.SHA256}
	}
	return File{Path: f.Path, Size: int64(len(f.Data)), SHA256: storage.Digest(f.Data)}
}

// complete checks the draft and returns all files but the manifest, by path,
// and the manifest.
func (d Draft) complete() ([]DraftFile, Manifest, error) {
	files := slices.Clone(d.Files)
	slices.SortFunc(files, func(a, b DraftFile) int { return strings.Compare(a.Path, b.Path) })
	metadata, err := imageLines(files)
	if err != nil {
		return nil, Manifest{}, err
	}
	files = append(files, DraftFile{Path: MetadataName, Data: metadata})
	if !slices.ContainsFunc(d.Files, func(f DraftFile) bool { return f.Path == CardName }) {
		files = append(files, DraftFile{Path: CardName, Data: d.card()})
	}
	slices.SortStableFunc(files, func(a, b DraftFile) int { return strings.Compare(a.Path, b.Path) })
	entries := make([]File, len(files))
	for i, f := range files {
		entries[i] = f.file()
	}
	m, err := newManifest(d.Class, d.Attributes, entries)
	if err != nil {
		return nil, Manifest{}, err
	}
	return files, m, nil
}

// imageLines renders metadata.jsonl as Hugging Face's ImageFolder reads it:
// file_name is relative to the file itself.
func imageLines(files []DraftFile) ([]byte, error) {
	var b bytes.Buffer
	for _, f := range files {
		if !isImage(f.Path) {
			if f.Path == MetadataName || len(f.Fields) > 0 {
				return nil, fmt.Errorf("file %q: %w: %s is made of the images' fields", f.Path, ErrMalformed, MetadataName)
			}
			continue
		}
		if _, taken := f.Fields["file_name"]; taken {
			return nil, fmt.Errorf("file %q: %w: field file_name is set from the path", f.Path, ErrMalformed)
		}
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
	}
	return b.Bytes(), nil
}

// card renders a short data set card.
func (d Draft) card() []byte {
	images := 0
	for _, f := range d.Files {
		if isImage(f.Path) {
			images++
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "---\npretty_name: %s\ntask_categories:\n- image-classification\ntags:\n- synthetic\n- defect\n---\n\n",
		line("Synthetic images of "+d.Class))
	fmt.Fprintf(&b, "# Synthetic images of %s\n\n", d.Class)
	fmt.Fprintf(&b, "%d generated images of the defect class `%s`, made by defectforge. They are no photographs.\n\n", images, d.Class)
	b.WriteString("Load them with Hugging Face `datasets`:\n\n```python\nfrom datasets import load_dataset\n" +
		"images = load_dataset(\"imagefolder\", data_dir=\"this folder\", split=\"train\")\n```\n\n")
	b.WriteString("`manifest.json` lists every file with its size and SHA-256; `metadata.jsonl` has a line for each image.\n")
	if len(d.Attributes) > 0 {
		b.WriteString("\n| attribute | value |\n| --- | --- |\n")
		clean := strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ")
		for _, k := range slices.Sorted(maps.Keys(d.Attributes)) {
			fmt.Fprintf(&b, "| %s | %s |\n", clean.Replace(k), clean.Replace(d.Attributes[k]))
		}
	}
	return b.Bytes()
}
