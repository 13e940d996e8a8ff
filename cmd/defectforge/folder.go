package main

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
	"sync"

	"github.com/defectforge/defectforge/storage"
)

var errReadOnly = errors.New("read only")

// folderBucket is a folder's files as a bucket that is only read from.
type folderBucket struct {
	files  []sourceFile // sorted by name
	byName map[string]sourceFile
}

func newFolderBucket(files []sourceFile) folderBucket {
	f := folderBucket{files, make(map[string]sourceFile, len(files))}
	for _, file := range files {
		f.byName[file.name] = file
	}
	return f
}

func (s sourceFile) info() storage.Info {
	return storage.Info{Key: s.name, Size: s.size, SHA256: s.sha256}
}

func (f folderBucket) Get(_ context.Context, key string) (io.ReadCloser, storage.Info, error) {
	file, ok := f.byName[key]
	if !ok {
		return nil, storage.Info{}, fmt.Errorf("get %q: %w", key, storage.ErrNotFound)
	}
	r, err := os.Open(file.path)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("get %q: %w", key, err)
	}
	return r, file.info(), nil
}

func (f folderBucket) Stat(_ context.Context, key string) (storage.Info, error) {
	file, ok := f.byName[key]
	if !ok {
		return storage.Info{}, fmt.Errorf("stat %q: %w", key, storage.ErrNotFound)
	}
	return file.info(), nil
}

func (f folderBucket) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for _, file := range f.files {
			if err := ctx.Err(); err != nil {
				yield(storage.Info{}, fmt.Errorf("list %q: %w", prefix, err))
				return
			}
			if strings.HasPrefix(file.name, prefix) && !yield(file.info(), nil) {
				return
			}
		}
	}
}

func (folderBucket) Put(context.Context, string, io.ReadSeeker, int64, string, storage.Condition) (storage.Info, error) {
	return storage.Info{}, errReadOnly
}
func (folderBucket) Delete(context.Context, string) error { return errReadOnly }
func (folderBucket) Sync(context.Context) error           { return nil }

// scratchBucket keeps a command's own artifacts in a folder of its own, so that
// memory does not grow with them. Nobody else uses the folder; conditions on
// ETags are not needed and not taken.
type scratchBucket struct {
	dir string
	mu  *sync.Mutex // writes, one at a time
}

func (b scratchBucket) path(key string) string { return filepath.Join(b.dir, filepath.FromSlash(key)) }

func (b scratchBucket) Put(_ context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond storage.Condition) (storage.Info, error) {
	info := storage.Info{Key: key, Size: size, SHA256: sha256}
	if err := storage.ValidKey(key); err != nil {
		return info, fmt.Errorf("put %q: %w", key, err)
	}
	if cond.IfETag != "" {
		return info, fmt.Errorf("put %q: conditions on ETags are not taken", key)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := os.Stat(b.path(key)); err == nil && cond.IfAbsent {
		return info, fmt.Errorf("put %q: %w", key, storage.ErrPrecondition)
	}
	if err := b.write(key, body, size); err != nil {
		return info, fmt.Errorf("put %q: %w", key, err)
	}
	return info, nil
}

func (b scratchBucket) write(key string, body io.ReadSeeker, size int64) error {
	if err := os.MkdirAll(filepath.Dir(b.path(key)), 0o700); err != nil {
		return err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	f, err := os.CreateTemp(b.dir, "put-*")
	if err != nil {
		return err
	}
	n, err := io.Copy(f, body)
	if err == nil && n != size {
		err = fmt.Errorf("%w: %d bytes, stated were %d", storage.ErrCorrupt, n, size)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), b.path(key))
	}
	return err
}

func (b scratchBucket) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	info, err := b.Stat(ctx, key)
	if err != nil {
		return nil, info, err
	}
	f, err := os.Open(b.path(key))
	if err != nil {
		return nil, info, fmt.Errorf("get %q: %w", key, err)
	}
	return f, info, nil
}

func (b scratchBucket) Stat(_ context.Context, key string) (storage.Info, error) {
	info, err := os.Stat(b.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		err = storage.ErrNotFound
	}
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %q: %w", key, err)
	}
	return storage.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

func (scratchBucket) List(context.Context, string) iter.Seq2[storage.Info, error] {
	return func(func(storage.Info, error) bool) {} // nothing is looked for by prefix
}

func (b scratchBucket) Delete(_ context.Context, key string) error {
	if err := os.Remove(b.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}
func (scratchBucket) Sync(context.Context) error { return nil }
