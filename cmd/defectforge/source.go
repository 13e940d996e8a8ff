package main

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
	"sort"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

func checkClass(class string) error {
	if class == "" {
		return usageError("--class: not given; name the defect class, for example --class scratches")
	}
	if !spec.ValidName(class) {
		return usageError("--class: %q: %s", class, spec.NameRule)
	}
	return nil
}

const (
	// uploadsAtOnce bounds open files and connections.
	uploadsAtOnce = 16
	// maxSourceBytes is the largest file that is uploaded. No recipe accepts
	// larger images, so such a file is in the folder by mistake.
	maxSourceBytes = 1 << 30
	// maxSourceFiles bounds the list that is kept in memory.
	maxSourceFiles = 1_000_000
)

// sourceFile is one file of a source folder.
type sourceFile struct {
	path   string // on this machine
	name   string // below the source's prefix, safe as a key
	sha256 string
	size   int64
}

// folderSource is a folder's files, and the prefix below which they go.
type folderSource struct {
	prefix string
	files  []sourceFile
}

// sourceOf is where the images of class lie that a flag names: in a bucket, or
// in a folder, which is then added to uploads.
func (p *program) sourceOf(ctx context.Context, flag, class, src string, uploads *[]folderSource) (step.Source, error) {
	if source, remote, err := parseS3(flag, src); err != nil || remote {
		return source, err
	}
	files, skipped, err := scanFolder(ctx, flag, src)
	if err != nil {
		return step.Source{}, err
	}
	if skipped > 0 {
		p.log.Info("files left out", "folder", src, "count", skipped, "why", "hidden, or neither files nor links to files")
	}
	prefix := folderPrefix(class, files)
	*uploads = append(*uploads, folderSource{prefix, files})
	return step.Source{Bucket: p.cfg.Store.Bucket, Prefix: prefix}, nil
}

// parseS3 reads s3://bucket/prefix, the value of a flag. The prefix stands for a
// folder.
func parseS3(flag, src string) (step.Source, bool, error) {
	rest, ok := strings.CutPrefix(src, "s3://")
	if !ok {
		return step.Source{}, false, nil
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	if bucket == "" || strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "//") {
		return step.Source{}, true, usageError("%s: %q: write s3://bucket/prefix", flag, src)
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return step.Source{Bucket: bucket, Prefix: prefix}, true, nil
}

// scanFolder lists the files of a folder, the value of a flag, with their digests,
// sorted by name. Hidden files and folders, and links to folders, are left out
// and counted.
func scanFolder(ctx context.Context, flag, dir string) (files []sourceFile, skipped int, err error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, usageError("%s: %s: no such folder; give a folder of images or s3://bucket/prefix", flag, dir)
	case err != nil:
		return nil, 0, usageError("%s: %w", flag, err)
	case !info.IsDir():
		return nil, 0, usageError("%s: %s: is a file; give the folder that holds the images", flag, dir)
	}
	// Walk does not descend into a root that is a link itself.
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, 0, usageError("%s: %w", flag, err)
	}
	if files, skipped, err = walkFolder(flag, root); err != nil {
		return nil, skipped, err
	}
	if len(files) == 0 {
		return nil, skipped, usageError("%s: %s: holds no files%s; give a folder of images", flag, dir, hiddenNote(skipped))
	}
	if err := digestFiles(ctx, flag, files); err != nil {
		return nil, skipped, err
	}
	sort.Slice(files, func(i, j int) bool { return files[i].name < files[j].name })
	return files, skipped, nil
}

func hiddenNote(skipped int) string {
	if skipped == 0 {
		return ""
	}
	return fmt.Sprintf(" but %d hidden or special ones", skipped)
}

func walkFolder(flag, root string) (files []sourceFile, skipped int, err error) {
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return usageError("%s: %w; make it readable or move it out of the folder", flag, err)
		}
		if file == root {
			return nil
		}
		if strings.HasPrefix(d.Name(), ".") {
			skipped++
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		info, err := os.Stat(file) // follows links
		if err != nil || !info.Mode().IsRegular() {
			skipped++
			return nil
		}
		if info.Size() > maxSourceBytes {
			return usageError("%s: %s: %d bytes are more than any image here may have; move it out of the folder", flag, file, info.Size())
		}
		if len(files) == maxSourceFiles {
			return usageError("%s: %s: holds more than %d files; put them into a bucket and give s3://bucket/prefix", flag, root, maxSourceFiles)
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return fmt.Errorf("name file: %w", err)
		}
		name := safeName(filepath.ToSlash(rel))
		if err := storage.ValidKey(folderPrefix(strings.Repeat("x", 63), nil) + name); err != nil {
			return usageError("%s: %s: %w; shorten its path", flag, file, err)
		}
		files = append(files, sourceFile{path: file, name: name, size: info.Size()})
		return nil
	})
	return files, skipped, err
}

// safeName makes a relative path a key that every store takes. Different paths
// get different keys.
func safeName(rel string) string {
	parts := strings.Split(rel, "/")
	for i, part := range parts {
		parts[i] = storage.SafeName(part)
	}
	return strings.Join(parts, "/")
}

func digestFiles(ctx context.Context, flag string, files []sourceFile) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(uploadsAtOnce)
	for i := range files {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := os.Open(files[i].path)
			if err != nil {
				return usageError("%s: %w; make it readable or move it out of the folder", flag, err)
			}
			defer f.Close()
			h := sha256.New()
			if files[i].size, err = io.Copy(h, f); err != nil {
				return fmt.Errorf("read %s: %w", files[i].path, err)
			}
			files[i].sha256 = hex.EncodeToString(h.Sum(nil))
			return nil
		})
	}
	return g.Wait()
}

// folderPrefix is where a folder's files go: the same files under the same
// names give the same prefix.
func folderPrefix(class string, files []sourceFile) string {
	list := make([][2]string, len(files))
	for i, f := range files {
		list[i] = [2]string{f.name, f.sha256}
	}
	return "sources/" + class + "/" + spec.Digest(list) + "/"
}

// upload puts the files below prefix, leaving out those already there. It
// returns how many were sent.
func upload(ctx context.Context, b storage.Bucket, prefix string, files []sourceFile, progress func(done int)) (int, error) {
	var done, sent atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(uploadsAtOnce)
	for _, f := range files {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			fresh, err := uploadOne(ctx, b, prefix+f.name, f)
			if err != nil {
				return fmt.Errorf("upload %s: %w", f.path, err)
			}
			if fresh {
				sent.Add(1)
			}
			progress(int(done.Add(1)))
			return nil
		})
	}
	err := g.Wait()
	return int(sent.Load()), err
}

func uploadOne(ctx context.Context, b storage.Bucket, key string, f sourceFile) (bool, error) {
	there, err := b.Stat(ctx, key)
	if err == nil && there.Size == f.size && there.SHA256 == f.sha256 {
		return false, nil
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return false, err
	}
	body, err := os.Open(f.path)
	if err != nil {
		return false, err
	}
	defer body.Close()
	if info, err := body.Stat(); err != nil || info.Size() != f.size {
		return false, fmt.Errorf("the file changed while it was read; run the command again when nothing writes to the folder")
	}
	_, err = b.Put(ctx, key, body, f.size, f.sha256, storage.Condition{})
	return true, err
}
