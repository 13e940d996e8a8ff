package picture

import (
	"image"
	"image/color"
)

// transparent tells whether no pixel of img can be seen at all.
func transparent(img image.Image) bool {
	switch img := img.(type) {
	case *image.NRGBA:
		return allZero(img.Pix, 3, 4)
	case *image.RGBA:
		return allZero(img.Pix, 3, 4)
	case *image.NRGBA64:
		return allZero(img.Pix, 6, 8) && allZero(img.Pix, 7, 8)
	case *image.RGBA64:
		return allZero(img.Pix, 6, 8) && allZero(img.Pix, 7, 8)
	case *image.NYCbCrA:
		return allZero(img.A, 0, 1)
	case *image.Paletted:
		var seen [256]bool
		for _, index := range img.Pix {
			seen[index] = true
		}
		for index, c := range img.Palette {
			if _, _, _, a := c.RGBA(); a != 0 && seen[index] {
				return false
			}
		}
		return true
	}
	return false
}

// allZero tells whether every step-th byte from first on is zero.
func allZero(pix []byte, first, step int) bool {
	for i := first; i < len(pix); i += step {
		if pix[i] != 0 {
			return false
		}
	}
	return true
}

// opaqueOf is img without its opacity, which is zero everywhere. Colours that
// were multiplied by it were stored so by a writer who did not mean it.
func opaqueOf(img image.Image) image.Image {
	switch img := img.(type) {
	case *image.NRGBA:
		fill(img.Pix, 3, 4)
	case *image.RGBA:
		fill(img.Pix, 3, 4)
	case *image.NRGBA64:
		fill(img.Pix, 6, 8)
		fill(img.Pix, 7, 8)
	case *image.RGBA64:
		fill(img.Pix, 6, 8)
		fill(img.Pix, 7, 8)
	case *image.NYCbCrA:
		return &img.YCbCr
	case *image.Paletted:
		for i, c := range img.Palette {
			if c, ok := c.(color.NRGBA); ok {
				c.A = 255
				img.Palette[i] = c
			}
		}
	}
	return img
}

func fill(pix []byte, first, step int) {
	for i := first; i < len(pix); i += step {
		pix[i] = 255
	}
}
