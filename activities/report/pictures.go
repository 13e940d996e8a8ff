package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/draw"
)

// Pictures are the images that the page shows.
type Pictures struct {
	// Candidates holds PNG bytes by candidate index; only those that Shown
	// names are used.
	Candidates map[int][]byte
	// Sheet is the PNG of candidates beside their nearest real images.
	Sheet []byte
}

// Bounds that keep the page small enough to send by mail.
const (
	gridBudget  = 3 << 20 // bytes of PNG in the grid, beyond which JPEG is used
	sheetBudget = 2 << 20 // bytes of the sheet
	quality     = 88
	maxPixels   = 64 << 20
)

// gridURLs returns the pictures as data addresses, in one encoding for all.
func gridURLs(pictures map[int][]byte, shown []int) (map[int]template.URL, error) {
	total := 0
	for _, i := range shown {
		total += len(pictures[i])
	}
	urls := make(map[int]template.URL, len(shown))
	for _, i := range shown {
		raw, ok := pictures[i]
		if !ok {
			continue
		}
		img, err := decode(raw)
		if err != nil {
			return nil, fmt.Errorf("candidate %d: %w", i, err)
		}
		if total <= gridBudget {
			urls[i] = dataURL("image/png", raw)
			continue
		}
		small, err := toJPEG(img)
		if err != nil {
			return nil, fmt.Errorf("candidate %d: %w", i, err)
		}
		urls[i] = dataURL("image/jpeg", small)
	}
	return urls, nil
}

// sheetURL returns the sheet as a data address, recoded and then halved in size
// until it fits its budget, with the size it is meant to be shown at.
func sheetURL(raw []byte) (url template.URL, width, height int, err error) {
	img, err := decode(raw)
	if err != nil {
		return "", 0, 0, fmt.Errorf("sheet: %w", err)
	}
	width, height = img.Bounds().Dx(), img.Bounds().Dy()
	if len(raw) <= sheetBudget {
		return dataURL("image/png", raw), width, height, nil
	}
	for {
		small, err := toJPEG(img)
		if err != nil {
			return "", 0, 0, fmt.Errorf("sheet: %w", err)
		}
		b := img.Bounds()
		if len(small) <= sheetBudget || b.Dx() < 512 {
			return dataURL("image/jpeg", small), width, height, nil
		}
		half := image.NewRGBA(image.Rect(0, 0, (b.Dx()+1)/2, (b.Dy()+1)/2))
		draw.BiLinear.Scale(half, half.Bounds(), img, b, draw.Src, nil)
		img = half
	}
}

func decode(raw []byte) (image.Image, error) {
	cfg, err := png.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("decode picture: %w", err)
	}
	if cfg.Width*cfg.Height > maxPixels {
		return nil, fmt.Errorf("decode picture: %dx%d is more than %d pixels", cfg.Width, cfg.Height, maxPixels)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("decode picture: %w", err)
	}
	return img, nil
}

func toJPEG(img image.Image) ([]byte, error) {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	return buf.Bytes(), nil
}

// dataURL is safe as an address: its type is ours and its rest is base64.
func dataURL(mime string, raw []byte) template.URL {
	return template.URL("data:" + mime + ";base64," + base64.StdEncoding.EncodeToString(raw))
}
