package picture

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// pngChunk is a chunk with its checksum.
func pngChunk(kind string, body []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	out = append(append(out, kind...), body...)
	return binary.BigEndian.AppendUint32(out, crc(out[4:]))
}

// withEXIF puts an EXIF block into every container that has a place for it.
func withEXIF(t *testing.T, img image.Image, exif []byte) map[string][]byte {
	t.Helper()
	jpg := encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, img, nil) })
	segment := append([]byte("Exif\x00\x00"), exif...)
	app1 := append(binary.BigEndian.AppendUint16([]byte{0xff, jpegAPP1}, uint16(len(segment)+2)), segment...)
	data := asPNG(t, img)
	const header, iend = 33, 12
	text := fmt.Appendf(nil, "Raw profile type exif\x00\nexif\n%8d\n%s\n", len(segment), hex.EncodeToString(segment))
	webp, err := os.ReadFile("testdata/lossless.webp")
	require.NoError(t, err)
	riff := func(exif []byte) []byte {
		chunks := slices.Concat([]byte("WEBP"), chunkOf("VP8X", []byte{8, 0, 0, 0, 23, 0, 0, 15, 0, 0}), webp[12:], chunkOf("EXIF", exif))
		return chunkOf("RIFF", chunks)
	}
	return map[string][]byte{
		"jpeg":                slices.Concat(jpg[:2], app1, jpg[2:]),
		"jpeg with fill":      slices.Concat(jpg[:2], []byte{0xff, 0xff}, app1, jpg[2:]),
		"png":                 slices.Concat(data[:header], pngChunk("eXIf", exif), data[header:]),
		"png behind pixels":   slices.Concat(data[:len(data)-iend], pngChunk("eXIf", exif), data[len(data)-iend:]),
		"png, jpeg's prefix":  slices.Concat(data[:header], pngChunk("eXIf", segment), data[header:]),
		"png, old text":       slices.Concat(data[:header], pngChunk("tEXt", text), data[header:]),
		"webp":                riff(exif),
		"webp, jpeg's prefix": riff(segment),
	}
}

// cutJPEG is a JPEG without the segments that drop chooses.
func cutJPEG(data []byte, drop func(marker byte, body []byte) bool) []byte {
	out := bytes.Clone(data[:2])
	for at := 2; ; {
		marker, next := nextMarker(data, at)
		end := next + int(binary.BigEndian.Uint16(data[next:]))
		if !drop(marker, data[next+2:end]) {
			out = append(out, data[at:end]...)
		}
		if at = end; marker == jpegSOS {
			return append(out, data[at:]...)
		}
	}
}

func TestJPEGParts(t *testing.T) {
	colour := encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, halves(image.NewRGBA(area)), nil) })
	gray := encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, halves(image.NewGray(area)), nil) })
	progressive, err := os.ReadFile("testdata/progressive.jpg")
	require.NoError(t, err)
	tables := func(marker byte, body []byte) bool { return marker == jpegDHT }
	first := func(marker byte, body []byte) bool { return marker == jpegDHT && body[0] == 0 }
	trailer := bytes.Repeat([]byte{0xff, jpegSOS, 0, 2}, 1<<20)
	whole, _, err := Decode(colour, limits)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"no tables":       cutJPEG(colour, tables),
		"one table less":  cutJPEG(colour, first),
		"trailing scans":  append(bytes.Clone(colour), trailer...),
		"trailing zeros":  append(bytes.Clone(colour), make([]byte, 1000)...),
		"no end":          colour[:len(colour)-2],
		"half an end":     colour[:len(colour)-1],
		"another picture": append(bytes.Clone(colour), gray...),
	} {
		img, info, err := Decode(data, Limits{MaxPixels: 24 * 16})
		require.NoError(t, err, name)
		require.Equal(t, whole, img, name)
		require.Equal(t, Info{Format: "jpeg", Width: 24, Height: 16, Orientation: 1}, info, name)
	}
	_, _, err = Decode(cutJPEG(gray, tables), limits)
	require.NoError(t, err)
	cut, _, err := Decode(progressive[:len(progressive)-2], limits)
	require.NoError(t, err, "every bit is there")
	near(t, "progressive", cut, 2, 2, left8, 4)
	cmyk, err := os.ReadFile("testdata/cmyk.jpg")
	require.NoError(t, err)
	plain := cutJPEG(cmyk, func(marker byte, body []byte) bool { return marker == jpegAPP14 })
	inks, _, err := Decode(plain, limits)
	require.NoError(t, err)
	// Taken for what they are, inks of (235, 55, 155, 225) are nearly black.
	near(t, "inks that are not inverted", inks, 2, 2, color.RGBA{2, 24, 12, 255}, 8)
	for name, data := range map[string][]byte{
		"pixels missing": colour[:len(colour)-12], "scans missing": progressive[:bytes.LastIndex(progressive, []byte{0xff, jpegSOS})],
		"header only": colour[:100], "no scan": append(colour[:160:160], 0xff, jpegEOI),
	} {
		_, _, err := Decode(data, limits)
		require.Error(t, err, name)
		if name != "no scan" {
			require.ErrorIs(t, err, ErrTruncated, name)
		}
	}
}

