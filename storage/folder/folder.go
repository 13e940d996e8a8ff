// Package folder reads folders of this machine as buckets: Dir reads what is in one at
// the time, under the names that files have there; Files reads a list made by Scan, under
// names that every store accepts. Upload sends such a list to a bucket.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/defectforge/defectforge/storage"
)

// Dir is a storage.Reader of what is in a folder. Use Open.
type Dir struct{ dir, prefix string }

// Open reads the folder dir. The key of a file is prefix, which is empty or ends with
// a slash, and its path below dir with slashes. Get and Stat follow links that stay
// inside of the folder; List shows them, whatever they lead to. Infos have neither
// ETag nor digest.
func Open(dir, prefix string) Dir { return Dir{dir, prefix} }

// Get implements storage.Reader.
func (d Dir) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	var file *os.File
	info, err := d.find(ctx, key, func(root *os.Root, name string) (err error) {
		file, err = root.Open(name)
		return err
	})
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("get %q: %w", key, err)
	}
	return file, info, nil
}

// Stat implements storage.Reader.
func (d Dir) Stat(ctx context.Context, key string) (storage.Info, error) {
	info, err := d.find(ctx, key, nil)
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %q: %w", key, err)
	}
	return info, nil
}

// find describes a regular file, and hands it to use, if there is one.
func (d Dir) find(ctx context.Context, key string, use func(*os.Root, string) error) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	name, inside := strings.CutPrefix(key, d.prefix)
	if !inside || name == "" {
		return storage.Info{}, storage.ErrNotFound
	}
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return storage.Info{}, missing(err)
	}
	defer root.Close()
	name = filepath.FromSlash(name)
	info, err := root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist // a folder's name is no key; a pipe would keep its reader
	}
	if err == nil && use != nil {
		err = use(root, name)
	}
	if err != nil {
		return storage.Info{}, missing(err)
	}
	return describe(key, info), nil
}

// missing is err as drivers report it. A name below a file is missing as well.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return storage.ErrNotFound
	}
	return err
}

func describe(key string, info fs.FileInfo) storage.Info {
	return storage.Info{Key: key, Size: info.Size(), Modified: info.ModTime()}
}

// List implements storage.Reader: it yields everything but folders, and holds the
// names of one folder at each depth in memory.
func (d Dir) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if !overlap(d.prefix, prefix) {
			return
		}
		if err := d.walk(ctx, d.prefix, prefix, yield); err != nil && !errors.Is(err, errStopped) {
			yield(storage.Info{}, fmt.Errorf("list %q: %w", prefix, err))
		}
	}
}

// errStopped ends a walk when its caller has seen enough.
var errStopped = errors.New("stopped")

// walk yields what lies in the folder with the key at, which ends with a slash or is
// empty, in byte order of keys: a folder stands where its name with a slash would.
func (d Dir) walk(ctx context.Context, at, prefix string, yield func(storage.Info, error) bool) error {
	entries, err := os.ReadDir(filepath.Join(d.dir, filepath.FromSlash(strings.TrimPrefix(at, d.prefix))))
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(keyOf(at, a), keyOf(at, b)) })
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		key := keyOf(at, entry)
		switch {
		case entry.IsDir() && overlap(key, prefix):
			if err := d.walk(ctx, key, prefix, yield); err != nil {
				return err
			}
		case !entry.IsDir() && strings.HasPrefix(key, prefix):
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has been removed meanwhile
			}
			if err != nil {
				return err
			}
			if !yield(describe(key, info), nil) {
				return errStopped
			}
		}
	}
	return ctx.Err()
}

func keyOf(at string, entry fs.DirEntry) string {
	if entry.IsDir() {
		return at + entry.Name() + "/"
	}
	return at + entry.Name()
}

// overlap reports whether keys below the folder can begin with prefix.
func overlap(folder, prefix string) bool {
	return strings.HasPrefix(folder, prefix) || strings.HasPrefix(prefix, folder)
}

// Subfolders lists the folders directly below dir, links to folders among them, and
// counts the files there. Hidden ones are left out. Its errors are of type Problem
// where the folder is not what it should be.
func Subfolders(dir string) (names []string, files int, err error) {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, problem("%s: no such folder; give a folder of folders or s3://bucket/prefix", dir)
	case err != nil:
		return nil, 0, problem("%w", err)
	}
	for _, e := range list {
		if hidden(e.Name()) {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, e.Name())) // follows links
		if err != nil {
			return nil, 0, problem("%w", err)
		}
		if info.IsDir() {
			names = append(names, e.Name())
		} else {
			files++
		}
	}
	return names, files, nil
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// Problem is an error that can be fixed by whoever named the folder.
type Problem struct{ err error }

func (p Problem) Error() string { return p.err.Error() }

// Unwrap returns what lies behind the problem, if anything does.
func (p Problem) Unwrap() error { return errors.Unwrap(p.err) }

func problem(format string, args ...any) error { return Problem{fmt.Errorf(format, args...)} }
