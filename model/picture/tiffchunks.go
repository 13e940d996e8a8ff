package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// maxWindow bounds what a Zstandard stream may make its decoder remember; libtiff
// writes windows of up to 8 MiB.
const maxWindow = 32 << 20

// newCanvas allocates the picture that t's samples go into.
func (t *tiffImage) newCanvas() *canvas {
	layout := opaque
	switch {
	case t.photometric == cmyk:
		layout = inks
	case t.alpha > 0 && t.associated:
		layout = premultiplied
	case t.alpha > 0:
		layout = straight
	case t.photometric == whiteIsZero, t.photometric == blackIsZero:
		layout = grey
	}
	return newCanvas(t.width, t.height, layout, t.bits > 8 && t.photometric != palette)
}

// shown tells whether a sample is part of the picture.
func (t *tiffImage) shown(sample int) bool { return len(t.channels(sample)) > 0 }

// channels are those of the canvas that a sample goes into.
func (t *tiffImage) channels(sample int) []int {
	isGrey := t.photometric == whiteIsZero || t.photometric == blackIsZero
	switch {
	case t.alpha > 0 && sample == t.alpha:
		return []int{3}
	case isGrey && sample == 0 && t.alpha > 0:
		return []int{0, 1, 2}
	case isGrey && sample == 0, t.photometric == palette && sample == 0, t.photometric == cmyk && sample < 4,
		(t.photometric == rgb || t.photometric == ycbcr) && sample < 3:
		return []int{sample}
	}
	return nil
}

// chunkDecoder decodes strips and tiles onto a canvas, one after the other, and
// keeps what it needs for that between them.
type chunkDecoder struct {
	*tiffImage
	to      *canvas
	row     []byte
	levels  []uint16
	colours []uint64 // the palette
	inflate io.ReadCloser
	zstd    *zstd.Decoder
}

func (t *tiffImage) newChunkDecoder(to *canvas) *chunkDecoder {
	n := t.samples / t.planes
	d := &chunkDecoder{tiffImage: t, to: to}
	if t.compression != jpegInTIFF {
		d.row = make([]byte, (t.tileWidth*n*t.bits+7)/8)
		d.levels = make([]uint16, t.tileWidth*n)
	}
	if t.photometric == palette {
		d.colours = t.numbers(tagColorMap)
		if allBelow(d.colours, 256) { // written by those who took them for bytes
			for i := range d.colours {
				d.colours[i] *= 257
			}
		}
	}
	return d
}

func allBelow(numbers []uint64, bound uint64) bool {
	for _, n := range numbers {
		if n >= bound {
			return false
		}
	}
	return true
}

func (d *chunkDecoder) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}

// decode decodes the chunk with the given number onto the canvas at (x,y).
func (d *chunkDecoder) decode(plane, number, x, y int) error {
	raw := d.chunk(number)
	if raw == nil {
		return ErrTruncated
	}
	columns, rows := min(d.tileWidth, d.width-x), min(d.tileHeight, d.height-y)
	if d.compression == jpegInTIFF {
		return d.decodeJPEG(raw, plane, image.Rect(x, y, x+columns, y+rows))
	}
	r, err := d.open(raw, rows)
	if err != nil {
		return chunkError(err)
	}
	for i := range rows {
		if _, err := io.ReadFull(r, d.row); err != nil {
			return chunkError(err)
		}
		d.undoPredictor()
		if err := d.unpack(columns * (d.samples / d.planes)); err != nil {
			return err
		}
		d.put(plane, x, y+i, columns)
	}
	return nil
}

func chunkError(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrTruncated
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return refuseTIFF("a Zstandard window of more than %d bytes", maxWindow)
	case errors.Is(err, ErrUnsupported):
		return err
	}
	return fmt.Errorf("%w: %v", ErrDamaged, err)
}

// open returns the chunk's bytes, uncompressed as they are read. No more is
// asked for than the rows need, so that whatever ends the stream, or fails to,
// does not matter.
func (d *chunkDecoder) open(raw []byte, rows int) (r io.Reader, err error) {
	if d.number(tagFillOrder, 1) == 2 {
		raw = bytes.Clone(raw)
		for i, b := range raw {
			raw[i] = bits.Reverse8(b)
		}
	}
	in := bytes.NewReader(raw)
	switch d.compression {
	case packBits:
		return &packBitsReader{in: in}, nil
	case lzwCompression:
		if len(raw) >= 2 && raw[0] == 0 && raw[1]&1 != 0 {
			return nil, refuseTIFF("LZW compression of before TIFF 5; write the file anew")
		}
		return lzw.NewReader(in, lzw.MSB, 8), nil
	case deflate, oldDeflate:
		if d.inflate == nil {
			d.inflate, err = zlib.NewReader(in)
			return d.inflate, err
		}
		return d.inflate, d.inflate.(zlib.Resetter).Reset(in, nil)
	case zstandard:
		if d.zstd == nil {
			d.zstd, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(maxWindow))
			return d.zstd, err
		}
		return d.zstd, d.zstd.Reset(in)
	case ccittGroup3, ccittGroup4:
		return d.fax(in, rows), nil
	}
	return in, nil
}

