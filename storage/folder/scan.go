package folder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/storage"
)

const (
	// atOnce bounds open files and connections.
	atOnce = 16
	// maxFileBytes is the largest file that a scan takes. No recipe accepts larger
	// images, so such a file is in the folder by mistake.
	maxFileBytes = 1 << 30
	// maxFiles bounds the list that is kept in memory.
	maxFiles = 1_000_000
)

// File is one file of a folder.
type File struct {
	Path   string // on this machine
	Name   string // its path below the folder, safe as a key
	SHA256 string
	Size   int64
}

// Scan lists the files of a folder with their digests, sorted by name. Hidden files
// and folders, links to folders, and what is neither a file nor a link to one, are
// left out and counted. Every name makes a valid key with prefix, or with one that is as
// long. Its errors are of type Problem where the folder is not what it should be.
func Scan(ctx context.Context, dir, prefix string) (files []File, skipped int, err error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, problem("%s: no such folder; give a folder of images or s3://bucket/prefix", dir)
	case err != nil:
		return nil, 0, problem("%w", err)
	case !info.IsDir():
		return nil, 0, problem("%s: is a file; give the folder that holds the images", dir)
	}
	// A walk does not descend into a root that is a link itself.
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, 0, problem("%w", err)
	}
	s := scan{root: root, prefix: prefix}
	if err := filepath.WalkDir(root, s.visit); err != nil {
		return nil, s.skipped, err
	}
	if len(s.files) == 0 {
		return nil, s.skipped, problem("%s: holds no files%s; give a folder of images", dir, hiddenNote(s.skipped))
	}
	if err := digest(ctx, s.files); err != nil {
		return nil, s.skipped, err
	}
	slices.SortFunc(s.files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return s.files, s.skipped, nil
}

func hiddenNote(skipped int) string {
	if skipped == 0 {
		return ""
	}
	return fmt.Sprintf(" but %d hidden or special ones", skipped)
}

// scan is a walk under way.
type scan struct {
	root    string
	prefix  string
	files   []File
	skipped int
}

func (s *scan) visit(file string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return problem("%w; make it readable or move it out of the folder", err)
	case file == s.root:
		return nil
	case hidden(d.Name()):
		s.skipped++
		if d.IsDir() {
			return filepath.SkipDir
		}
		return nil
	case d.IsDir():
		return nil
	}
	info, err := os.Stat(file) // follows links
	if err != nil || !info.Mode().IsRegular() {
		s.skipped++
		return nil
	}
	return s.take(file, info.Size())
}

func (s *scan) take(file string, size int64) error {
	if size > maxFileBytes {
		return problem("%s: %d bytes are more than any image here may have; move it out of the folder", file, size)
	}
	if len(s.files) == maxFiles {
		return problem("%s: holds more than %d files; put them into a bucket and give s3://bucket/prefix", s.root, maxFiles)
	}
	rel, err := filepath.Rel(s.root, file)
	if err != nil {
		return fmt.Errorf("name file: %w", err)
	}
	name := safeName(filepath.ToSlash(rel))
	if err := storage.ValidKey(s.prefix + name); err != nil {
		return problem("%s: %w; shorten its path", file, err)
	}
	s.files = append(s.files, File{Path: file, Name: name, Size: size})
	return nil
}

// safeName turns a relative path into a key that every store accepts. Different paths
// get different keys.
func safeName(rel string) string {
	parts := strings.Split(rel, "/")
	for i, part := range parts {
		parts[i] = storage.SafeName(part)
	}
	return strings.Join(parts, "/")
}

// digest reads every file.
func digest(ctx context.Context, files []File) error {
	all := make([]*File, len(files))
	for i := range files {
		all[i] = &files[i]
	}
	return storage.Each(ctx, atOnce, all, func(_ context.Context, file *File) error {
		f, err := os.Open(file.Path)
		if err != nil {
			return problem("%w; make it readable or move it out of the folder", err)
		}
		defer f.Close()
		h := sha256.New()
		if file.Size, err = io.Copy(h, f); err != nil {
			return fmt.Errorf("read %s: %w", file.Path, err)
		}
		file.SHA256 = hex.EncodeToString(h.Sum(nil))
		return nil
	})
}
