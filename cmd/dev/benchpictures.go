package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
)

const (
	neuImages  = "../shared/neu"
	maxFiles   = 1200
	drawnFiles = 400 // where there are none
	drawnSide  = 200
	filesList  = "files.txt"
	ourTensors = "ours.u8"
	tensorFile = "pillow.u8"
	// maxApart is how far decoders' grey levels may be apart in the mean: they
	// round differently.
	maxApart = 1.0
)

// picturesRun is what one side prints of preprocessing. It leaves its tensors,
// uint8 (n,3,128,128), in the shared folder.
type picturesRun struct {
	Rate float64 `json:"images_per_second"`
	How  string  `json:"how"` // the peer's faster way
}

// preprocessing compares the way from JPEG files in memory to tensors with Pillow.
func (b *benchmark) preprocessing(ctx context.Context) ([]ratio, error) {
	if !b.has(pillow) {
		return nil, nil
	}
	files, err := b.pictureFiles()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(b.dir, filesList), []byte(strings.Join(files, "\n")), 0o600); err != nil {
		return nil, fmt.Errorf("write list of images: %w", err)
	}
	var own, peer []picturesRun
	for round := range b.rounds {
		b.progress("preprocessing", round)
		run, err := ours[picturesRun](ctx, b, "preprocessing", b.dir)
		if err != nil {
			return nil, err
		}
		own = append(own, run)
		if run, err = measure[picturesRun](ctx, b, b.python,
			[]string{b.scriptPath(), "preprocessing", b.dir, strconv.Itoa(b.threads)}); err != nil {
			return nil, err
		}
		peer = append(peer, run)
	}
	if err := sameTensors(b.dir, len(files)); err != nil {
		return nil, err
	}
	rate := func(r picturesRun) float64 { return r.Rate }
	return []ratio{more("preprocessing", "images/s", medianOf(own, rate), medianOf(peer, rate),
		b.versions[pillow]+", "+peer[len(peer)-1].How)}, nil
}

// pictureFiles lists the JPEG files to preprocess. Where the default folder is
// absent, they are drawn.
func (b *benchmark) pictureFiles() ([]string, error) {
	var files []string
	err := filepath.WalkDir(b.images, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && slices.Contains([]string{".jpg", ".jpeg"}, strings.ToLower(filepath.Ext(path))) {
			files = append(files, path)
		}
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist) && b.images == neuImages:
		return drawPictures(b.dir)
	case err != nil:
		return nil, fmt.Errorf("--images: %w", err)
	case len(files) == 0:
		return nil, fmt.Errorf("--images: %s holds no JPEG file", b.images)
	}
	return files[:min(len(files), maxFiles)], nil
}

// drawPictures writes JPEG files of 200x200 pixels.
func drawPictures(dir string) ([]string, error) {
	var files []string
	for i := range drawnFiles {
		metal := picture.BrushedMetal(20, i)
		img := image.NewRGBA(metal.Rect)
		draw.Draw(img, img.Rect, metal, metal.Rect.Min, draw.Src)
		var file bytes.Buffer
		if err := jpeg.Encode(&file, picture.Resize(img, drawnSide, drawnSide), nil); err != nil {
			return nil, fmt.Errorf("encode drawn image: %w", err)
		}
		path := filepath.Join(dir, fmt.Sprintf("drawn-%03d.jpg", i))
		if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
			return nil, fmt.Errorf("write drawn image: %w", err)
		}
		files = append(files, path)
	}
	return files, nil
}

// sameTensors fails if both sides did not do the same work.
func sameTensors(dir string, images int) error {
	var sides [2][]uint8
	for i, name := range []string{ourTensors, tensorFile} {
		var err error
		if sides[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("read tensors: %w", err)
		}
		if len(sides[i]) != images*spec.ImageLen {
			return fmt.Errorf("%s has %d bytes, want %d", name, len(sides[i]), images*spec.ImageLen)
		}
	}
	sum := 0.0
	for i, v := range sides[0] {
		sum += math.Abs(float64(v) - float64(sides[1][i]))
	}
	if apart := sum / float64(len(sides[0])); !(apart <= maxApart) {
		return fmt.Errorf("preprocessed images are %.2f grey levels apart in the mean: not the same work", apart)
	}
	return nil
}

// benchPreprocessing is our side of the comparison.
func benchPreprocessing(dir string, threads int) (picturesRun, error) {
	list, err := os.ReadFile(filepath.Join(dir, filesList))
	if err != nil {
		return picturesRun{}, fmt.Errorf("read list of images: %w", err)
	}
	var files [][]byte
	for path := range strings.SplitSeq(string(list), "\n") {
		data, err := os.ReadFile(path)
		if err != nil {
			return picturesRun{}, fmt.Errorf("read image: %w", err)
		}
		files = append(files, data)
	}
	tensors := make([]uint8, len(files)*spec.ImageLen)
	seconds, err := timed(3, func(int) error {
		var group errgroup.Group
		group.SetLimit(threads)
		for i, data := range files {
			group.Go(func() error {
				img, _, err := picture.Decode(data, picture.Limits{})
				if err != nil {
					return fmt.Errorf("decode image %d: %w", i, err)
				}
				copy(tensors[i*spec.ImageLen:], picture.Square(img, spec.Size))
				return nil
			})
		}
		return group.Wait()
	})
	if err != nil {
		return picturesRun{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, ourTensors), tensors, 0o600); err != nil {
		return picturesRun{}, fmt.Errorf("write tensors: %w", err)
	}
	return picturesRun{Rate: float64(len(files)) / seconds}, nil
}
