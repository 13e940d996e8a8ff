package picture

import (
	"fmt"
	"image"
)

// Values of TIFF's tag PhotometricInterpretation that are read.
const (
	whiteIsZero = 0
	blackIsZero = 1
	rgb         = 2
	palette     = 3
	cmyk        = 5
	ycbcr       = 6
)

// Values of TIFF's tag Compression that are read.
const (
	uncompressed   = 1
	ccittGroup3    = 3
	ccittGroup4    = 4
	lzwCompression = 5
	jpegInTIFF     = 7
	deflate        = 8
	oldDeflate     = 32946
	packBits       = 32773
	zstandard      = 50000
)

// refusedPhotometrics and refusedCompressions name what is not read.
var (
	refusedPhotometrics = map[uint64]string{
		4: "a transparency mask", 8: "CIE L*a*b* colours", 9: "ICC L*a*b* colours", 10: "ITU L*a*b* colours",
		32803: "a camera's raw colour filter", 32844: "LogL luminance", 32845: "LogLuv colours", 34892: "linear raw colours",
	}
	refusedCompressions = map[uint64]string{
		2: "CCITT run-length", 6: "old-style JPEG (compression 6)", 9: "JBIG", 10: "JBIG", 32809: "ThunderScan", 32766: "NeXT run-length",
		32908: "PIXAR film", 32909: "PIXAR log", 32947: "DCS", 34661: "JBIG", 34676: "SGI log", 34677: "SGI log",
		33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of DNG",
		34925: "LZMA", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
	}
)

// This reader is our own since the kept ones without cgo that were found in
// November 2026, golang.org/x/image/tiff and github.com/hhrutter/tiff, read neither
// BigTIFF nor planes, floats, signed or packed samples, nor Zstandard. The
// compressions are those of kept packages, PackBits aside.

// tiffImage is what a TIFF's directory says of its image. Pixels lie in chunks,
// which are tiles or strips: a strip is a tile as wide as the image.
type tiffImage struct {
	*directory
	width, height int
	bits          int    // of a sample
	samples       int    // of a pixel, those without a meaning included
	format        uint64 // of a sample: 1 unsigned, 2 signed, 3 float
	photometric   uint64
	compression   uint64
	predictor     uint64
	planes        int // 1 where a pixel's samples lie together, else one plane for each
	alpha         int // which sample is the opacity, 0 for none
	associated    bool
	tileWidth     int
	tileHeight    int
	strips        bool
	offsets       []uint64
	counts        []uint64
}

