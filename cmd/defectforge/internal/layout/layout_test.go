package layout

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/defectforge/defectforge/storage/folder"
)

// files makes n files of each pattern, which has a place for a number.
func files(patterns ...string) (out []folder.File) {
	for _, p := range patterns {
		for i := range 3 {
			out = append(out, folder.File{Name: fmt.Sprintf(p, i)})
		}
	}
	return out
}

func pngIsMask(f folder.File) bool { return strings.HasSuffix(f.Name, ".png") }

func TestLayouts(t *testing.T) {
	for name, c := range map[string]struct {
		files   []folder.File
		name    string
		classes string
		aside   string
		special bool
	}{
		"heap":                                  {files("%d.png"), "images in one folder", "no folder (3)", "", false},
		"nested":                                {files("2024/%d.png"), "images in one folder", "2024 (3)", "", false},
		"classes":                               {files("rust/%d.png", "pits/a/%d.jpg", "%d.bmp"), "a folder for each class", "no folder (3), pits (3), rust (3)", "", false},
		"good is a class where all are classes": {files("good/%d.png", "pits/%d.png"), "a folder for each class", "good (3), pits (3)", "", false},
		"mvtec": {
			files("train/good/%03d.png", "test/good/%03d.png", "test/broken_large/%03d.png", "test/contamination/%03d.png",
				"ground_truth/broken_large/%03d_mask.png", "ground_truth/contamination/%03d_mask.png"),
			"MVTec AD", "broken_large (3), contamination (3)", "6 masks, 6 images without a defect", true,
		},
		"pairs":    {files("exp%02d.jpg", "exp%02d.png"), "images in one folder, with masks", "no folder (3)", "3 masks", true},
		"suffixes": {files("a%d.png", "a%d_mask.png", "_mask%d.png"), "images in one folder, with masks", "no folder (6)", "3 masks", true},
		"neu-det": {
			files("train/images/scratches/s_%d.jpg", "validation/images/scratches/v_%d.jpg", "train/annotations/s_%d.xml", "validation/annotations/v_%d.xml"),
			"parts for training and testing, with annotations", "scratches (6)", "6 annotations", true,
		},
		"voc":         {files("JPEGImages/%d.jpg", "Annotations/%d.xml", "ImageSets/Main/%d.txt"), "images in one folder, with annotations", "no folder (3)", "6 annotations", true},
		"yolo":        {files("images/train/%d.jpg", "labels/train/%d.txt"), "parts for training and testing, with annotations", "no folder (3)", "3 annotations", true},
		"yolo beside": {files("%d.jpg", "%d.txt"), "images in one folder, with annotations", "no folder (3)", "3 annotations", true},
		"coco beside": {append(files("%d.jpg"), folder.File{Name: "_annotations.coco.json"}), "images in one folder, with annotations", "no folder (3)", "1 annotations", true},
		"other files": {append(files("%d.jpg", "%d.bin"), folder.File{Name: "notes.txt"}), "images in one folder", "no folder (7)", "", false},
	} {
		got := Of(c.files, pngIsMask)
		assert.Equal(t, c.name, got.Name, name)
		assert.Equal(t, c.classes, got.Choices(), name)
		assert.Equal(t, c.aside, got.Aside(), name)
		assert.Equal(t, c.special, got.Special, name)
	}
}

// Two photographs of one name in two formats are no photograph and mask.
func TestMasksAreToldByTheirPixels(t *testing.T) {
	got := Of(files("a%d.jpg", "a%d.png"), func(folder.File) bool { return false })
	assert.Len(t, got.Classes[""], 6)
	assert.False(t, got.Special)
}
