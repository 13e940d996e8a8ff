package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

var limits = Limits{MaxBytes: 1 << 20, MaxPixels: 1 << 16}

var (
	left8  = color.RGBA{200, 40, 90, 255}
	right8 = color.RGBA{30, 160, 220, 255}
)

// drawable is what the encoders of the standard library take.
type drawable interface {
	image.Image
	Set(x, y int, c color.Color)
}

// halves fills img, 24x16, with the colours of testdata/make.py.
func halves[T drawable](img T) T {
	for y := range 16 {
		for x := range 24 {
			if x < 12 {
				img.Set(x, y, left8)
			} else {
				img.Set(x, y, right8)
			}
		}
	}
	return img
}

var area = image.Rect(0, 0, 24, 16)

func encoded(t testing.TB, encode func(*bytes.Buffer) error) []byte {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, encode(&buf))
	return buf.Bytes()
}

func asPNG(t testing.TB, img image.Image) []byte {
	return encoded(t, func(b *bytes.Buffer) error { return png.Encode(b, img) })
}

// near compares a pixel, each channel within a few levels for lossy formats.
func near(t *testing.T, name string, img *image.RGBA, x, y int, want color.RGBA, delta float64) {
	t.Helper()
	got := img.RGBAAt(x, y)
	for _, c := range [][2]uint8{{want.R, got.R}, {want.G, got.G}, {want.B, got.B}, {255, got.A}} {
		require.InDelta(t, c[0], c[1], delta, "%s: pixel (%d,%d) is %v, want %v", name, x, y, got, want)
	}
}

func TestDecodeFormats(t *testing.T) {
	file := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		return raw
	}
	palette := color.Palette{left8, right8}
	grey := func(c color.RGBA) color.RGBA {
		v := color.GrayModel.Convert(c).(color.Gray).Y
		return color.RGBA{v, v, v, 255}
	}
	lg, rg := grey(left8), grey(right8)
	encodeTIFF := func(img image.Image, c tiff.CompressionType) []byte {
		return encoded(t, func(b *bytes.Buffer) error { return tiff.Encode(b, img, &tiff.Options{Compression: c}) })
	}
	rgba := halves(image.NewRGBA(area))
	for _, test := range []struct {
		name, format string
		data         []byte
		left, right  color.RGBA
		delta        float64
	}{
		{"png", "png", asPNG(t, rgba), left8, right8, 0},
		{"png 16 bits", "png", asPNG(t, halves(image.NewNRGBA64(area))), left8, right8, 0},
		{"png grey", "png", asPNG(t, halves(image.NewGray(area))), lg, rg, 0},
		{"png grey 16 bits", "png", asPNG(t, halves(image.NewGray16(area))), lg, rg, 1},
		{"png palette", "png", asPNG(t, halves(image.NewPaletted(area, palette))), left8, right8, 0},
		{"jpeg", "jpeg", encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, rgba, &jpeg.Options{Quality: 95}) }), left8, right8, 6},
		{"jpeg grey", "jpeg", encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, halves(image.NewGray(area)), nil) }), lg, rg, 4},
		{"jpeg progressive", "jpeg", file("progressive.jpg"), left8, right8, 4},
		// What Pillow shows for the same file.
		{"jpeg cmyk", "jpeg", file("cmyk.jpg"), color.RGBA{207, 49, 137, 255}, color.RGBA{35, 195, 245, 255}, 8},
		{"bmp", "bmp", encoded(t, func(b *bytes.Buffer) error { return bmp.Encode(b, rgba) }), left8, right8, 0},
		{"bmp palette", "bmp", encoded(t, func(b *bytes.Buffer) error { return bmp.Encode(b, halves(image.NewPaletted(area, palette))) }), left8, right8, 0},
		{"tiff", "tiff", encodeTIFF(rgba, tiff.Uncompressed), left8, right8, 0},
		{"tiff deflate", "tiff", encodeTIFF(rgba, tiff.Deflate), left8, right8, 0},
		{"tiff grey 16 bits", "tiff", encodeTIFF(halves(image.NewGray16(area)), tiff.Uncompressed), lg, rg, 1},
		{"gif", "gif", encoded(t, func(b *bytes.Buffer) error { return gif.Encode(b, halves(image.NewPaletted(area, palette)), nil) }), left8, right8, 0},
		{"webp lossy", "webp", file("lossy.webp"), left8, right8, 12},
		{"webp lossless", "webp", file("lossless.webp"), left8, right8, 0},
		// Half of (30,160,220) and half of white.
		{"webp alpha", "webp", file("alpha.webp"), left8, color.RGBA{142, 207, 237, 255}, 1},
	} {
		img, info, err := Decode(test.data, limits)
		require.NoError(t, err, test.name)
		info.Peak = 0 // TestDecodeScalesLevels
		require.Equal(t, Info{Format: test.format, Width: 24, Height: 16, Orientation: 1}, info, test.name)
		require.Equal(t, area, img.Rect, test.name)
		for _, y := range []int{0, 7, 15} {
			near(t, test.name, img, 2, y, test.left, test.delta)
			near(t, test.name, img, 21, y, test.right, test.delta)
		}
		inspected, err := Inspect(test.data, limits)
		require.NoError(t, err, test.name)
		require.Equal(t, info, inspected, test.name)
	}
}

