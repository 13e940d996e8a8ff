package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Types of TIFF's numbers.
const (
	asByte   = 1
	asShort  = 3
	asLong   = 4
	asSShort = 8
	asSLong  = 9
	asLong8  = 16
)

// tag is one entry of a directory.
type tag struct {
	number, kind uint16
	values       []uint64
}

func short(number uint16, values ...uint64) tag { return tag{number, asShort, values} }

// page is a directory, with the chunks that its tag of offsets stands for.
type page struct {
	tags   []tag
	chunks [][]byte
}

// greyPage is an image of 24x16 in one strip, whose pixels are their own index.
func greyPage(more ...tag) page {
	pixels := make([]byte, 24*16)
	for i := range pixels {
		pixels[i] = uint8(i)
	}
	return page{append([]tag{short(tagWidth, 24), short(tagHeight, 16), short(tagBitsPerSample, 8), short(tagPhotometric, 1),
		short(tagStripOffsets), {tagStripByteCounts, asLong, []uint64{24 * 16}}}, more...), [][]byte{pixels}}
}

// with replaces tags, or adds them.
func (p page) with(tags ...tag) page {
	p.tags = slices.Clone(p.tags)
	for _, t := range tags {
		if i := slices.IndexFunc(p.tags, func(old tag) bool { return old.number == t.number }); i >= 0 {
			p.tags[i] = t
		} else {
			p.tags = append(p.tags, t)
		}
	}
	return p
}

// buildTIFF writes pages, their tags in the order given.
func buildTIFF(order binary.AppendByteOrder, big bool, pages ...page) []byte {
	wide, head := asLong, 8
	magic, offset := uint16(42), func(b []byte, v uint64) []byte { return order.AppendUint32(b, uint32(v)) }
	if big {
		wide, head, magic, offset = asLong8, 16, 43, order.AppendUint64
	}
	out := []byte("II")
	if order.String() == "BigEndian" {
		out = []byte("MM")
	}
	out = order.AppendUint16(out, magic)
	if big {
		out = order.AppendUint16(order.AppendUint16(out, 8), 0)
	}
	out = offset(out, 0)
	link := head - int(widths[wide]) // where the place of the next directory goes
	for _, p := range pages {
		var offsets []uint64
		for _, chunk := range p.chunks {
			offsets = append(offsets, uint64(len(out)))
			out = append(out, chunk...)
		}
		out = append(out, make([]byte, len(out)&1)...)
		fields := [][]byte{}
		for _, t := range p.tags {
			kind := t.kind
			if t.values == nil {
				t.values, kind = offsets, uint16(wide)
			}
			var value []byte
			for _, v := range t.values {
				switch widths[kind] {
				case 1:
					value = append(value, uint8(v))
				case 2:
					value = order.AppendUint16(value, uint16(v))
				case 4:
					value = order.AppendUint32(value, uint32(v))
				case 8:
					value = order.AppendUint64(value, v)
				}
			}
			if len(value) > int(widths[wide]) {
				at := uint64(len(out))
				out = append(out, value...)
				value = offset(nil, at)
			}
			field := order.AppendUint16(order.AppendUint16(nil, t.number), kind)
			field = offset(field, uint64(len(t.values)))
			fields = append(fields, append(field, append(value, make([]byte, int(widths[wide])-len(value))...)...))
		}
		copy(out[link:], offset(nil, uint64(len(out))))
		if big {
			out = order.AppendUint64(out, uint64(len(fields)))
		} else {
			out = order.AppendUint16(out, uint16(len(fields)))
		}
		out = append(out, bytes.Join(fields, nil)...)
		link = len(out)
		out = offset(out, 0)
	}
	return out
}

var orders = []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian}

// reds decodes data and returns the red of some pixels.
func reds(t *testing.T, data []byte, at ...image.Point) (levels []uint8, info Info) {
	t.Helper()
	img, info, err := Decode(data, limits)
	require.NoError(t, err)
	for _, p := range at {
		levels = append(levels, img.RGBAAt(p.X, p.Y).R)
	}
	return levels, info
}

