package picture

import (
	"encoding/binary"
	"fmt"
	"image"
	"math/bits"
)

// Values of a bitmap's field Compression that are read.
const (
	bmpPlain      = 0
	bmpRLE8       = 1
	bmpRLE4       = 2
	bmpFields     = 3 // masks say where the colours are
	bmpFieldsPlus = 6 // and where the opacity is
)

// bmpHeaders are the sizes of the headers that there are, from OS/2's first to
// Windows' fifth. OS/2's second may be cut off behind any field.
func bmpHeader(size uint32) bool {
	return size == 12 || size >= 16 && size <= 64 && size%2 == 0 || size == 108 || size == 124
}

func isBMP(data []byte) bool {
	return len(data) >= 18 && data[0] == 'B' && data[1] == 'M' && bmpHeader(binary.LittleEndian.Uint32(data[14:]))
}

// This reader is our own since golang.org/x/image/bmp reads neither run lengths
// nor OS/2's bitmaps nor 16 bits, and those that do have had no release for years.

// bmpFile is what the headers of a BMP say.
type bmpFile struct {
	width, height int
	topDown       bool // rows are stored from the top, not from the bottom
	bits          int  // of a pixel
	compression   uint32
	masks         [4]uint32  // of red, green, blue and opacity
	palette       [][3]uint8 // red, green, blue
	pixels        []byte
}