func TestDecodeAlphaOverWhite(t *testing.T) {
	img := image.NewNRGBA(area)
	img.SetNRGBA(3, 4, color.NRGBA{100, 0, 200, 51}) // a fifth
	got, _, err := Decode(asPNG(t, img), limits)
	require.NoError(t, err)
	require.Equal(t, color.RGBA{255, 255, 255, 255}, got.RGBAAt(0, 0), "what is transparent is white")
	near(t, "alpha", got, 3, 4, color.RGBA{224, 204, 244, 255}, 1)
	require.True(t, got.Opaque())
}

// TestDecodeNothingSeen checks that colours below an opacity of zero everywhere
// are kept, and that one visible pixel makes the opacity count.
func TestDecodeNothingSeen(t *testing.T) {
	none := func(c color.RGBA) color.NRGBA { return color.NRGBA{c.R, c.G, c.B, 0} }
	straight, deep := image.NewNRGBA(area), image.NewNRGBA64(area)
	indexed := image.NewPaletted(area, color.Palette{none(left8), none(right8), color.NRGBA{1, 2, 3, 255}})
	for i := range 24 * 16 {
		c, index := none(left8), uint8(0)
		if i%24 >= 12 {
			c, index = none(right8), 1
		}
		straight.SetNRGBA(i%24, i/24, c)
		deep.SetNRGBA64(i%24, i/24, color.NRGBA64{uint16(c.R) * 257, uint16(c.G) * 257, uint16(c.B) * 257, 0})
		indexed.Pix[i] = index
	}
	for _, img := range []drawable{straight, deep, indexed} {
		got, info, err := Decode(asPNG(t, img), limits)
		require.NoError(t, err)
		require.True(t, info.Transparent, "%T", img)
		require.Equal(t, [2]color.RGBA{left8, right8}, [2]color.RGBA{got.RGBAAt(11, 3), got.RGBAAt(12, 3)}, "%T", img)
		img.Set(0, 0, color.NRGBA{1, 2, 3, 255})
		got, info, err = Decode(asPNG(t, img), limits)
		require.NoError(t, err)
		require.False(t, info.Transparent, "%T", img)
		require.Equal(t, [2]color.RGBA{{1, 2, 3, 255}, {255, 255, 255, 255}}, [2]color.RGBA{got.RGBAAt(0, 0), got.RGBAAt(12, 3)}, "%T", img)
	}
}

func TestDecodeGIFTakesTheFirstFrameAtItsPlace(t *testing.T) {
	palette := color.Palette{left8, right8}
	first := image.NewPaletted(image.Rect(5, 6, 15, 12), palette)
	second := image.NewPaletted(area, palette)
	for i := range second.Pix {
		second.Pix[i] = 1
	}
	data := encoded(t, func(b *bytes.Buffer) error {
		return gif.EncodeAll(b, &gif.GIF{Image: []*image.Paletted{first, second}, Delay: []int{1, 1},
			Config: image.Config{Width: 24, Height: 16}})
	})
	img, info, err := Decode(data, limits)
	require.NoError(t, err)
	require.Equal(t, [2]int{24, 16}, [2]int{info.Width, info.Height})
	require.Equal(t, left8, img.RGBAAt(5, 6))
	require.Equal(t, left8, img.RGBAAt(14, 11))
	require.Equal(t, color.RGBA{255, 255, 255, 255}, img.RGBAAt(15, 11))
	require.Equal(t, color.RGBA{255, 255, 255, 255}, img.RGBAAt(4, 6))
}