func TestTIFFStructure(t *testing.T) {
	preview := greyPage(short(tagNewSubfileType, 1)).with(short(tagWidth, 2), short(tagHeight, 2))
	mask := greyPage(short(tagNewSubfileType, 4))
	old := greyPage(short(tagSubfileType, 2)).with(short(tagWidth, 2), short(tagHeight, 2))
	backwards := greyPage()
	slices.Reverse(backwards.tags)
	bare := greyPage()
	bare.tags = slices.DeleteFunc(bare.tags, func(t tag) bool { return t.number == tagStripByteCounts })
	for _, order := range orders {
		for _, big := range []bool{false, true} {
			for name, test := range map[string]struct {
				pages []page
				more  int
			}{
				"one page":          {[]page{greyPage()}, 0},
				"three pages":       {[]page{greyPage(), greyPage(), greyPage()}, 2},
				"preview first":     {[]page{preview, greyPage(), mask, greyPage()}, 1},
				"old preview first": {[]page{old, greyPage()}, 0},
				"unsorted tags":     {[]page{backwards}, 0},
				"no sizes":          {[]page{bare}, 0},
				"tags as bytes":     {[]page{greyPage().with(tag{tagWidth, asByte, []uint64{24}}, tag{tagPhotometric, asByte, []uint64{1}})}, 0},
				"tags as long":      {[]page{greyPage().with(tag{tagHeight, asLong, []uint64{16}}, tag{tagBitsPerSample, asLong, []uint64{8}})}, 0},
			} {
				data := buildTIFF(order, big, test.pages...)
				levels, info := reds(t, data, image.Pt(5, 0), image.Pt(1, 2))
				require.Equal(t, []uint8{5, 49}, levels, name)
				require.Equal(t, Info{Format: "tiff", Width: 24, Height: 16, Orientation: 1, MorePages: test.more}, info, name)
			}
		}
	}
	imagej := tag{tagDescription, 2, nil}
	for _, c := range []byte("ImageJ=1.54\nimages=7\nslices=7\n\x00") {
		imagej.values = append(imagej.values, uint64(c))
	}
	_, stack := reds(t, buildTIFF(binary.BigEndian, false, greyPage(imagej)))
	require.Equal(t, 6, stack.MorePages)
	loop := buildTIFF(binary.LittleEndian, false, greyPage())
	copy(loop[len(loop)-4:], loop[4:8]) // the next page is the same
	_, info := reds(t, loop)
	require.Zero(t, info.MorePages)
}

