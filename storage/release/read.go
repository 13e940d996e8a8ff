package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/defectforge/defectforge/storage"
)

// Newest stands for the name of a class's latest release.
const Newest = "latest"

// Load returns the manifest of a release and the manifest's SHA-256. release is
// its name, or Newest, which skips those that have been withdrawn; Open says whether
// a release has been. It fails with storage.ErrNotFound where there is no such
// release, and with ErrMalformed or storage.ErrCorrupt where the manifest or
// the pointer is not as it was written.
func Load(ctx context.Context, b storage.Reader, class, release string) (Manifest, string, error) {
	m, raw, _, err := load(ctx, b, class, release)
	if err != nil {
		return Manifest{}, "", err
	}
	return m, storage.Digest(raw), nil
}

func load(ctx context.Context, b storage.Reader, class, release string) (Manifest, []byte, *Withdrawal, error) {
	release, digest, w, err := Resolve(ctx, b, class, release)
	if err != nil {
		return Manifest{}, nil, nil, err
	}
	raw, _, err := storage.ViewOf(b).ReadNamed(ctx, Prefix(class, release)+ManifestName, maxManifest)
	if err != nil {
		return Manifest{}, nil, nil, fmt.Errorf("read manifest of release %s of class %q: %w", release, class, err)
	}
	if actual := storage.Digest(raw); digest != "" && actual != digest {
		return Manifest{}, nil, nil, fmt.Errorf("manifest of release %s of class %q: %w: SHA-256 is %s, %s says %s",
			release, class, storage.ErrCorrupt, actual, latestName, digest)
	}
	m, err := DecodeManifest(raw)
	if err != nil {
		return Manifest{}, nil, nil, fmt.Errorf("release %s of class %q: %w", release, class, err)
	}
	if m.Class != class || m.Release != release {
		return Manifest{}, nil, nil, fmt.Errorf("release %s of class %q: %w: the manifest is that of release %s of class %q",
			release, class, ErrMalformed, m.Release, m.Class)
	}
	return m, raw, w, nil
}

// Summary describes one release in a list.
type Summary struct {
	Class          string    `json:"class"`
	Release        string    `json:"release"`
	Images         int       `json:"images"`
	Files          int       `json:"files"`
	Bytes          int64     `json:"bytes"`
	ManifestSHA256 string    `json:"manifest_sha256"`
	Published      time.Time `json:"published"` // when the manifest was written
	Latest         bool      `json:"latest"`
	// Sequence is 0 for a release that is committed but has never been the
	// latest: its publisher was stopped in between.
	Sequence   int               `json:"sequence"`
	Attributes map[string]string `json:"attributes"`
	// Withdrawn says that the release is not to be used, and why.
	Withdrawn *Withdrawal `json:"withdrawn,omitempty"`
	// Problem says why the manifest can't be read; fields above may be empty.
	Problem string `json:"problem,omitempty"`
}

// List returns the releases of a class, or those of all classes if class is
// empty, by class and sequence. Prefixes without a manifest are none. It looks
// at manifests, not at the files they list: see Verify.
func List(ctx context.Context, b storage.Reader, class string) ([]Summary, error) {
	prefix := Root
	if class != "" {
		if err := validClass(class); err != nil {
			return nil, err
		}
		prefix += class + "/"
	}
	list, withdrawn, err := committed(ctx, b, prefix)
	if err != nil {
		return nil, err
	}
	pointers := map[string]Latest{}
	for i := range list {
		s := &list[i]
		if err := s.fill(ctx, b); err != nil {
			return nil, err
		}
		if err := s.rank(ctx, b, pointers); err != nil {
			return nil, err
		}
		if withdrawn[withdrawalKey(s.Class, s.Release)] {
			if s.Withdrawn, err = readWithdrawal(ctx, b, s.Class, s.Release); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Summary) int {
		if c := strings.Compare(a.Class, b.Class); c != 0 {
			return c
		}
		return a.Sequence - b.Sequence
	})
	return list, nil
}

// committed lists the releases below prefix that have a manifest, and the keys of
// the withdrawals there.
func committed(ctx context.Context, b storage.Reader, prefix string) (list []Summary, withdrawn map[string]bool, err error) {
	list, withdrawn = []Summary{}, map[string]bool{}
	for info, err := range b.List(ctx, prefix) {
		if err != nil {
			return nil, nil, fmt.Errorf("list releases: %w", err)
		}
		parts := strings.Split(strings.TrimPrefix(info.Key, Root), "/")
		switch {
		case len(parts) != 3:
		case isHex(parts[1], nameLength) && parts[2] == ManifestName:
			list = append(list, Summary{Class: parts[0], Release: parts[1], Published: info.Modified})
		case parts[1] == withdrawnDir:
			withdrawn[info.Key] = true
		}
	}
	return list, withdrawn, nil
}

// fill reads the summary's manifest.
func (s *Summary) fill(ctx context.Context, b storage.Reader) error {
	m, digest, err := Load(ctx, b, s.Class, s.Release)
	switch {
	case errors.Is(err, ErrMalformed), errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrTooLarge),
		errors.Is(err, storage.ErrNotFound):
		s.Problem = err.Error()
		return nil
	case err != nil:
		return err
	}
	s.Images, s.Files, s.Bytes, s.ManifestSHA256, s.Attributes = m.Images, len(m.Files), m.Bytes(), digest, m.Attributes
	return nil
}

// rank finds the summary's place in its class's pointer.
func (s *Summary) rank(ctx context.Context, b storage.Reader, pointers map[string]Latest) error {
	latest, known := pointers[s.Class]
	if !known {
		var err error
		latest, err = ReadLatest(ctx, b, s.Class)
		switch {
		case errors.Is(err, ErrMalformed), errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrTooLarge):
			if s.Problem == "" {
				s.Problem = err.Error()
			}
		case err != nil && !errors.Is(err, storage.ErrNotFound):
			return err
		}
		pointers[s.Class] = latest
	}
	if s.Release == latest.Release {
		s.Latest, s.Sequence = true, latest.Sequence
	} else {
		s.Sequence = slices.Index(latest.Earlier, s.Release) + 1
	}
	return nil
}
