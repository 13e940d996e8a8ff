// Package layout recognises how a folder keeps images of defects: in one heap, in a
// folder for each class, in parts for training and testing, with masks or annotations
// beside them. It looks at names, and at pixels only where two images share a name.
package layout

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/storage/folder"
)

// Found is how a folder keeps its images.
type Found struct {
	// Classes are the images of each class, by the name of its folder; those of no
	// folder have the name "".
	Classes map[string][]folder.File
	// Special: folders are not classes alone, or files not images alone. Else Classes
	// are the folders directly below, and nothing was set aside.
	Special bool
	// What was set aside.
	Masks, Good, Annotations int
	// Name is the layout's, in words.
	Name string
}

var (
	splits  = []string{"train", "training", "test", "testing", "val", "valid", "validation"}
	holders = []string{"images", "jpegimages", "image", "img"}
	masks   = []string{"ground_truth", "masks", "mask", "segmentationclass", "segmentationobject", "gt"}
	notes   = []string{"annotations", "labels", "annotation", "label", "imagesets"}
	good    = []string{"good", "ok", "normal", "defect_free", "defect-free", "no_defect"}
	// maskEnds are what the names of masks add to those of their images.
	maskEnds = []string{"_mask", "-mask", "_gt", "_label", "_seg"}

	imageEnds = []string{".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
	noteEnds  = []string{".xml", ".json", ".txt", ".csv", ".yaml", ".yml"}
)

// sorted is a folder's files, taken apart.
type sorted struct {
	found  Found
	parts  bool // there are folders of parts
	truths bool // there are folders of masks
	isMask func(folder.File) bool
}

// Of recognises the layout of files, whose names are relative. isMask tells by its
// pixels whether an image is a mask; it is asked only of images that share folder and
// name with another one.
func Of(files []folder.File, isMask func(folder.File) bool) Found {
	s := sorted{found: Found{Classes: map[string][]folder.File{}}, isMask: isMask}
	stems := map[string][]folder.File{}
	for _, f := range files {
		if isImage(f.Name) {
			stems[stem(f.Name)] = append(stems[stem(f.Name)], f)
		}
	}
	goodFiles := map[string][]folder.File{}
	for _, f := range files {
		if s.aside(f, stems) {
			continue
		}
		if class := s.class(f); slices.Contains(good, strings.ToLower(class)) {
			goodFiles[class] = append(goodFiles[class], f)
		} else {
			s.found.Classes[class] = append(s.found.Classes[class], f)
		}
	}
	s.takeGood(goodFiles)
	s.found.Special = s.parts || s.found.Masks+s.found.Annotations+s.found.Good > 0
	s.found.Name = s.name()
	return s.found
}

// takeGood sets images without a defect aside, if there are others that have one.
func (s *sorted) takeGood(files map[string][]folder.File) {
	for class, list := range files {
		if len(s.found.Classes) == 0 || !s.parts && !s.truths {
			s.found.Classes[class] = list
		} else {
			s.found.Good += len(list)
		}
	}
}

// aside counts what is no image of a class.
func (s *sorted) aside(f folder.File, stems map[string][]folder.File) bool {
	for _, dir := range dirs(f.Name) {
		switch lower := strings.ToLower(dir); {
		case slices.Contains(masks, lower):
			s.truths = true
			s.found.Masks++
			return true
		case slices.Contains(notes, lower):
			s.found.Annotations++
			return true
		}
	}
	if !isImage(f.Name) {
		if isNote(f.Name, stems) {
			s.found.Annotations++
			return true
		}
		return false // whatever it is, ingest says so
	}
	name := stem(f.Name)
	for _, end := range maskEnds {
		if base, ok := strings.CutSuffix(name, end); ok && len(stems[base]) > 0 {
			s.found.Masks++
			return true
		}
	}
	if len(stems[name]) > 1 && s.isMask(f) {
		s.found.Masks++
		return true
	}
	return false
}

// isNote reports whether a file is an annotation: of an image of its name, or one of
// those that COCO and YOLO have for a whole folder.
func isNote(name string, stems map[string][]folder.File) bool {
	end, base := strings.ToLower(path.Ext(name)), strings.ToLower(path.Base(name))
	if !slices.Contains(noteEnds, end) {
		return false
	}
	return len(stems[stem(name)]) > 0 || base == "classes.txt" || base == "data.yaml" ||
		end == ".json" && (strings.Contains(base, "annotation") || strings.Contains(base, "coco") || strings.HasPrefix(base, "instances"))
}

// class is the first folder that is no part and no holder of images.
func (s *sorted) class(f folder.File) string {
	for _, dir := range dirs(f.Name) {
		switch lower := strings.ToLower(dir); {
		case slices.Contains(splits, lower):
			s.parts = true
		case !slices.Contains(holders, lower):
			if plain, err := url.PathUnescape(dir); err == nil {
				return plain // names are escaped where they are to be keys
			}
			return dir
		}
	}
	return ""
}

func (s *sorted) name() string {
	var with []string
	if s.found.Masks > 0 {
		with = append(with, "masks")
	}
	if s.found.Annotations > 0 {
		with = append(with, "annotations")
	}
	name := "images in one folder"
	switch {
	case s.parts && s.truths:
		name = "MVTec AD"
	case s.parts:
		name = "parts for training and testing"
	case len(s.found.Classes) > 1:
		name = "a folder for each class"
	}
	if len(with) > 0 && name != "MVTec AD" {
		name += ", with " + strings.Join(with, " and ")
	}
	return name
}

// Aside says in words what was set aside; empty where nothing was.
func (f Found) Aside() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{f.Masks, "masks"}, {f.Annotations, "annotations"}, {f.Good, "images without a defect"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

// Names are the classes' names, sorted.
func (f Found) Names() []string { return slices.Sorted(maps.Keys(f.Classes)) }

// Choices lists the classes with their numbers of images, for an error.
func (f Found) Choices() string {
	var out []string
	for _, name := range f.Names() {
		shown := name
		if name == "" {
			shown = "no folder"
		}
		out = append(out, fmt.Sprintf("%s (%d)", shown, len(f.Classes[name])))
	}
	const most = 12
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("%d more", len(out)-most))
	}
	return strings.Join(out, ", ")
}

func isImage(name string) bool { return slices.Contains(imageEnds, strings.ToLower(path.Ext(name))) }

// stem is the name without its ending, with its folder.
func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

func dirs(name string) []string {
	parts := strings.Split(name, "/")
	return parts[:len(parts)-1]
}
