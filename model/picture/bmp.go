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
	r := &bmpRuns{bmpFile: f, in: f.pixels, indices: make([]uint8, f.width*f.height)}
	for len(r.in) >= 2 && !r.ended {
		if err := r.step(); err != nil {
			return nil, err
		}
	}
	if !r.ended && (r.y < f.height-1 || r.y == f.height-1 && r.x < f.width) {
		return nil, ErrTruncated
	}
	c := newCanvas(f.width, f.height, layout, false)
	for i := range f.height {
		row := r.indices[i*f.width:]
		if err := f.putIndices(c, f.row(i), func(x int) int { return int(row[x]) }); err != nil {
			return nil, err
		}
	}
	return c.image(), nil
}

// bmpRuns is where the decoding of run lengths stands.
type bmpRuns struct {
	*bmpFile
	in      []byte
	indices []uint8 // rows as they are stored
	x, y    int
	ended   bool
}

// step decodes one code of two bytes, the first of which is how often the second
// is repeated, or zero.
func (r *bmpRuns) step() error {
	count, code := int(r.in[0]), int(r.in[1])
	switch {
	case count > 0:
		for i := range count {
			r.set(r.index(i%(8/r.bits), r.in[1:2]))
		}
		r.in = r.in[2:]
	case code == 0: // the end of a row
		r.x, r.y, r.in = 0, r.y+1, r.in[2:]
	case code == 1:
		r.ended = true
	case code == 2: // a step to the right and on
		if len(r.in) < 4 {
			return ErrTruncated
		}
		r.x, r.y, r.in = r.x+int(r.in[2]), r.y+int(r.in[3]), r.in[4:]
	default: // pixels one by one, in words of two bytes
		size := (code*r.bits + 7) / 8
		if len(r.in)-2 < size {
			return ErrTruncated
		}
		for i := range code {
			r.set(r.index(i, r.in[2:]))
		}
		r.in = r.in[min(2+size+size%2, len(r.in)):]
	}
	return nil
}

// index is the i-th of packed indices of 4 or 8 bits.
func (r *bmpRuns) index(i int, packed []byte) uint8 {
	if r.bits == 8 {
		return packed[i]
	}
	return packed[i/2] >> (4 * (1 - i%2)) & 15
}

func (r *bmpRuns) set(index uint8) {
	if r.x < r.width && r.y < r.height {
		r.indices[r.y*r.width+r.x] = index
	}
	r.x++
}
