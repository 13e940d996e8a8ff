package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
)

// TIFF tags that are looked at, in the first directory of an EXIF block or of a
// TIFF file.
const (
	tagOrientation     = 0x0112
	tagSamplesPerPixel = 0x0115
	tagPlanar          = 0x011c
)

// inspectTags completes info from the file's tags.
func inspectTags(data []byte, info *Info) error {
	var tags map[uint16]int
	switch info.Format {
	case "tiff":
		tags = firstDirectory(data)
		// The decoder would take separate planes for interleaved samples.
		if tags[tagPlanar] == 2 && tags[tagSamplesPerPixel] > 1 {
			return fmt.Errorf("%w: TIFF with separate colour planes", ErrUnsupported)
		}
	case "jpeg":
		tags = firstDirectory(exifBlock(data))
	}
	if o := tags[tagOrientation]; o >= 1 && o <= 8 {
		info.Orientation = o
	}
	return nil
}

// exifBlock finds the TIFF structure in a JPEG's first EXIF segment, nil where
// there is none.
func exifBlock(data []byte) []byte {
	for i := 2; i+4 <= len(data) && data[i] == 0xff; {
		marker := data[i+1]
		if marker == 0xff { // padding
			i++
			continue
		}
		length := int(binary.BigEndian.Uint16(data[i+2:]))
		if marker == 0xda || length < 2 || i+2+length > len(data) {
			return nil
		}
		body := data[i+4 : i+2+length]
		if exif, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && marker == 0xe1 {
			return exif
		}
		i += 2 + length
	}
	return nil
}

// firstDirectory reads the single short numbers of a TIFF structure's first
// directory, as far as it is well formed. An entry is a tag, a type, a count (4
// bytes) and the value, left-aligned in 4 bytes.
func firstDirectory(data []byte) map[uint16]int {
	var order binary.ByteOrder = binary.LittleEndian
	if len(data) < 8 {
		return nil
	}
	if data[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(data[4:]))
	if at+2 > int64(len(data)) {
		return nil
	}
	tags := map[uint16]int{}
	entries := data[at+2:]
	for range order.Uint16(data[at:]) {
		if len(entries) < 12 {
			break
		}
		entry := entries[:12]
		entries = entries[12:]
		const short = 3
		if order.Uint16(entry[2:]) != short || order.Uint32(entry[4:]) != 1 {
			continue
		}
		tags[order.Uint16(entry)] = int(order.Uint16(entry[8:]))
	}
	return tags
}

// upright applies an EXIF orientation: what is stored is shown mirrored or
// turned. 1 gives img itself.
func upright(img *image.RGBA, orientation int) *image.RGBA {
	if orientation <= 1 || orientation > 8 {
		return img
	}
	w, h := img.Rect.Dx(), img.Rect.Dy()
	dw, dh := w, h
	if orientation >= 5 {
		dw, dh = h, w
	}
	dst := image.NewRGBA(image.Rect(0, 0, dw, dh))
	for y := range dh {
		for x := range dw {
			sx, sy := x, y
			switch orientation {
			case 2: // mirrored
				sx = w - 1 - x
			case 3: // upside down
				sx, sy = w-1-x, h-1-y
			case 4: // mirrored, upside down
				sy = h - 1 - y
			case 5: // transposed
				sx, sy = y, x
			case 6: // to be turned clockwise
				sx, sy = y, h-1-x
			case 7: // transposed along the other diagonal
				sx, sy = w-1-y, h-1-x
			case 8: // to be turned anticlockwise
				sx, sy = w-1-y, x
			}
			copy(dst.Pix[dst.PixOffset(x, y):][:4], img.Pix[img.PixOffset(sx, sy):][:4])
		}
	}
	return dst
}