// TestTIFFSamples checks what single samples become, in both byte orders.
func TestTIFFSamples(t *testing.T) {
	deflated := func(data []byte) []byte {
		return encoded(t, func(b *bytes.Buffer) error {
			w := zlib.NewWriter(b)
			_, err := w.Write(data)
			return errors.Join(err, w.Close())
		})
	}
	sample := func(format, bits, photometric uint64, data []byte) page {
		return page{[]tag{short(tagWidth, 2), short(tagHeight, 1), short(tagBitsPerSample, bits), short(tagPhotometric, photometric),
			short(tagStripOffsets), short(tagStripByteCounts, uint64(len(data))), short(tagSampleFormat, format)}, [][]byte{data}}
	}
	for _, order := range orders {
		u16 := func(v ...uint16) (out []byte) {
			for _, v := range v {
				out = order.AppendUint16(out, v)
			}
			return out
		}
		u32 := func(v ...uint32) (out []byte) {
			for _, v := range v {
				out = order.AppendUint32(out, v)
			}
			return out
		}
		colours := make([]uint64, 3*16)
		for i := range 16 {
			colours[i] = uint64(255 - i)
		}
		for name, test := range map[string]struct {
			page
			want []uint8
		}{
			"white is zero":   {sample(1, 8, 0, []byte{0, 55}), []uint8{255, 200}},
			"4 bits":          {sample(1, 4, 1, []byte{0x3f}), []uint8{51, 255}},
			"4 bits inverted": {sample(1, 4, 0, []byte{0x3f}), []uint8{204, 0}},
			"12 bits":         {sample(1, 12, 1, []byte{0x12, 0x3f, 0xff}), []uint8{0x12, 255}},
			"16 bits":         {sample(1, 16, 1, u16(0x1234, 0xffff)), []uint8{0x12, 255}},
			"32 bits":         {sample(1, 32, 1, u32(0x12345678, 0xffffffff)), []uint8{0x12, 255}},
			"signed 8":        {sample(2, 8, 1, []byte{0, 127}), []uint8{0, 255}},
			"signed 16":       {sample(2, 16, 1, u16(0x1234, 0x7fff)), []uint8{0x24, 255}},
			"half":            {sample(3, 16, 1, u16(0x3800, 0x3c00)), []uint8{128, 255}},
			"float":           {sample(3, 32, 1, u32(0x3f000000, 0x3f800000)), []uint8{128, 255}},
			"float on zero":   {sample(3, 32, 1, u32(0x80000000, 0x3f800001)), []uint8{0, 255}},
			"bits reversed":   {sample(1, 8, 1, []byte{0x80, 0x0f}).with(short(tagFillOrder, 2)), []uint8{1, 0xf0}},
			"palette of bytes": {sample(1, 4, 3, []byte{0x3f}).with(short(tagColorMap, colours...)),
				[]uint8{252, 240}},
			"16 bits of differences": {sample(1, 16, 1, deflated(u16(0x1234, 0x1000))).with(short(tagPredictor, 2),
				short(tagCompression, deflate)),
				[]uint8{0x12, 0x22}},
			"32 bits of differences": {sample(1, 32, 1, deflated(u32(0x12345678, 0x10000000))).with(short(tagPredictor, 2),
				short(tagCompression, oldDeflate)),
				[]uint8{0x12, 0x22}},
			"predictor without meaning": {sample(1, 16, 1, u16(0x1234, 0x1000)).with(short(tagPredictor, 2)), []uint8{0x12, 0x10}},
			"run lengths":               {sample(1, 8, 1, []byte{0x80, 0xff, 7}).with(short(tagCompression, packBits)), []uint8{7, 7}},
		} {
			levels, _ := reds(t, buildTIFF(order, false, test.page), image.Pt(0, 0), image.Pt(1, 0))
			require.Equal(t, test.want, levels, "%s, %s", name, order)
		}
		for name, data := range map[string][]byte{"NaN": u32(0x7fc00000, 0), "beyond": u32(0x40000000, 0), "negative": u32(0xbf000000, 0)} {
			_, _, err := Decode(buildTIFF(order, false, sample(3, 32, 1, data)), limits)
			require.ErrorIs(t, err, ErrUnsupported, name)
		}
	}
}

