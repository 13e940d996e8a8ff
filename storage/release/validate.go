package release

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/defectforge/defectforge/storage"
)

// validate fails with ErrMalformed unless the manifest keeps the format's rules.
func (m Manifest) validate() error {
	if err := validClass(m.Class); err != nil {
		return err
	}
	if err := validAttributes(m.Attributes); err != nil {
		return err
	}
	if len(m.Files) > maxFiles {
		return bad("%d files, limit %d", len(m.Files), maxFiles)
	}
	if err := validPaths(m.Files); err != nil {
		return err
	}
	images, has := 0, map[string]bool{}
	for _, f := range m.Files {
		if err := f.validate(); err != nil {
			return err
		}
		if isImage(f.Path) {
			images++
		}
		if m.Version > 1 && isImage(f.Path) && path.Dir(f.Path) != ImageDir+"/"+m.Class {
			return bad("image %q lies outside of %s/%s/", f.Path, ImageDir, m.Class)
		}
		has[f.Path], has[path.Dir(f.Path)] = true, true
	}
	switch {
	case images == 0 || images != m.Images:
		return bad("%d images stated, %d listed", m.Images, images)
	case !has[MetadataName]:
		return bad("no %s", MetadataName)
	case m.Version > 1 && !(has[CroissantName] && has[CardName] && has[ShardDir]):
		return bad("needs %s, %s and %s/", CroissantName, CardName, ShardDir)
	case m.Release != m.name():
		return bad("release %q, but the content's name is %q", m.Release, m.name())
	}
	return nil
}

func (f File) validate() error {
	if f.Size < 0 || f.Size > maxFileSize {
		return bad("file %q has %d bytes", f.Path, f.Size)
	}
	if !isHex(f.SHA256, 64) {
		return bad("file %q has SHA-256 %q", f.Path, f.SHA256)
	}
	return nil
}

func bad(format string, args ...any) error {
	return fmt.Errorf("manifest: %w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func validClass(class string) error {
	if strings.Contains(class, "/") || len(class) > 128 || storage.ValidKey(class) != nil {
		return fmt.Errorf("class %q: %w: use at most 128 letters, digits, '.', '_' and '-'", class, ErrMalformed)
	}
	return nil
}

func validAttributes(attributes map[string]string) error {
	if len(attributes) > maxAttributes {
		return fmt.Errorf("attributes: %w: %d of them, limit %d", ErrMalformed, len(attributes), maxAttributes)
	}
	for _, k := range slices.Sorted(maps.Keys(attributes)) {
		v := attributes[k]
		if k == "" || len(k) > maxAttribute || len(v) > maxAttribute || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("attribute %.80q: %w: name and value must be UTF-8 of at most %d bytes, and the name not empty",
				k, ErrMalformed, maxAttribute)
		}
	}
	return nil
}

// validPaths fails unless the files, in order, can lie in one folder on any
// system, none of them outside of it.
func validPaths(files []File) error {
	bad := func(p, why string) error { return fmt.Errorf("file %q: %w: %s", p, ErrMalformed, why) }
	// Lower-case paths and folders; true for folders.
	folded := map[string]bool{ManifestName: false, SignatureName: false}
	for i, f := range files {
		if err := validPath(f.Path); err != nil {
			return err
		}
		if i > 0 && files[i-1].Path >= f.Path {
			return bad(f.Path, "listed twice or out of order")
		}
		low := strings.ToLower(f.Path)
		if _, taken := folded[low]; taken {
			return bad(f.Path, "another path differs in nothing but case, or goes through it")
		}
		folded[low] = false
		for dir := path.Dir(low); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if isDir, taken := folded[dir]; taken && !isDir {
				return bad(f.Path, "a folder on its way is a file")
			}
			folded[dir] = true
		}
	}
	return nil
}

func validPath(p string) error {
	bad := func(why string) error { return fmt.Errorf("file %q: %w: %s", p, ErrMalformed, why) }
	if err := storage.ValidKey(p); err != nil {
		return bad(err.Error())
	}
	if len(p) > 512 {
		return bad("a path of more than 512 bytes")
	}
	if p == ManifestName || p == SignatureName {
		return bad("the manifest lists neither itself nor its signature")
	}
	inside := strings.HasPrefix(p, ImageDir+"/")
	switch ext := strings.ToLower(path.Ext(p)); ext {
	case ".png":
		if !inside {
			return bad("images belong below " + ImageDir + "/")
		}
	case ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff":
		return bad("images are PNG files below " + ImageDir + "/")
	default:
		if inside {
			return bad("only PNG files belong below " + ImageDir + "/")
		}
	}
	return nil
}

func isImage(p string) bool { return strings.HasPrefix(p, ImageDir+"/") }

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}