func refuseBMP(format string, args ...any) error {
	return fmt.Errorf("%w: BMP with %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

func configBMP(data []byte, info *Info) error {
	f, err := scanBMP(data)
	if err != nil {
		return err
	}
	info.Width, info.Height = f.width, f.height
	return nil
}

func scanBMP(data []byte) (*bmpFile, error) {
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	size := u32(data[14:])
	if uint64(len(data)) < 14+uint64(size) {
		return nil, ErrTruncated
	}
	header := make([]byte, 124) // fields that are cut off are zero
	copy(header, data[14:14+size])
	f := &bmpFile{}
	if size == 12 {
		f.width, f.height, f.bits = int(u16(header[4:])), int(u16(header[6:])), int(u16(header[10:]))
	} else {
		f.width, f.height = int(int32(u32(header[4:]))), int(int32(u32(header[8:])))
		f.bits, f.compression = int(u16(header[14:])), u32(header[16:])
	}
	if f.height < 0 {
		f.topDown, f.height = true, -f.height
	}
	if f.width <= 0 || f.height <= 0 || f.height > 1<<31-1 {
		return nil, fmt.Errorf("%w: BMP of %dx%d pixels", ErrDamaged, f.width, f.height)
	}
	if err := f.check(size); err != nil {
		return nil, err
	}
	at := 14 + int(size)
	f.readMasks(header, data[at:], size)
	if size == 40 && f.compression == bmpFields {
		at += 12
	} else if size == 40 && f.compression == bmpFieldsPlus {
		at += 16
	}
	from := int(u32(data[10:]))
	if f.bits <= 8 {
		at = f.readPalette(data, at, from, size, int(min(u32(header[32:]), 256)))
	}
	if from < at {
		from = at // not stated, or not where it can be
	}
	f.pixels = data[min(from, len(data)):]
	return f, nil
}

// check says why the pixels can't be read, as far as the header tells.
func (f *bmpFile) check(size uint32) error {
	windows := size == 40 || size == 52 || size == 56 || size > 64
	switch f.compression {
	case bmpPlain:
	case bmpRLE8, bmpRLE4:
		if f.bits != 8/int(f.compression) {
			return fmt.Errorf("%w: BMP with run lengths of %d bits", ErrDamaged, f.bits)
		}
	case bmpFields, bmpFieldsPlus:
		if !windows {
			return refuseBMP("OS/2's Huffman compression")
		}
		if f.bits != 16 && f.bits != 32 {
			return fmt.Errorf("%w: BMP with masks for %d bits", ErrDamaged, f.bits)
		}
	case 4, 5:
		if !windows {
			return refuseBMP("OS/2's run lengths of 24 bits")
		}
		return refuseBMP("a JPEG or PNG inside; take that out")
	case 11, 12, 13:
		return refuseBMP("CMYK colours")
	default:
		return refuseBMP("compression %d", f.compression)
	}
	switch f.bits {
	case 1, 2, 4, 8, 16, 24, 32:
		return nil
	}
	return refuseBMP("%d bits per pixel", f.bits)
}

func (f *bmpFile) readMasks(header, behind []byte, size uint32) {
	switch {
	case f.compression != bmpFields && f.compression != bmpFieldsPlus && f.bits == 16:
		f.masks = [4]uint32{0x7c00, 0x3e0, 0x1f}
	case f.compression != bmpFields && f.compression != bmpFieldsPlus:
		f.masks = [4]uint32{0xff0000, 0xff00, 0xff}
		if size >= 56 && f.bits == 32 {
			f.masks[3] = binary.LittleEndian.Uint32(header[52:])
		}
	default:
		masks, n := header[40:], 4
		if size == 40 {
			masks = append(make([]byte, 0, 16), behind[:min(16, len(behind))]...)
			masks = masks[:16]
			if f.compression == bmpFields {
				n = 3
			}
		} else if size < 56 {
			n = 3
		}
		for i := range n {
			f.masks[i] = binary.LittleEndian.Uint32(masks[4*i:])
		}
	}
}

// readPalette reads the colours between the header, which ends at at, and the
// pixels, and returns where they end.
func (f *bmpFile) readPalette(data []byte, at, from int, size uint32, used int) int {
	step, n := 4, used
	if size == 12 {
		step = 3
	}
	if n == 0 || n > 1<<f.bits {
		n = 1 << f.bits
	}
	end := len(data)
	if from > at {
		end = min(end, from)
	}
	n = min(n, max(0, end-at)/step)
	for i := range n {
		c := data[at+i*step:]
		f.palette = append(f.palette, [3]uint8{c[2], c[1], c[0]})
	}
	return at + n*step
}

// decodeBMP decodes a bitmap of Windows or OS/2.
func decodeBMP(data []byte) (image.Image, error) {
	f, err := scanBMP(data)
	if err != nil {
		return nil, err
	}
	layout := opaque
	if f.bits > 8 && f.masks[3] != 0 {
		layout = straight
	}
	switch f.compression {
	case bmpRLE8, bmpRLE4:
		return f.decodeRuns(layout)
	}
	stride := (f.width*f.bits + 31) / 32 * 4
	// The last row may lack its padding.
	if need := stride*(f.height-1) + (f.width*f.bits+7)/8; need > len(f.pixels) {
		return nil, ErrTruncated
	}
	c := newCanvas(f.width, f.height, layout, false)
	for i := range f.height {
		row := f.pixels[i*stride:]
		if f.bits <= 8 {
			err = f.putIndices(c, f.row(i), func(x int) int {
				return int(row[x*f.bits/8]) >> (8 - f.bits - x*f.bits%8) & (1<<f.bits - 1)
			})
		} else {
			f.putColours(c, f.row(i), row)
		}
		if err != nil {
			return nil, err
		}
	}
	return c.image(), nil
}

// row is where the i-th stored row is shown.
func (f *bmpFile) row(i int) int {
	if f.topDown {
		return i
	}
	return f.height - 1 - i
}

func (f *bmpFile) putIndices(c *canvas, y int, index func(x int) int) error {
	for x := range f.width {
		i := index(x)
		if i >= len(f.palette) {
			return fmt.Errorf("%w: BMP with colour %d of a palette of %d", ErrDamaged, i, len(f.palette))
		}
		for channel, v := range f.palette[i] {
			c.put(x, y, channel, uint16(v)*257)
		}
	}
	return nil
}

func (f *bmpFile) putColours(c *canvas, y int, row []byte) {
	for x := range f.width {
		var pixel uint32
		for b := range f.bits / 8 {
			pixel |= uint32(row[x*f.bits/8+b]) << (8 * b)
		}
		for channel, mask := range f.masks {
			if mask == 0 {
				continue
			}
			v := uint64(pixel&mask) >> bits.TrailingZeros32(mask)
			most := uint64(mask) >> bits.TrailingZeros32(mask)
			c.put(x, y, channel, uint16((v*255+most/2)/most*257))
		}
	}
}

// decodeRuns undoes run lengths. What they skip has the first colour, as most
// readers show it. A missing end code is overlooked if all rows are there.
func (f *bmpFile) decodeRuns(layout int) (image.Image, error) {
	indices := make([]uint8, f.width*f.height)
	x, y, in, ended := 0, 0, f.pixels, false
	set := func(index uint8) {
		if x < f.width && y < f.height {
			indices[y*f.width+x] = index
		}
		x++
	}
	nibble := func(i int, b []byte) uint8 { // 4-bit runs alternate between two colours
		if f.compression == bmpRLE8 {
			return b[i]
		}
		return b[i/2] >> (4 * (1 - i%2)) & 15
	}
	for len(in) >= 2 && !ended {
		count, code := int(in[0]), int(in[1])
		switch {
		case count > 0:
			for i := range count {
				if f.compression == bmpRLE8 {
					i = 0
				}
				set(nibble(i%2, in[1:2]))
			}
			in = in[2:]
		case code == 0:
			x, y, in = 0, y+1, in[2:]
		case code == 1:
			ended = true
		case code == 2 && len(in) >= 4:
			x, y, in = x+int(in[2]), y+int(in[3]), in[4:]
		default: // colours one by one, in whole words
			size := (code + 1) / 2 * 2
			if f.compression == bmpRLE4 {
				size = (code + 3) / 4 * 2
			}
			if code == 2 || len(in)-2 < (code*f.bits+7)/8 {
				return nil, ErrTruncated
			}
			for i := range code {
				set(nibble(i, in[2:]))
			}
			in = in[min(2+size, len(in)):]
		}
	}
	if !ended && (y < f.height-1 || y == f.height-1 && x < f.width) {
		return nil, ErrTruncated
	}
	c := newCanvas(f.width, f.height, layout, false)
	for i := range f.height {
		row := indices[i*f.width:]
		if err := f.putIndices(c, f.row(i), func(x int) int { return int(row[x]) }); err != nil {
			return nil, err
		}
	}
	return c.image(), nil
}
