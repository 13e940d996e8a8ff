package picture

import (
	"encoding/binary"
	"image"
)

// OwnLevels, as Limits.Levels, scales each image by the depth that its own largest
// sample needs.
const OwnLevels = -1

// fullLevels is the largest sample of 16 bits.
const fullLevels = 1<<16 - 1

// Levels is the largest sample that a camera can give whose images reach peak: of 8,
// 10, 12, 14 or 16 bits.
func Levels(peak int) int {
	for _, bits := range []int{8, 10, 12, 14} {
		if peak < 1<<bits {
			return 1<<bits - 1
		}
	}
	return fullLevels
}

// samples are the colour samples of an image of 16 bits: the bytes, and of each pixel
// the number of colours and of all channels. nil for images of 8 bits.
func samples(img image.Image) (pix []uint8, colours, channels int) {
	switch img := img.(type) {
	case *image.Gray16:
		return img.Pix, 1, 1
	case *image.NRGBA64:
		return img.Pix, 3, 4
	case *image.RGBA64:
		if img.Opaque() { // else colours are multiplied by their opacity
			return img.Pix, 3, 4
		}
	}
	return nil, 0, 0
}

// deepen finds the largest sample of an image of 16 bits, 0 for one of 8, and scales
// the image so that levels becomes white. The pixels are changed in place.
func deepen(img image.Image, levels int) (peak int) {
	pix, colours, channels := samples(img)
	each := func(do func(at int)) {
		for first := 0; first < len(pix); first += 2 * channels {
			for c := range colours {
				do(first + 2*c)
			}
		}
	}
	each(func(at int) { peak = max(peak, int(binary.BigEndian.Uint16(pix[at:]))) })
	if levels == OwnLevels {
		levels = Levels(peak)
	}
	if levels <= 0 || levels == fullLevels {
		return peak
	}
	each(func(at int) {
		v := uint64(binary.BigEndian.Uint16(pix[at:]))
		binary.BigEndian.PutUint16(pix[at:], uint16(min((v*fullLevels+uint64(levels)/2)/uint64(levels), fullLevels)))
	})
	return peak
}