func TestJPEGRefuses(t *testing.T) {
	jpg := encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, halves(image.NewGray(area)), nil) })
	frame := bytes.Index(jpg, []byte{0xff, jpegSOF0})
	for name, test := range map[string]struct {
		process, precision byte
		text               string
	}{
		"hierarchical":       {0xc5, 8, "unsupported image: hierarchical JPEG; convert it to a baseline JPEG or to PNG"},
		"arithmetic":         {0xc9, 8, "unsupported image: arithmetic-coded JPEG; convert it to a baseline JPEG or to PNG"},
		"12-bit progressive": {0xc2, 12, "unsupported image: 12-bit progressive JPEG; convert it to a baseline JPEG or to PNG"},
		"10-bit":             {0xc1, 10, "unsupported image: 10-bit JPEG; convert it to a baseline JPEG or to PNG"},
		"20-bit lossless":    {0xc3, 20, "damaged image: JPEG of 20 bits"},
	} {
		data := bytes.Clone(jpg)
		data[frame+1], data[frame+4] = test.process, test.precision
		_, err := Inspect(data, limits)
		require.EqualError(t, err, test.text, name)
	}
	data := bytes.Clone(jpg)
	data[frame+5], data[frame+6] = 0, 0
	_, err := Inspect(data, limits)
	require.EqualError(t, err, "unsupported image: JPEG that states its height at its end; convert it to a baseline JPEG or to PNG")
	// Cut anywhere, a deep JPEG is truncated, not damaged.
	deep, err := os.ReadFile("testdata/formats/deep12_colour.jpg")
	require.NoError(t, err)
	for n := 3; n < len(deep)-2; n++ {
		_, _, err := Decode(deep[:n], limits)
		require.ErrorIs(t, err, ErrTruncated, "the first %d bytes", n)
	}
}

// TestPNGWithoutEnd cuts a PNG short: without its last chunk it is whole, without
// any of its pixels it is not.
func TestPNGWithoutEnd(t *testing.T) {
	data := asPNG(t, halves(image.NewRGBA(area)))
	whole, _, err := Decode(data, limits)
	require.NoError(t, err)
	for cut := 1; cut < len(data)-8; cut++ {
		img, _, err := Decode(data[:len(data)-cut], limits)
		if cut <= 12 {
			require.NoError(t, err, "%d bytes less", cut)
			require.Equal(t, whole, img)
			continue
		}
		require.ErrorIs(t, err, ErrTruncated, "%d bytes less", cut)
	}
}

func TestOtherFormatsAreNamed(t *testing.T) {
	for magic, want := range map[string]string{
		"8BPS": "Photoshop", "\x00\x00\x00\x0cjP  ": "JPEG 2000", "P5\n24 16\n255\n": "a portable greymap (PGM)",
		"SIMPLE  =": "FITS", "\x00\x00\x00\x18ftypavif": "HEIF or AVIF", "v/1\x01": "OpenEXR",
		string(make([]byte, 128)) + "DICM": "DICOM",
	} {
		_, err := Inspect(append([]byte(magic), make([]byte, 16)...), limits)
		require.EqualError(t, err, "unsupported image: "+want+"; convert it to PNG or JPEG")
	}
	_, err := Inspect([]byte("Before the war they made bitmaps"), limits)
	require.EqualError(t, err, "not an image")
}

func TestSmallImages(t *testing.T) {
	data := asPNG(t, halves(image.NewRGBA(area)))
	_, _, err := Decode(data, Limits{MinSide: 16})
	require.NoError(t, err)
	_, _, err = Decode(data, Limits{MinSide: 17})
	require.ErrorIs(t, err, ErrTooSmall)
	require.EqualError(t, err, "too small: 24x16, less than 17 on a side")
	_, _, err = Decode(asPNG(t, image.NewGray(image.Rect(0, 0, 16, 24))), Limits{MinSide: 17})
	require.EqualError(t, err, "too small: 16x24, less than 17 on a side")
}

// TestWebPFrames checks that a frame lies where it belongs, and that one beyond
// the canvas is refused before it is decoded, however large it says it is.
func TestWebPFrames(t *testing.T) {
	data, err := os.ReadFile("testdata/formats/animated.webp")
	require.NoError(t, err)
	frame := bytes.Index(data, []byte("ANMF")) + 8
	canvas := bytes.Index(data, []byte("VP8X")) + 8
	moved := bytes.Clone(data)
	moved[canvas+4], moved[canvas+7] = 39, 29 // 40x30
	moved[frame], moved[frame+3] = 4, 3       // at (8,6)
	img, info, err := Decode(moved, limits)
	require.NoError(t, err)
	require.Equal(t, [2]int{40, 30}, [2]int{info.Width, info.Height})
	require.Equal(t, left8, img.RGBAAt(8, 6))
	require.Equal(t, right8, img.RGBAAt(31, 21))
	for _, at := range []image.Point{{7, 6}, {8, 5}, {32, 21}, {31, 22}} {
		require.Equal(t, color.RGBA{255, 255, 255, 255}, img.RGBAAt(at.X, at.Y))
	}
	beyond, huge := bytes.Clone(data), bytes.Clone(data)
	beyond[frame] = 1
	huge[frame+7], huge[frame+10] = 0x3f, 0x3f
	for _, data := range [][]byte{beyond, huge} {
		_, _, err = Decode(data, limits)
		require.ErrorIs(t, err, ErrDamaged)
		require.ErrorContains(t, err, "on a canvas of (24,16)")
	}
}
