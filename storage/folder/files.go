package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/defectforge/defectforge/storage"
)

// Files is a storage.Reader of the files that a scan found, as they were then:
// new files are not there, and changed ones do not match their digest. Use
// NewFiles.
type Files struct {
	prefix string
	files  []File // sorted by name
}

// NewFiles serves files under the keys that prefix and their names make.
func NewFiles(prefix string, files []File) *Files {
	sorted := slices.Clone(files)
	slices.SortFunc(sorted, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return &Files{prefix, sorted}
}

func (f *Files) find(ctx context.Context, key string) (File, error) {
	if err := ctx.Err(); err != nil {
		return File{}, err
	}
	name, inside := strings.CutPrefix(key, f.prefix)
	i, found := slices.BinarySearchFunc(f.files, name, func(file File, name string) int { return strings.Compare(file.Name, name) })
	if !inside || !found {
		return File{}, storage.ErrNotFound
	}
	return f.files[i], nil
}

func (f *Files) info(file File) storage.Info {
	return storage.Info{Key: f.prefix + file.Name, Size: file.Size, SHA256: file.SHA256}
}

// Get implements storage.Reader.
func (f *Files) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	file, err := f.find(ctx, key)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("get %q: %w", key, err)
	}
	r, err := os.Open(file.Path)
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("get %q: %w", key, err)
	}
	return r, f.info(file), nil
}

// Stat implements storage.Reader.
func (f *Files) Stat(ctx context.Context, key string) (storage.Info, error) {
	file, err := f.find(ctx, key)
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %q: %w", key, err)
	}
	return f.info(file), nil
}

// List implements storage.Reader.
func (f *Files) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for _, file := range f.files {
			if ctx.Err() != nil {
				break
			}
			if info := f.info(file); strings.HasPrefix(info.Key, prefix) && !yield(info, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(storage.Info{}, fmt.Errorf("list %q: %w", prefix, err))
		}
	}
}

// Upload puts the files below prefix, leaving out those already there, and calls
// progress after each, one call at a time. It returns how many were sent.
func Upload(ctx context.Context, b storage.Bucket, prefix string, files []File, progress func(done int)) (int, error) {
	var mu sync.Mutex
	done, sent := 0, 0
	err := storage.Each(ctx, atOnce, files, func(ctx context.Context, f File) error {
		fresh, err := uploadOne(ctx, b, prefix+f.Name, f)
		if err != nil {
			return fmt.Errorf("upload %s: %w", f.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if done++; fresh {
			sent++
		}
		progress(done)
		return nil
	})
	return sent, err
}

func uploadOne(ctx context.Context, b storage.Bucket, key string, f File) (bool, error) {
	there, err := b.Stat(ctx, key)
	if err == nil && there.Size == f.Size && there.SHA256 == f.SHA256 {
		return false, nil
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return false, err
	}
	body, err := os.Open(f.Path)
	if err != nil {
		return false, err
	}
	defer body.Close()
	if info, err := body.Stat(); err != nil || info.Size() != f.Size {
		return false, errors.New("the file changed while it was read; run the command again when nothing writes to the folder")
	}
	_, err = b.Put(ctx, key, body, f.Size, f.SHA256, storage.Condition{})
	return true, err
}
