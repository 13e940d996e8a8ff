package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/model/picture"
)

// photograph and mask write a picture of metal and one of two levels.
func photograph(t *testing.T, n int, path ...string) {
	t.Helper()
	writePNG(t, picture.BrushedMetal(1, n), filepath.Join(path...))
}

func writePNG(t *testing.T, img image.Image, path string) {
	t.Helper()
	var raw bytes.Buffer
	require.NoError(t, png.Encode(&raw, img))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, raw.Bytes(), 0o644))
}

func mask(t *testing.T, path ...string) {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 200, 200))
	for i := 500; i < 900; i++ {
		img.Pix[i] = 255
	}
	writePNG(t, img, filepath.Join(path...))
}

// mvtec makes a folder in the layout of MVTec AD.
func mvtec(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "bottle")
	for i := range 3 {
		name := fmt.Sprintf("%03d.png", i)
		photograph(t, i, dir, "train", "good", name)
		photograph(t, 10+i, dir, "test", "good", name)
		for k, kind := range []string{"broken_large", "contamination"} {
			photograph(t, 20+10*k+i, dir, "test", kind, name)
			mask(t, dir, "ground_truth", kind, fmt.Sprintf("%03d_mask.png", i))
		}
	}
	return dir
}

func plainApp(t *testing.T) *app {
	t.Helper()
	isolate(t)
	a := newApp(t.Output(), t.Output())
	require.NoError(t, loadDefaults(a))
	return a
}

// Masks and images without a defect are never trained on as defects, and a campaign's
// classes are kinds of defects.
func TestLayoutOfMVTec(t *testing.T) {
	a, dir := plainApp(t), mvtec(t)
	var uploads []folderSource
	_, err := sourceOf(t.Context(), a, "--images", "broken_large", dir, false, &uploads)
	require.NoError(t, err)
	require.Len(t, uploads[0].files, 3)
	for _, f := range uploads[0].files {
		assert.Contains(t, f.Name, "test/broken_large/")
	}
	_, err = sourceOf(t.Context(), a, "--images", "scratches", dir, false, &uploads)
	assert.Equal(t, console.ExitUsage, statusOf(err))
	assert.ErrorContains(t, err, "holds several classes, broken_large (3), contamination (3); give --class one of them")
	_, err = sourceOf(t.Context(), a, "--images", "scratches", dir, true, &uploads)
	require.NoError(t, err)
	require.Len(t, uploads[1].files, 18, "--flat takes all")

	p, err := planCampaign(t.Context(), a, campaignOptions{runOptions: runOptions{images: dir, recipe: "quick"}, concurrency: 1})
	require.NoError(t, err)
	var classes []string
	for _, item := range p.items {
		classes = append(classes, item.Class)
	}
	assert.Equal(t, []string{"broken_large", "contamination"}, classes)
	require.Len(t, p.uploads, 2)
	require.Len(t, p.uploads[0].files, 3)
}

// A photograph and a mask of one name: the photographs alone are taken. Two photographs
// of one name are both.
func TestLayoutWithMasksBesideImages(t *testing.T) {
	a, dir := plainApp(t), t.TempDir()
	for i := range 4 {
		photograph(t, i, dir, fmt.Sprintf("exp%d.bmp", i))
		if i < 3 {
			mask(t, dir, fmt.Sprintf("exp%d.png", i))
		} else {
			photograph(t, 9, dir, "exp3.png")
		}
	}
	var uploads []folderSource
	_, err := sourceOf(t.Context(), a, "--images", "blowhole", dir, false, &uploads)
	require.NoError(t, err)
	require.Len(t, uploads[0].files, 5)
}

// A folder of classes is no class.
func TestLayoutOfClassFolders(t *testing.T) {
	a, dir := plainApp(t), t.TempDir()
	for i := range 2 {
		photograph(t, i, dir, "rolled-in_scale", fmt.Sprintf("%d.png", i))
		photograph(t, 5+i, dir, "Pits A", fmt.Sprintf("%d.png", i))
	}
	var uploads []folderSource
	_, err := sourceOf(t.Context(), a, "--images", "metal", dir, false, &uploads)
	assert.ErrorContains(t, err, "`defectforge campaign run` makes a class of each, and --flat takes all files as one class")
	_, err = sourceOf(t.Context(), a, "--images", "pits-a", dir, false, &uploads)
	require.NoError(t, err)
	require.Len(t, uploads[0].files, 2)

	one := t.TempDir()
	photograph(t, 1, one, "2024", "a.png")
	_, err = sourceOf(t.Context(), a, "--images", "metal", one, false, &uploads)
	require.NoError(t, err, "one folder is no choice")
}
