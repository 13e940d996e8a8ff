package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"image"
	"image/gif"
	"image/png"
	"io"

	"golang.org/x/image/webp"
)

// eachPNGChunk calls use for the chunks of a PNG, from behind its signature, until
// use returns false, and tells whether IEND was among them and where the last
// whole chunk ends.
func eachPNGChunk(data []byte, use func(kind string, body []byte)) (ended bool, end int) {
	end = 8
	for end+12 <= len(data) && !ended {
		length := int64(binary.BigEndian.Uint32(data[end:]))
		if length > int64(len(data)-end-12) {
			break
		}
		kind := string(data[end+4 : end+8])
		use(kind, data[end+8:end+8+int(length)])
		end += 12 + int(length)
		ended = kind == "IEND"
	}
	return ended, end
}

func configPNG(data []byte, info *Info) error {
	if len(data) >= 16 && string(data[12:16]) == "CgBI" {
		return fmt.Errorf("%w: a PNG of Apple's for its devices; convert it to a plain PNG", ErrUnsupported)
	}
	r := &reader{Reader: bytes.NewReader(data)}
	config, err := png.DecodeConfig(r)
	if err != nil {
		return r.explain(err)
	}
	info.Width, info.Height = config.Width, config.Height
	eachPNGChunk(data, func(kind string, body []byte) {
		switch {
		case kind == "eXIf":
			info.Orientation = exifOrientation(body)
		case kind == "tEXt", kind == "zTXt":
			if exif := rawProfile(kind, body); exif != nil {
				info.Orientation = exifOrientation(exif)
			}
		case kind == "acTL" && len(body) >= 4:
			info.MorePages = max(0, int(binary.BigEndian.Uint32(body))-1)
		}
	})
	return nil
}

// rawProfile reads an EXIF block from a text chunk, where it was kept before PNG
// had a chunk for it: behind the name, "exif" and the length are the bytes in
// hexadecimal, on lines. nil for any other text.
func rawProfile(kind string, body []byte) []byte {
	name, text, _ := bytes.Cut(body, []byte{0})
	if string(name) != "Raw profile type exif" && string(name) != "Raw profile type APP1" || len(text) == 0 {
		return nil
	}
	if kind == "zTXt" {
		r, err := zlib.NewReader(bytes.NewReader(text[1:]))
		if err != nil {
			return nil
		}
		const most = 1 << 18 // a segment of a JPEG, twice as long in hexadecimal
		if text, err = io.ReadAll(io.LimitReader(r, most)); err != nil {
			return nil
		}
	}
	fields := bytes.Fields(text)
	if len(fields) < 3 {
		return nil
	}
	digits := bytes.Join(fields[2:], nil)
	exif := make([]byte, len(digits)/2)
	n, _ := hex.Decode(exif, digits[:len(exif)*2])
	return exif[:n]
}

// decodePNGFile decodes a PNG, of an animated one the picture that is shown where
// animations are not. A missing IEND is overlooked, and so is a chunk that is cut
// off: the decoder finds out whether rows are missing.
func decodePNGFile(data []byte) (image.Image, error) {
	ended, end := eachPNGChunk(data, func(string, []byte) {})
	if !ended {
		iend := []byte("\x00\x00\x00\x00IEND")
		iend = binary.BigEndian.AppendUint32(iend, crc32.ChecksumIEEE(iend[4:]))
		data = append(data[:end:end], iend...)
	}
	r := &reader{Reader: bytes.NewReader(data)}
	img, err := png.Decode(r)
	if err != nil && !ended {
		return nil, ErrTruncated
	}
	if err != nil {
		return nil, r.explain(err)
	}
	return img, nil
}

func configGIF(data []byte, info *Info) error {
	r := &reader{Reader: bytes.NewReader(data)}
	config, err := gif.DecodeConfig(r)
	if err != nil {
		return r.explain(err)
	}
	info.Width, info.Height = config.Width, config.Height
	info.MorePages = max(0, gifFrames(data)-1)
	return nil
}

// gifFrames counts a GIF's frames, as far as its blocks are well formed.
func gifFrames(data []byte) (frames int) {
	table := func(flags byte) int {
		if flags&0x80 == 0 {
			return 0
		}
		return 3 << (flags&7 + 1)
	}
	at := 13 + table(data[10])
	for at < len(data) {
		switch data[at] {
		case 0x21: // an extension
			at += 2
		case 0x2c: // a frame
			if at+10 > len(data) {
				return frames
			}
			frames++
			at += 11 + table(data[at+9])
		default:
			return frames
		}
		for at < len(data) && data[at] != 0 { // blocks of up to 255 bytes
			at += 1 + int(data[at])
		}
		at++
	}
	return frames
}