// fax undoes Group 3 or Group 4.
func (d *chunkDecoder) fax(in io.Reader, rows int) io.Reader {
	format := ccitt.Group4
	if d.compression == ccittGroup3 {
		format = ccitt.Group3
	}
	if !d.strips {
		rows = d.tileHeight
	}
	// The inverse of what the package calls its plain way is what TIFF means by the
	// compression: 1 is black, until the photometric interpretation is applied.
	options := ccitt.Options{Invert: true, Align: format == ccitt.Group3 && d.number(tagT4Options, 0)&4 != 0}
	return ccitt.NewReader(in, ccitt.MSB, format, d.tileWidth, rows, &options)
}

// packBitsReader undoes TIFF's run lengths of bytes.
type packBitsReader struct {
	in      *bytes.Reader
	left    int  // bytes still to give
	literal bool // whether they are to be read, or are all again
	again   byte
}

func (p *packBitsReader) Read(out []byte) (n int, err error) {
	for n < len(out) {
		if p.left == 0 {
			if err := p.next(); err != nil {
				return n, err
			}
			continue
		}
		b := p.again
		if p.literal {
			if b, err = p.in.ReadByte(); err != nil {
				return n, err
			}
		}
		out[n] = b
		n++
		p.left--
	}
	return n, nil
}

func (p *packBitsReader) next() error {
	code, err := p.in.ReadByte()
	switch n := int8(code); {
	case err != nil:
		return err
	case n >= 0:
		p.left, p.literal = int(n)+1, true
	case n > -128: // -128 means nothing
		p.left, p.literal = 1-int(n), false
		p.again, err = p.in.ReadByte()
	}
	return err
}

// decodeJPEG decodes a chunk that is a JPEG, with tables that all chunks share,
// onto the given part of the canvas.
func (d *chunkDecoder) decodeJPEG(raw []byte, plane int, area image.Rectangle) error {
	n := d.samples / d.planes
	data, err := d.wholeJPEG(raw, n)
	if err != nil {
		return err
	}
	f, err := scanJPEG(data)
	if err != nil {
		return err
	}
	if f.components != n || f.width < area.Dx() || f.height < area.Dy() || f.width > d.tileWidth+15 || f.height > d.tileHeight+15 {
		return fmt.Errorf("%w: JPEG of %dx%d pixels and %d components in a chunk of %dx%d", ErrDamaged,
			f.width, f.height, f.components, d.tileWidth, d.tileHeight)
	}
	img, err := decodeJPEG(data)
	if err != nil {
		return err
	}
	return d.takeJPEG(img, plane, area)
}

// takeJPEG puts a decoded chunk onto the given part of the canvas.
func (d *chunkDecoder) takeJPEG(img image.Image, plane int, area image.Rectangle) error {
	switch img := img.(type) {
	case *image.Gray, *image.Gray16:
		for y := range area.Dy() {
			for x := range area.Dx() {
				level := color.Gray16Model.Convert(img.At(x, y)).(color.Gray16).Y
				d.putSample(plane, area.Min.X+x, area.Min.Y+y, level)
			}
		}
	case *image.CMYK:
		for y := range area.Dy() {
			row := img.Pix[img.PixOffset(0, y):]
			for i := range 4 * area.Dx() {
				// The decoder takes inks for inverted, as Adobe's files have them.
				d.to.put(area.Min.X+i/4, area.Min.Y+y, i%4, uint16(255-row[i])*257)
			}
		}
	default:
		target, ok := d.to.image().(draw.Image)
		if !ok {
			return fmt.Errorf("%w: JPEG of colours in a TIFF of others", ErrDamaged)
		}
		draw.Draw(target, area, img, image.Point{}, draw.Src)
	}
	return nil
}

// wholeJPEG puts the shared tables before a chunk's own segments, and says that
// colours are what the TIFF says they are: decoders would take three components
// for YCbCr.
func (d *chunkDecoder) wholeJPEG(raw []byte, components int) ([]byte, error) {
	if len(raw) < 4 || raw[0] != 0xff || raw[1] != jpegSOI {
		return nil, fmt.Errorf("%w: a chunk is no JPEG", ErrDamaged)
	}
	out := []byte{0xff, jpegSOI}
	if components == 4 || components == 3 && d.photometric == rgb {
		out = append(out, adobeSegment...)
	}
	if tables := d.tags[tagJPEGTables].value; len(tables) > 4 && binary.BigEndian.Uint16(tables) == 0xff00|jpegSOI {
		if i := len(tables) - 2; tables[i] == 0xff && tables[i+1] == jpegEOI {
			tables = tables[:i]
		}
		out = append(out, tables[2:]...)
	}
	return append(out, raw[2:]...), nil
}
