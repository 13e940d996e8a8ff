package release

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/defectforge/defectforge/storage"
)

// SourcesName is the file in which a classification set says what it is made of.
const SourcesName = "sources.json"

// Choice names a release, by class and by name or Newest.
type Choice struct{ Class, Release string }

// Set describes a classification set in a folder.
type Set struct {
	Dir     string   `json:"dir"`
	Images  int      `json:"images"`
	Sources []Source `json:"sources"`
}

// Source is a release that a classification set has images of.
type Source struct {
	Class          string `json:"class"`
	Release        string `json:"release"`
	ManifestSHA256 string `json:"manifest_sha256"`
	Images         int    `json:"images"`
	// Withdrawn is set where a withdrawn release was wanted all the same.
	Withdrawn *Withdrawal `json:"withdrawn,omitempty"`
}

// PullSet downloads the images of one release for each of several classes into
// one folder, as <class>/<name>.png with a common metadata.jsonl and
// sources.json: a classification set for whatever reads labels from folders.
// Otherwise it is like Pull.
func PullSet(ctx context.Context, b storage.Reader, choices []Choice, dir string, opts ...Option) (Set, error) {
	set := Set{Dir: dir, Sources: []Source{}}
	var releases []*Release
	seen := map[string]bool{}
	for _, c := range choices {
		// Folders differ in more than case, on any system.
		if low := strings.ToLower(c.Class); seen[low] || low == SourcesName || low == MetadataName {
			return Set{}, fmt.Errorf("class %q: %w: name each class once", c.Class, ErrMalformed)
		} else {
			seen[low] = true
		}
		r, err := openToPull(ctx, b, c.Class, c.Release, opts)
		if err != nil {
			return Set{}, err
		}
		releases = append(releases, r)
		set.Images += r.Manifest.Images
		set.Sources = append(set.Sources, Source{Class: c.Class, Release: r.Manifest.Release, ManifestSHA256: r.ManifestSHA256,
			Images: r.Manifest.Images, Withdrawn: r.Withdrawn})
	}
	if len(releases) == 0 {
		return Set{}, fmt.Errorf("classification set: %w: no class named", ErrMalformed)
	}
	err := inFolder(dir, func(folder *os.Root) error {
		var metadata bytes.Buffer
		for _, r := range releases {
			if err := r.addTo(ctx, folder, &metadata); err != nil {
				return fmt.Errorf("pull release %s of class %q: %w", r.Manifest.Release, r.Manifest.Class, err)
			}
		}
		if err := folder.WriteFile(MetadataName, metadata.Bytes(), 0o644); err != nil {
			return err
		}
		return folder.WriteFile(SourcesName, indented(set.Sources), 0o644)
	})
	if err != nil {
		return Set{}, err
	}
	return set, nil
}

// addTo puts the release's images into a folder named like their class, and
// their lines, with file names that fit, into metadata.
func (r *Release) addTo(ctx context.Context, folder *os.Root, metadata *bytes.Buffer) error {
	samples, err := r.list(ctx)
	if err != nil {
		return err
	}
	files := make(map[string]File, len(r.Manifest.Files))
	for _, f := range r.Manifest.Files {
		files[f.Path] = f
	}
	taken := map[string]bool{}
	for _, s := range samples {
		to := s.Label + "/" + s.name()
		if low := strings.ToLower(to); taken[low] {
			return fmt.Errorf("image %q: %w: another one has the same name", s.Path, ErrMalformed)
		} else {
			taken[low] = true
		}
		s.Metadata["file_name"] = to
		if _, labelled := s.Metadata["label"]; !labelled {
			s.Metadata["label"] = s.Label
		}
		metadata.Write(line(s.Metadata))
		metadata.WriteByte('\n')
	}
	return storage.Each(ctx, workers, samples, func(ctx context.Context, s Sample) error {
		return r.fetch(ctx, files[s.Path], folder, s.Label+"/"+s.name())
	})
}