// webpFile is what the chunks of a WebP say.
type webpFile struct {
	width, height int // of the canvas; 0 where only the frame tells
	frames        int // of an animation
	exif          []byte
	first         []byte          // the first frame, as a WebP of its own; nil if not animated
	area          image.Rectangle // where it lies on the canvas
}

func chunkOf(kind string, body []byte) []byte {
	chunk := binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(body)))
	chunk = append(chunk, body...)
	return append(chunk, make([]byte, len(body)&1)...)
}

func eachWebPChunk(data []byte, use func(kind string, body []byte)) {
	for len(data) >= 8 {
		length := int64(binary.LittleEndian.Uint32(data[4:]))
		if length > int64(len(data)-8) {
			return
		}
		use(string(data[:4]), data[8:8+length])
		data = data[min(int64(len(data)), 8+length+length&1):]
	}
}

func scanWebP(data []byte) (f webpFile) {
	int24 := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
	eachWebPChunk(data[12:], func(kind string, body []byte) {
		switch {
		case kind == "VP8X" && len(body) >= 10:
			f.width, f.height = int24(body[4:])+1, int24(body[7:])+1
		case kind == "EXIF" && f.exif == nil:
			f.exif = body
		case kind == "ANMF" && len(body) >= 16:
			f.frames++
			if f.frames == 1 {
				at := image.Pt(2*int24(body), 2*int24(body[3:]))
				f.area = image.Rectangle{at, at.Add(image.Pt(int24(body[6:])+1, int24(body[9:])+1))}
				f.first = webpOfFrame(body[6:12], body[16:])
			}
		}
	})
	return f
}

// webpOfFrame wraps the chunks of an animation's frame into a file of its own,
// since the decoder reads still pictures only. size is the frame's width and
// height, each less one, in three bytes.
func webpOfFrame(size, chunks []byte) []byte {
	var body []byte
	alpha := byte(0)
	eachWebPChunk(chunks, func(kind string, data []byte) {
		if kind == "ALPH" {
			alpha = 1 << 4
		}
		if kind == "ALPH" || kind == "VP8 " || kind == "VP8L" {
			body = append(body, chunkOf(kind, data)...)
		}
	})
	header := chunkOf("VP8X", append([]byte{alpha, 0, 0, 0}, size...))
	return chunkOf("RIFF", append(append([]byte("WEBP"), header...), body...))
}

func configWebP(data []byte, info *Info) error {
	r := &reader{Reader: bytes.NewReader(data)}
	config, err := webp.DecodeConfig(r)
	if err != nil {
		return r.explain(err)
	}
	f := scanWebP(data)
	info.Width, info.Height = config.Width, config.Height
	if f.exif != nil {
		info.Orientation = exifOrientation(f.exif)
	}
	info.MorePages = max(0, f.frames-1)
	return nil
}

// decodeWebP decodes a WebP, or the first frame of an animated one; at is the
// point of the picture that falls on the canvas's corner.
func decodeWebP(data []byte) (img image.Image, at image.Point, err error) {
	f := scanWebP(data)
	if f.first != nil {
		// The decoder holds the frame to its size, so that it is checked before.
		if room := image.Rect(0, 0, f.width, f.height); !f.area.In(room) {
			return nil, at, fmt.Errorf("%w: a frame of %v on a canvas of %v", ErrDamaged, f.area, room.Size())
		}
		data, at = f.first, image.Point{}.Sub(f.area.Min)
	}
	r := &reader{Reader: bytes.NewReader(data)}
	if img, err = webp.Decode(r); err != nil {
		return nil, at, r.explain(err)
	}
	return img, at, nil
}

// shownInParts has the formats whose pictures may be smaller than what is shown.
var shownInParts = map[string]bool{"gif": true, "webp": true}

func decodeGIF(data []byte) (image.Image, image.Point, error) {
	r := &reader{Reader: bytes.NewReader(data)}
	img, err := gif.Decode(r)
	if err != nil {
		return nil, image.Point{}, r.explain(err)
	}
	return img, image.Point{}, nil
}

func configJPEG(data []byte, info *Info) error {
	f, err := scanJPEG(data)
	info.Width, info.Height = f.width, f.height
	if err == nil && f.exif != nil {
		info.Orientation = exifOrientation(f.exif)
	}
	return err
}