func refuseTIFF(format string, args ...any) error {
	return fmt.Errorf("%w: TIFF with %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// configTIFF reads the directory of the first page.
func configTIFF(data []byte, info *Info) error {
	page, pages, err := firstPage(data)
	if err != nil {
		return err
	}
	t, err := newTIFFImage(page)
	if t != nil {
		info.Width, info.Height = t.width, t.height
	}
	info.Orientation, info.MorePages = page.orientation(), max(pages, page.stack())-1
	return err
}

// newTIFFImage checks that the image is one that decode can read, and everything
// that decides how much memory that takes.
func newTIFFImage(d *directory) (*tiffImage, error) {
	t := &tiffImage{directory: d}
	width, height := d.number(tagWidth, 0), d.number(tagHeight, 0)
	if width == 0 || height == 0 || width > 1<<31-1 || height > 1<<31-1 {
		return nil, fmt.Errorf("%w: TIFF of %dx%d pixels", ErrDamaged, width, height)
	}
	t.width, t.height = int(width), int(height)
	for _, read := range []func() error{t.readSamples, t.readColours, t.readCompression, t.readChunks} {
		if err := read(); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (t *tiffImage) readSamples() error {
	bits := t.numbers(tagBitsPerSample)
	samples := t.number(tagSamplesPerPixel, max(1, uint64(len(bits))))
	if samples == 0 || samples > 64 {
		return refuseTIFF("%d samples per pixel", samples)
	}
	if len(bits) == 0 {
		bits = []uint64{1}
	}
	for _, b := range bits[:min(len(bits), int(samples))] {
		if b != bits[0] {
			return refuseTIFF("samples of different sizes, %v bits", bits)
		}
	}
	t.bits, t.samples, t.format = int(min(bits[0], 1<<16)), int(samples), t.number(tagSampleFormat, 1)
	if t.format == 4 { // "undefined"
		t.format = 1
	}
	switch t.format {
	case 1:
		if t.bits < 1 || t.bits > 32 || t.bits > 16 && t.bits != 24 && t.bits != 32 {
			return refuseTIFF("unsigned samples of %d bits", t.bits)
		}
	case 2:
		if t.bits != 8 && t.bits != 16 && t.bits != 32 {
			return refuseTIFF("signed samples of %d bits", t.bits)
		}
	case 3:
		if t.bits != 16 && t.bits != 32 && t.bits != 64 {
			return refuseTIFF("floating-point samples of %d bits", t.bits)
		}
	default:
		return refuseTIFF("complex samples")
	}
	t.planes = 1
	if t.number(tagPlanar, 1) == 2 {
		t.planes = t.samples
	}
	return nil
}

// readColours finds out what the samples mean. Extra ones without a meaning are
// left out, but a pixel of nothing else is refused: which of many channels is
// the picture can't be guessed.
func (t *tiffImage) readColours() error {
	guess := uint64(blackIsZero)
	if t.samples >= 3 {
		guess = rgb
	}
	t.photometric = t.number(tagPhotometric, guess)
	colours := 1
	switch t.photometric {
	case whiteIsZero, blackIsZero:
	case palette:
		if t.format != 1 || t.bits > 16 || len(t.numbers(tagColorMap)) < 3<<t.bits {
			return fmt.Errorf("%w: TIFF with an incomplete palette", ErrDamaged)
		}
	case rgb, ycbcr:
		colours = 3
	case cmyk:
		colours = 4
		if inks := t.number(tagInkSet, 1); inks != 1 {
			return refuseTIFF("other inks than CMYK")
		}
	default:
		if what, known := refusedPhotometrics[t.photometric]; known {
			return refuseTIFF("%s", what)
		}
		return refuseTIFF("photometric interpretation %d", t.photometric)
	}
	switch {
	case t.samples < colours:
		return fmt.Errorf("%w: TIFF with %d samples for %d colours", ErrDamaged, t.samples, colours)
	case colours == 1 && t.samples > 2:
		return refuseTIFF("%d channels of grey; store each as an image", t.samples)
	}
	t.readAlpha(colours)
	return nil
}

// readAlpha finds the opacity among the samples behind the colours.
func (t *tiffImage) readAlpha(colours int) {
	for i, meaning := range t.numbers(tagExtraSamples) {
		if at := colours + i; (meaning == 1 || meaning == 2) && t.alpha == 0 && at < t.samples {
			t.alpha, t.associated = at, meaning == 1
		}
	}
	if t.photometric == cmyk || t.photometric == palette {
		t.alpha = 0
	}
}

func (t *tiffImage) readCompression() error {
	t.compression, t.predictor = t.number(tagCompression, uncompressed), t.number(tagPredictor, 1)
	switch t.compression {
	case uncompressed, packBits, lzwCompression, deflate, oldDeflate, zstandard:
	case ccittGroup3, ccittGroup4:
		if t.bits != 1 || t.samples != 1 {
			return refuseTIFF("fax compression of %d bits", t.bits*t.samples)
		}
		if t.compression == ccittGroup3 && t.number(tagT4Options, 0)&1 != 0 {
			return refuseTIFF("two-dimensional CCITT Group 3 compression; convert it to Group 4")
		}
		if !t.tagged(tagPhotometric) {
			t.photometric = whiteIsZero
		}
	case jpegInTIFF:
		if t.format != 1 || t.bits != 8 && t.bits != 12 && t.bits != 16 || t.photometric == palette {
			return refuseTIFF("JPEG compression of %d bits; convert to 8 bits", t.bits)
		}
		if n := t.samples / t.planes; n != 1 && n != 3 && (n != 4 || t.photometric != cmyk) {
			return refuseTIFF("JPEG compression of %d samples", n)
		}
	default:
		if what, known := refusedCompressions[t.compression]; known {
			return refuseTIFF("%s compression; convert it to LZW or Deflate", what)
		}
		return refuseTIFF("compression %d; convert it to LZW or Deflate", t.compression)
	}
	if t.photometric == ycbcr && (t.compression != jpegInTIFF || t.planes > 1) {
		return refuseTIFF("YCbCr colours that are not compressed as JPEG; convert to RGB")
	}
	whole := t.bits == 8 || t.bits == 16 || t.bits == 32 || t.bits == 64
	switch {
	case t.compression != lzwCompression && t.compression != deflate && t.compression != oldDeflate && t.compression != zstandard:
		t.predictor = 1 // the tag means nothing to other compressions
		return nil
	case t.predictor == 1, t.predictor == 2 && whole, t.predictor == 3 && t.format == 3:
		return nil
	}
	return refuseTIFF("predictor %d for samples of %d bits", t.predictor, t.bits)
}

func (t *tiffImage) tagged(tag uint16) bool { return t.tags[tag].value != nil }

// readChunks finds the strips or tiles. A chunk is decoded row by row, so that
// what a file says of its chunks costs no more than a row of memory; JPEG chunks
// are decoded whole and checked before.
func (t *tiffImage) readChunks() error {
	width, height := uint64(t.width), t.number(tagRowsPerStrip, uint64(t.height))
	t.strips = !t.tagged(tagTileWidth)
	if t.strips {
		t.offsets, t.counts = t.numbers(tagStripOffsets), t.numbers(tagStripByteCounts)
		if height == 0 || height > uint64(t.height) {
			height = uint64(t.height)
		}
	} else {
		width, height = t.number(tagTileWidth, 0), t.number(tagTileHeight, 0)
		t.offsets, t.counts = t.numbers(tagTileOffsets), t.numbers(tagTileByteCounts)
		if !t.tagged(tagTileOffsets) {
			t.offsets, t.counts = t.numbers(tagStripOffsets), t.numbers(tagStripByteCounts)
		}
	}
	// Tiles may be larger than the image, but no more than their padding.
	const padding = 1 << 14
	if width == 0 || height == 0 || width > uint64(t.width)+padding || height > uint64(t.height)+padding {
		return fmt.Errorf("%w: TIFF of %dx%d pixels with tiles of %dx%d", ErrDamaged, t.width, t.height, width, height)
	}
	t.tileWidth, t.tileHeight = int(width), int(height)
	// Numbers of up to 31 bits each, but three of them: compared by division.
	across, down := ceilDiv(t.width, t.tileWidth), ceilDiv(t.height, t.tileHeight)
	if across > len(t.offsets)/t.planes/down {
		return ErrTruncated
	}
	if n := across * down * t.planes; n > maxChunks {
		return refuseTIFF("%d strips or tiles", n)
	}
	return t.checkCopies()
}

// maxChunks bounds the strips or tiles, each of which has its own decoder.
const maxChunks = 1 << 20

// checkCopies bounds the bytes that are copied before they are decoded: chunks may
// overlap, so that a small file could ask for as much as it has chunks.
func (t *tiffImage) checkCopies() error {
	if t.compression != jpegInTIFF && t.number(tagFillOrder, 1) != 2 {
		return nil
	}
	total, most := uint64(0), 4*uint64(len(t.data))
	tables := uint64(len(t.tags[tagJPEGTables].value))
	for i := range t.offsets {
		if total += uint64(len(t.chunk(i))) + tables; total > most {
			return fmt.Errorf("%w: TIFF whose strips or tiles overlap", ErrDamaged)
		}
	}
	return nil
}

// chunk is the bytes of a strip or tile, none where it lies beyond the file's end.
// Where no size is stated they reach to the end.
func (t *tiffImage) chunk(number int) []byte {
	from := t.offsets[number]
	if from == 0 || from >= uint64(len(t.data)) {
		return nil
	}
	raw := t.data[from:]
	if number < len(t.counts) && t.counts[number] > 0 {
		raw = raw[:min(uint64(len(raw)), t.counts[number])]
	}
	return raw
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// decodeTIFF decodes the first page of a TIFF or BigTIFF. Integers are scaled
// from their type's range, signed ones from 0 on, and floats from 0 to 1; samples
// of more than 8 bits give an image of 16.
func decodeTIFF(data []byte) (image.Image, error) {
	page, _, err := firstPage(data)
	if err != nil {
		return nil, err
	}
	t, err := newTIFFImage(page)
	if err != nil {
		return nil, err
	}
	c := t.newCanvas()
	across, down := ceilDiv(t.width, t.tileWidth), ceilDiv(t.height, t.tileHeight)
	d := t.newChunkDecoder(c)
	defer d.close()
	for plane := range t.planes {
		if !t.shown(plane) && t.planes > 1 {
			continue
		}
		for i := range across * down {
			if err := d.decode(plane, plane*across*down+i, i%across*t.tileWidth, i/across*t.tileHeight); err != nil {
				return nil, err
			}
		}
	}
	return c.image(), nil
}