// withOrientation puts an EXIF segment behind a JPEG's first marker.
func withOrientation(jpg []byte, orientation uint16, order binary.AppendByteOrder) []byte {
	block := []byte("MM\x00*")
	if order == binary.LittleEndian {
		block = []byte("II*\x00")
	}
	block = order.AppendUint32(block, 8)
	block = order.AppendUint16(block, 2)
	for _, entry := range [][2]uint16{{0x0100, 7}, {0x0112, orientation}} {
		block = order.AppendUint16(block, entry[0])
		block = order.AppendUint16(block, 3)
		block = order.AppendUint32(block, 1)
		block = order.AppendUint16(block, entry[1])
		block = order.AppendUint16(block, 0)
	}
	block = order.AppendUint32(block, 0)
	segment := append([]byte("Exif\x00\x00"), block...)
	out := []byte{0xff, 0xd8, 0xff, 0xe1}
	out = binary.BigEndian.AppendUint16(out, uint16(len(segment)+2))
	return append(append(out, segment...), jpg[2:]...)
}

func TestDecodeOrientation(t *testing.T) {
	// Stored: three corners of a 24x16 picture differ.
	stored := image.NewGray(area)
	for y := range 16 {
		for x := range 24 {
			v := uint8(128)
			switch {
			case x < 8 && y < 8:
				v = 0
			case x >= 16 && y < 8:
				v = 255
			case x < 8 && y >= 8:
				v = 60
			}
			stored.SetGray(x, y, color.Gray{v})
		}
	}
	jpg := encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, stored, &jpeg.Options{Quality: 100}) })
	// What the corners show upright: top left, top right, bottom left, bottom right.
	for orientation, want := range map[uint16][4]uint8{
		1: {0, 255, 60, 128}, 2: {255, 0, 128, 60}, 3: {128, 60, 255, 0}, 4: {60, 128, 0, 255},
		5: {0, 60, 255, 128}, 6: {60, 0, 128, 255}, 7: {128, 255, 60, 0}, 8: {255, 128, 0, 60},
		9: {0, 255, 60, 128}, 0: {0, 255, 60, 128},
	} {
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			img, info, err := Decode(withOrientation(jpg, orientation, order), limits)
			require.NoError(t, err)
			require.Equal(t, [2]int{24, 16}, [2]int{info.Width, info.Height})
			w, h := 24, 16
			if orientation >= 5 && orientation <= 8 {
				w, h = 16, 24
			}
			require.Equal(t, image.Rect(0, 0, w, h), img.Rect)
			for i, at := range []image.Point{{1, 1}, {w - 2, 1}, {1, h - 2}, {w - 2, h - 2}} {
				require.InDelta(t, want[i], img.RGBAAt(at.X, at.Y).R, 4, "orientation %d (%s), corner %d", orientation, order, i)
			}
		}
	}
	raw, err := os.ReadFile("testdata/turned.jpg")
	require.NoError(t, err)
	img, info, err := Decode(raw, limits)
	require.NoError(t, err)
	require.Equal(t, 6, info.Orientation)
	near(t, "turned", img, 8, 2, left8, 4)
	near(t, "turned", img, 8, 21, right8, 4)
}

// tiffFile is an uncompressed TIFF of 24x16 pixels whose directory has the
// given orientation and plane layout.
func tiffFile(order binary.AppendByteOrder, samples, orientation, planar uint16) []byte {
	out := []byte("MM\x00*")
	if order == binary.LittleEndian {
		out = []byte("II*\x00")
	}
	entries := [][2]uint16{{0x100, 24}, {0x101, 16}, {0x102, 8}, {0x103, 1}, {0x106, 1}, {0x111, 200}, {0x112, orientation},
		{0x115, samples}, {0x116, 16}, {0x117, 24 * 16 * samples}, {0x11c, planar}}
	if samples == 3 {
		entries[4][1] = 2 // RGB
	}
	out = order.AppendUint32(out, 8)
	out = order.AppendUint16(out, uint16(len(entries)))
	for _, e := range entries {
		out = order.AppendUint16(out, e[0])
		out = order.AppendUint16(out, 3)
		if e[0] == 0x102 && samples == 3 { // three values, kept elsewhere
			out = order.AppendUint32(out, 3)
			out = order.AppendUint32(out, 190)
			continue
		}
		out = order.AppendUint32(out, 1)
		out = order.AppendUint16(out, e[1])
		out = order.AppendUint16(out, 0)
	}
	out = append(out, make([]byte, 190-len(out))...)
	for range 5 {
		out = order.AppendUint16(out, 8)
	}
	for i := range 24 * 16 * int(samples) {
		out = append(out, uint8(i))
	}
	return out
}