func TestTIFFRefuses(t *testing.T) {
	chunk := encoded(t, func(b *bytes.Buffer) error {
		return jpeg.Encode(b, halves(image.NewGray(area)), nil)
	})
	jpegs := greyPage().with(short(tagCompression, jpegInTIFF), tag{tagStripByteCounts, asLong, []uint64{uint64(len(chunk))}})
	jpegs.chunks = [][]byte{chunk}
	overlapping := jpegs.with(short(tagRowsPerStrip, 1), tag{tagStripOffsets, asLong, slices.Repeat([]uint64{8}, 16)},
		tag{tagStripByteCounts, asLong, slices.Repeat([]uint64{uint64(len(chunk))}, 16)})
	_, _, err := Decode(buildTIFF(binary.LittleEndian, false, jpegs), limits)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		page
		want error
		text string
	}{
		"no pixels":      {greyPage().with(short(tagWidth, 0)), ErrDamaged, "damaged image: TIFF of 0x16 pixels"},
		"short strip":    {greyPage().with(tag{tagStripByteCounts, asLong, []uint64{300}}), ErrTruncated, "truncated image"},
		"strip beyond":   {greyPage().with(tag{tagStripOffsets, asLong, []uint64{1 << 30}}), ErrTruncated, "truncated image"},
		"too few strips": {greyPage().with(short(tagRowsPerStrip, 4)), ErrTruncated, "truncated image"},
		"huge tiles": {greyPage().with(short(tagTileWidth, 65000), short(tagTileHeight, 16)), ErrDamaged,
			"damaged image: TIFF of 24x16 pixels with tiles of 65000x16"},
		"overlap": {overlapping, ErrDamaged, "damaged image: TIFF whose strips or tiles overlap"},
		"other bits": {greyPage().with(short(tagBitsPerSample, 5, 6, 5), short(tagSamplesPerPixel, 3)), ErrUnsupported,
			"unsupported image: TIFF with samples of different sizes, [5 6 5] bits"},
		"17 bits": {greyPage().with(short(tagBitsPerSample, 17)), ErrUnsupported,
			"unsupported image: TIFF with unsigned samples of 17 bits"},
		"CIELab": {greyPage().with(short(tagPhotometric, 8)), ErrUnsupported,
			"unsupported image: TIFF with CIE L*a*b* colours"},
		"raw": {greyPage().with(short(tagPhotometric, 32803)), ErrUnsupported,
			"unsupported image: TIFF with a camera's raw colour filter"},
		"unknown colours": {greyPage().with(short(tagPhotometric, 99)), ErrUnsupported,
			"unsupported image: TIFF with photometric interpretation 99"},
		"unknown": {greyPage().with(short(tagCompression, 99)), ErrUnsupported,
			"unsupported image: TIFF with compression 99; convert it to LZW or Deflate"},
		"old JPEG": {greyPage().with(short(tagCompression, 6)), ErrUnsupported,
			"unsupported image: TIFF with old-style JPEG (compression 6) compression; convert it to LZW or Deflate"},
		"fax of 8 bits": {greyPage().with(short(tagCompression, 4)), ErrUnsupported,
			"unsupported image: TIFF with fax compression of 8 bits"},
		"fax in 2D": {greyPage().with(short(tagCompression, 3), short(tagBitsPerSample, 1), short(tagT4Options, 1)), ErrUnsupported,
			"unsupported image: TIFF with two-dimensional CCITT Group 3 compression; convert it to Group 4"},
		"12-bit floats": {greyPage().with(short(tagSampleFormat, 3), short(tagBitsPerSample, 24)), ErrUnsupported,
			"unsupported image: TIFF with floating-point samples of 24 bits"},
		"predictor": {greyPage().with(short(tagCompression, 8), short(tagPredictor, 3)), ErrUnsupported,
			"unsupported image: TIFF with predictor 3 for samples of 8 bits"},
		"no palette": {greyPage().with(short(tagPhotometric, 3)), ErrDamaged, "damaged image: TIFF with an incomplete palette"},
	} {
		for _, big := range []bool{false, true} {
			_, _, err := Decode(buildTIFF(binary.BigEndian, big, test.page), limits)
			require.ErrorIs(t, err, test.want, name)
			require.EqualError(t, err, test.text, name)
		}
	}
	whole := buildTIFF(binary.LittleEndian, false, greyPage())
	for n := range len(whole) - 4 { // where the next directory would lie is no matter
		_, _, err := Decode(whole[:n], limits)
		require.Error(t, err, "the first %d bytes", n)
	}
}

// TestTIFFMemory checks that what a file announces is not allocated before it is
// within the limits, or where it costs more than the picture itself.
func TestTIFFMemory(t *testing.T) {
	wide := greyPage().with(tag{tagWidth, asLong, []uint64{1 << 30}}, tag{tagHeight, asLong, []uint64{1 << 30}})
	tall := greyPage().with(short(tagTileWidth, 24), short(tagTileHeight, 16000),
		tag{tagTileOffsets, asLong, nil}, short(tagTileByteCounts, 24*16))
	for name, p := range map[string]page{"pixels": wide, "tiles": tall} {
		data := buildTIFF(binary.LittleEndian, false, p)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := Decode(data, limits)
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), name)
		if name == "pixels" {
			require.ErrorIs(t, err, ErrTooManyPixels)
		} else {
			require.NoError(t, err)
		}
	}
}

// TestEXIFOrientation turns the same picture in every container, with the tag in
// every integer type.
func TestEXIFOrientation(t *testing.T) {
	gray := image.NewGray(area)
	gray.SetGray(0, 15, color.Gray{255})
	for _, order := range orders {
		for _, kind := range []uint16{asByte, asShort, asLong, asSShort, asSLong} {
			six := tag{tagOrientation, kind, []uint64{6}}
			exif := buildTIFF(order, false, page{tags: []tag{{271, 2, []uint64{65}}, six}})
			for name, data := range withEXIF(t, gray, exif) {
				info, err := Inspect(data, limits)
				require.NoError(t, err, name)
				require.Equal(t, 6, info.Orientation, "%s, type %d", name, kind)
			}
			for _, big := range []bool{false, true} {
				levels, info := reds(t, buildTIFF(order, big, greyPage(six)), image.Pt(15, 0), image.Pt(0, 0))
				require.Equal(t, 6, info.Orientation)
				require.Equal(t, []uint8{0, 104}, levels, "type %d", kind) // 15 rows of 24, less 256
			}
		}
	}
}
