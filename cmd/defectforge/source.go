package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/activities/campaign"
	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/layout"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage/folder"
)

func checkClass(class string) error {
	if class == "" {
		return console.Usage("--class: not given; name the defect class, for example --class scratches")
	}
	if !spec.ValidName(class) {
		return console.Usage("--class: %q: %s", class, spec.NameRule)
	}
	return nil
}

// folderSource is a folder's files, and the prefix below which they go.
type folderSource struct {
	prefix string
	files  []folder.File
}

// sourceOf is where the images of class lie that a flag names: in a bucket, or
// in a folder, which is then added to uploads. Of a folder with several classes, or with
// more than images, only that class's images are taken; flat takes every file.
func sourceOf(ctx context.Context, a *app, flag, class, src string, flat bool, uploads *[]folderSource) (step.Source, error) {
	if source, remote, err := parseS3(flag, src); err != nil || remote {
		return source, err
	}
	files, skipped, err := scanFolder(ctx, flag, src)
	if err != nil {
		return step.Source{}, err
	}
	if skipped > 0 {
		a.log().Info("files left out", "folder", src, "count", skipped, "why", "hidden, or neither files nor links to files")
	}
	if !flat {
		if files, err = filesOf(a, flag, class, src, files); err != nil {
			return step.Source{}, err
		}
	}
	prefix := folderPrefix(class, files)
	*uploads = append(*uploads, folderSource{prefix, files})
	return step.Source{Bucket: a.cfg.Store.Bucket, Prefix: prefix}, nil
}

// filesOf are the images of class among a folder's files.
func filesOf(a *app, flag, class, src string, files []folder.File) ([]folder.File, error) {
	found := layout.Of(files, isMask)
	names := found.Names()
	if !found.Special && len(names) < 2 {
		return files, nil
	}
	at := slices.IndexFunc(names, func(name string) bool { return name == class || campaign.Classes([]string{name})[0] == class })
	if at < 0 && len(names) == 1 {
		at = 0
	}
	if at < 0 {
		return nil, console.Usage("%s: %s: holds several classes, %s; give --class one of them, or the folder of one; "+
			"`defectforge campaign run` makes a class of each, and --flat takes all files as one class", flag, src, found.Choices())
	}
	words := fmt.Sprintf("%s: %s, %d images of %s", src, found.Name, len(found.Classes[names[at]]), class)
	if aside := found.Aside(); aside != "" {
		words += "; left aside: " + aside
	}
	a.console.Say("%s", words)
	return found.Classes[names[at]], nil
}

// namesBelow lists the files of a folder as scanFolder does, by their names alone. What
// is wrong with the folder is left for others to say.
func namesBelow(dir string) (files []folder.File) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case path != dir && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case !d.IsDir():
			if name, err := filepath.Rel(dir, path); err == nil {
				files = append(files, folder.File{Name: filepath.ToSlash(name), Path: path})
			}
		}
		return nil
	})
	return files
}

// maskLevels is the most grey levels that a mask has: background, defect, and what a few
// classes or ignored borders need.
const maskLevels = 4

// isMask reports whether an image has hardly any levels.
func isMask(f folder.File) bool {
	raw, err := os.ReadFile(f.Path)
	if err != nil {
		return false // uploading it says what is wrong
	}
	img, info, err := picture.Decode(raw, picture.Limits{MaxPixels: 64 << 20})
	if err != nil || info.Format == "jpeg" {
		return false
	}
	seen := map[uint8]bool{}
	for i := 0; i < len(img.Pix) && len(seen) <= maskLevels; i += 4 {
		seen[img.Pix[i]] = true
	}
	return len(seen) <= maskLevels
}

// remote reports whether src names a bucket, and gives what follows the scheme: s3, or
// what Hadoop calls it, in letters of either case.
func remote(src string) (rest string, ok bool) {
	scheme, rest, ok := strings.Cut(src, "://")
	return rest, ok && slices.Contains([]string{"s3", "s3a", "s3n"}, strings.ToLower(scheme))
}

func isRemote(src string) bool {
	_, ok := remote(src)
	return ok
}

// parseS3 reads s3://bucket/prefix, the value of a flag. The prefix stands for a
// folder.
func parseS3(flag, src string) (step.Source, bool, error) {
	rest, ok := remote(src)
	if !ok {
		if scheme, _, url := strings.Cut(src, "://"); url {
			return step.Source{}, true, console.Usage("%s: %q: %s is not read; write s3://bucket/prefix, and name the store in store.endpoint",
				flag, src, scheme)
		}
		return step.Source{}, false, nil
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	if bucket == "" || strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "//") {
		return step.Source{}, true, console.Usage("%s: %q: write s3://bucket/prefix", flag, src)
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return step.Source{Bucket: bucket, Prefix: prefix}, true, nil
}

// scanFolder lists the files of a folder, the value of a flag, with their digests,
// sorted by name, and counts what is left out.
func scanFolder(ctx context.Context, flag, dir string) ([]folder.File, int, error) {
	longest := folderPrefix(strings.Repeat("x", spec.MaxName), nil)
	files, skipped, err := folder.Scan(ctx, dir, longest)
	return files, skipped, folderError(flag, err)
}

// foldersOf lists the folders directly below dir, the value of a flag, and
// counts the files there. Hidden ones are left out.
func foldersOf(flag, dir string) (names []string, files int, err error) {
	names, files, err = folder.Subfolders(dir)
	if err != nil {
		return nil, 0, folderError(flag, err)
	}
	if len(names) == 0 {
		return nil, 0, console.Usage("%s: %s: holds no folders; a campaign makes a class of each folder in it, "+
			"`defectforge run` takes a folder of images", flag, dir)
	}
	return names, files, nil
}

// folderError names the flag in what its folder lacks.
func folderError(flag string, err error) error {
	if problem := (folder.Problem{}); errors.As(err, &problem) {
		return console.Usage("%s: %w", flag, err)
	}
	return err
}

// folderPrefix is where a folder's files go: the same files under the same
// names give the same prefix.
func folderPrefix(class string, files []folder.File) string {
	list := make([][2]string, len(files))
	for i, f := range files {
		list[i] = [2]string{f.Name, f.SHA256}
	}
	return ledger.SourcePrefix(class, spec.Digest(list))
}
