package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/defectforge/defectforge/storage"
)

// Pulled describes a release in a folder.
type Pulled struct {
	Class          string `json:"class"`
	Release        string `json:"release"`
	Dir            string `json:"dir"`
	ManifestSHA256 string `json:"manifest_sha256"`
	Images         int    `json:"images"`
	Files          int    `json:"files"` // but for the manifest
	Bytes          int64  `json:"bytes"` // of these files
	Signed         bool   `json:"signed"`
	// Withdrawn is set where a withdrawn release was wanted all the same.
	Withdrawn *Withdrawal `json:"withdrawn,omitempty"`
}

// Pull downloads a release, by name or Newest, with its manifest and, where it
// has one, the manifest's signature, into the folder dir, which must not exist
// or be empty. Every byte is verified; dir appears whole or not at all, and
// nothing is ever written outside of it and of the temporary folder beside it
// that becomes it. It fails with ErrWithdrawn for a release that has been,
// unless AllowWithdrawn, and WithVerifier with ErrSignature.
func Pull(ctx context.Context, b storage.Reader, class, release, dir string, opts ...Option) (Pulled, error) {
	r, err := openToPull(ctx, b, class, release, opts)
	if err != nil {
		return Pulled{}, err
	}
	m := r.Manifest
	err = inFolder(dir, func(folder *os.Root) error { return r.fill(ctx, folder) })
	if err != nil {
		return Pulled{}, fmt.Errorf("pull release %s of class %q: %w", m.Release, class, err)
	}
	return Pulled{Class: class, Release: m.Release, Dir: dir, ManifestSHA256: r.ManifestSHA256, Images: m.Images,
		Files: len(m.Files), Bytes: m.Bytes(), Signed: r.signature != nil, Withdrawn: r.Withdrawn}, nil
}

// openToPull is Open for what shall be used.
func openToPull(ctx context.Context, b storage.Reader, class, release string, opts []Option) (*Release, error) {
	r, err := Open(ctx, b, class, release, opts...)
	if err != nil {
		return nil, err
	}
	if r.Withdrawn != nil && !collect(opts).allowWithdrawn {
		return nil, r.Withdrawn
	}
	return r, nil
}

// vacant fails unless nothing or an empty folder is at dir.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("folder %q: %w: name a new or an empty folder", dir, err)
	case len(entries) > 0:
		return fmt.Errorf("folder %q: is not empty: name a new or an empty folder", dir)
	}
	return nil
}

// inFolder lets fill write into a folder that becomes dir if it succeeds.
func inFolder(dir string, fill func(*os.Root) error) (err error) {
	if err := vacant(dir); err != nil {
		return err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".pull-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(temp)
		}
	}()
	folder, err := os.OpenRoot(temp)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(folder), folder.Close()); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	// Not every system renames onto an empty folder; a filled one stays.
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(temp, dir)
}

// fill writes everything into the folder. The manifest's paths have been
// checked; the root keeps them inside all the same.
func (r *Release) fill(ctx context.Context, folder *os.Root) error {
	err := storage.Each(ctx, workers, r.Manifest.Files, func(ctx context.Context, f File) error { return r.fetch(ctx, f, folder, f.Path) })
	if err != nil {
		return err
	}
	if r.signature != nil {
		if err := folder.WriteFile(SignatureName, r.signature, 0o644); err != nil {
			return err
		}
	}
	return folder.WriteFile(ManifestName, r.raw, 0o644)
}

// fetch downloads a file to a path below the folder.
func (r *Release) fetch(ctx context.Context, f File, folder *os.Root, to string) error {
	if parent := path.Dir(to); parent != "." {
		if err := folder.MkdirAll(filepath.FromSlash(parent), 0o755); err != nil {
			return err
		}
	}
	body, err := storage.ViewOf(r.bucket).Open(ctx, r.object(f))
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := folder.OpenFile(filepath.FromSlash(to), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, body); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
