package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"image/png"
)

// Pictures are the images that the page shows, as PNG bytes. Only those that
// Shown names are used.
type Pictures struct {
	Candidates map[int][]byte    // by candidate index
	Real       map[string][]byte // by the real image's SHA-256
}

// Bounds that keep the page small enough to send by mail.
const (
	pictureBudget = 2 << 20 // bytes of PNG, beyond which JPEG is used
	jpegQuality   = 88
	maxPixels     = 64 << 20
)

// urls are the pictures as data addresses.
type urls struct {
	candidates map[int]template.URL
	real       map[string]template.URL
}

// addresses encodes the shown pictures, all in one way.
func addresses(p Pictures, shown Shown) (urls, error) {
	out := urls{map[int]template.URL{}, map[string]template.URL{}}
	total := 0
	for _, i := range shown.Candidates {
		total += len(p.Candidates[i])
	}
	for _, sha := range shown.Real {
		total += len(p.Real[sha])
	}
	for _, i := range shown.Candidates {
		if raw, ok := p.Candidates[i]; ok {
			url, err := address(raw, total <= pictureBudget)
			if err != nil {
				return out, fmt.Errorf("candidate %d: %w", i, err)
			}
			out.candidates[i] = url
		}
	}
	for _, sha := range shown.Real {
		if raw, ok := p.Real[sha]; ok {
			url, err := address(raw, total <= pictureBudget)
			if err != nil {
				return out, fmt.Errorf("real image %s: %w", sha, err)
			}
			out.real[sha] = url
		}
	}
	return out, nil
}

// address is the picture as it is, or as JPEG. It must decode in any case.
func address(raw []byte, asIs bool) (template.URL, error) {
	img, err := decode(raw)
	if err != nil {
		return "", err
	}
	if asIs {
		return dataURL("image/png", raw), nil
	}
	small, err := toJPEG(img)
	if err != nil {
		return "", err
	}
	return dataURL("image/jpeg", small), nil
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
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	return buf.Bytes(), nil
}

// dataURL is safe as an address: its type is ours and its rest is base64.
func dataURL(mime string, raw []byte) template.URL {
	return template.URL("data:" + mime + ";base64," + base64.StdEncoding.EncodeToString(raw))
}
