package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/defectforge/defectforge/storage"
)

// OpenDir opens a release that Pull has put into a folder. See Open.
func OpenDir(ctx context.Context, dir string, opts ...Option) (*Release, error) {
	b, m, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return Open(ctx, b, m.Class, m.Release, opts...)
}

// VerifyDir is Verify for a release that Pull has put into a folder. It needs
// no bucket, and so knows neither pointer nor withdrawals.
func VerifyDir(ctx context.Context, dir string, opts ...Option) (Report, error) {
	b, m, err := openFolder(dir)
	if errors.Is(err, ErrMalformed) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrTooLarge) {
		return Report{Signature: SignatureNone, Problems: []string{ManifestName + ": " + err.Error()}}, nil
	}
	if err != nil {
		return Report{}, err
	}
	return Verify(ctx, b, m.Class, m.Release, opts...)
}

func openFolder(dir string) (folder, Manifest, error) {
	f, err := os.Open(filepath.Join(dir, ManifestName))
	if err != nil {
		return folder{}, Manifest{}, fmt.Errorf("open release: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return folder{}, Manifest{}, fmt.Errorf("open release: %w", err)
	}
	m, err := DecodeManifest(raw)
	if err != nil {
		return folder{}, Manifest{}, fmt.Errorf("open release in folder %q: %w", dir, err)
	}
	return folder{dir: dir, prefix: Prefix(m.Class, m.Release)}, m, nil
}

// folder is a bucket that holds one release, read from a folder.
type folder struct{ dir, prefix string }

var errReadOnly = errors.New("a pulled release can't be changed")

// Get opens a file of the release; nothing outside of the folder, whatever
// links it holds.
func (f folder) Get(_ context.Context, key string) (io.ReadCloser, storage.Info, error) {
	name, inside := strings.CutPrefix(key, f.prefix)
	if !inside {
		return nil, storage.Info{}, fmt.Errorf("%q: %w", key, storage.ErrNotFound)
	}
	file, err := os.OpenInRoot(f.dir, filepath.FromSlash(name))
	if err != nil {
		return nil, storage.Info{}, missing(key, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		file.Close()
		return nil, storage.Info{}, missing(key, err)
	}
	return file, storage.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

func missing(key string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = storage.ErrNotFound
	}
	return fmt.Errorf("%q: %w", key, err)
}

func (f folder) Stat(ctx context.Context, key string) (storage.Info, error) {
	body, info, err := f.Get(ctx, key)
	if err != nil {
		return storage.Info{}, err
	}
	return info, body.Close()
}

// List yields everything in the folder but folders.
func (f folder) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		err := fs.WalkDir(os.DirFS(f.dir), ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return errors.Join(err, context.Cause(ctx))
			}
			if key := f.prefix + name; strings.HasPrefix(key, prefix) && !yield(storage.Info{Key: key}, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(storage.Info{}, err)
		}
	}
}

var errStopped = errors.New("stopped")

func (f folder) Put(context.Context, string, io.ReadSeeker, int64, string, storage.Condition) (storage.Info, error) {
	return storage.Info{}, errReadOnly
}

func (f folder) Delete(context.Context, string) error { return errReadOnly }

func (f folder) Sync(context.Context) error { return nil }