func TestDecodeTIFFTags(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		plain, info, err := Decode(tiffFile(order, 1, 1, 1), limits)
		require.NoError(t, err)
		require.Equal(t, Info{Format: "tiff", Width: 24, Height: 16, Orientation: 1}, info)
		turned, info, err := Decode(tiffFile(order, 1, 6, 1), limits)
		require.NoError(t, err)
		require.Equal(t, 6, info.Orientation)
		require.Equal(t, image.Rect(0, 0, 16, 24), turned.Rect)
		require.Equal(t, plain.RGBAAt(5, 15), turned.RGBAAt(0, 5))

		_, _, err = Decode(tiffFile(order, 3, 1, 1), limits)
		require.NoError(t, err)
		_, _, err = Decode(tiffFile(order, 3, 1, 2), limits)
		require.ErrorIs(t, err, ErrTruncated, "three planes, one of which is listed")
		_, _, err = Decode(tiffFile(order, 1, 1, 2), limits)
		require.NoError(t, err, "one plane is no matter")
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := asPNG(t, halves(image.NewRGBA(area)))
	jpg := encoded(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, halves(image.NewRGBA(area)), nil) })
	huge := bytes.Clone(good)
	binary.BigEndian.PutUint32(huge[16:], 20000)
	binary.BigEndian.PutUint32(huge[20:], 20000)
	// The header's checksum, so that only the size is wrong.
	binary.BigEndian.PutUint32(huge[29:], crc(huge[12:29]))
	// One scan is there; those behind the end of image are none.
	scans := slices.Concat(jpg[:len(jpg)-2], bytes.Repeat([]byte{0xff, 0xda, 0, 2}, maxScans), jpg[len(jpg)-2:])
	for _, test := range []struct {
		name  string
		data  []byte
		limit Limits
		want  error
		text  string
	}{
		{"empty", nil, limits, ErrEmpty, "empty file"},
		{"text", []byte("hello, world\n"), limits, ErrNotImage, "not an image"},
		{"one byte", []byte{0xff}, limits, ErrNotImage, "not an image"},
		{"desktop file", append([]byte{0, 0, 0, 1}, "Bud1"...), limits, ErrNotImage, "not an image"},
		{"heif", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), limits, ErrUnsupported, "unsupported image: HEIF or AVIF; convert it to PNG or JPEG"},
		{"bytes", good, Limits{MaxBytes: 10}, ErrTooManyBytes, fmt.Sprintf("too many bytes: %d exceeds 10", len(good))},
		{"pixels", huge, Limits{MaxPixels: 16 << 20}, ErrTooManyPixels, "too many pixels: 20000x20000 exceeds 16777216"},
		{"pixels exactly", good, Limits{MaxPixels: 24*16 - 1}, ErrTooManyPixels, "too many pixels: 24x16 exceeds 383"},
		{"truncated png", good[:len(good)-30], limits, ErrTruncated, "truncated image"},
		{"truncated header", good[:20], limits, ErrTruncated, "truncated image"},
		{"truncated jpeg", jpg[:len(jpg)-10], limits, ErrTruncated, "truncated image"},
		{"flipped png", append(bytes.Clone(good[:50]), append([]byte{good[50] ^ 1}, good[51:]...)...), limits, ErrDamaged, ""},
		{"many scans", scans, limits, ErrUnsupported, fmt.Sprintf("unsupported image: JPEG with %d scans", maxScans+1)},
	} {
		img, _, err := Decode(test.data, test.limit)
		require.ErrorIs(t, err, test.want, test.name)
		require.Nil(t, img, test.name)
		if test.text != "" {
			require.EqualError(t, err, test.text, test.name)
		}
	}
	_, _, err := Decode(good, Limits{MaxPixels: 24 * 16, MaxBytes: int64(len(good))})
	require.NoError(t, err, "the limits themselves are allowed")
}

func crc(data []byte) uint32 {
	c := ^uint32(0)
	for _, b := range data {
		c ^= uint32(b)
		for range 8 {
			c = c>>1 ^ 0xedb88320&-(c&1)
		}
	}
	return ^c
}
