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
}

// Pull downloads a release, by name or Newest, with its manifest, into the
// folder dir, which must not exist or be empty. Every byte is verified; dir
// appears whole or not at all, and nothing is ever written outside of it and of
// the temporary folder beside it that becomes it.
func Pull(ctx context.Context, b storage.Bucket, class, release, dir string) (Pulled, error) {
	m, raw, err := load(ctx, b, class, release)
	if err != nil {
		return Pulled{}, err
	}
	if err := vacant(dir); err != nil {
		return Pulled{}, err
	}
	if err := pull(ctx, b, m, raw, dir); err != nil {
		return Pulled{}, fmt.Errorf("pull release %s of class %q: %w", m.Release, class, err)
	}
	return Pulled{Class: class, Release: m.Release, Dir: dir, ManifestSHA256: storage.Digest(raw), Images: m.Images,
		Files: len(m.Files), Bytes: m.Bytes()}, nil
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

func pull(ctx context.Context, b storage.Bucket, m Manifest, raw []byte, dir string) (err error) {
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
	if err := fill(ctx, b, m, raw, temp); err != nil {
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
func fill(ctx context.Context, b storage.Bucket, m Manifest, raw []byte, dir string) error {
	folder, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	err = each(ctx, m.Files, func(ctx context.Context, f File) error { return fetch(ctx, b, m, f, folder) })
	if err != nil {
		return err
	}
	return folder.WriteFile(ManifestName, raw, 0o644)
}

func fetch(ctx context.Context, b storage.Bucket, m Manifest, f File, folder *os.Root) error {
	if parent := path.Dir(f.Path); parent != "." {
		if err := folder.MkdirAll(filepath.FromSlash(parent), 0o755); err != nil {
			return err
		}
	}
	body, err := storage.New(b).Open(ctx, storage.Object{Key: Prefix(m.Class, m.Release) + f.Path, SHA256: f.SHA256, Size: f.Size})
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := folder.OpenFile(filepath.FromSlash(f.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, body); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
