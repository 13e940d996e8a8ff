package picture

import (
	"encoding/binary"
	"fmt"
	"image"
	"math"
)

// deepJPEG decodes what Go's decoder does not: JPEGs of 12 bits (extended
// sequential) and lossless ones of 2 to 16, both with Huffman codes, by ITU T.81,
// F.2 and H.2. No kept package without cgo was found
// that reads them, outside of whole DICOM libraries.
type deepJPEG struct {
	*jpegFile
	components []*jpegComponent
	hMax, vMax int
	quantum    [4][64]int32 // of each table, in zigzag order
	codes      [2][4]*huffman
	restart    int // MCUs between restarts, 0 for none
	transform  int // what an Adobe segment says of the colours; -1 where there is none
	jfif       bool
}

// jpegComponent is one plane of samples, padded to whole blocks.
type jpegComponent struct {
	id, h, v      int
	table         int // of quantisation
	width, height int // of the plane, without padding
	stride        int
	samples       []uint16
	scanned       bool

	// Of the scan under way:
	dc, ac   *huffman
	previous int32
}

// huffman is a table of codes: maxima has the greatest code of each length, -1
// for none, and at how values[code+at[length]] is found.
type huffman struct {
	maxima, at [17]int32
	values     []byte
}

func newHuffman(counts, values []byte) *huffman {
	h := &huffman{values: values}
	code, used := int32(0), int32(0)
	for length := 1; length <= 16; length++ {
		n := int32(counts[length-1])
		h.at[length], h.maxima[length] = used-code, -1
		if n > 0 {
			code += n
			used += n
			h.maxima[length] = code - 1
		}
		code <<= 1
	}
	return h
}

// decodeDeepJPEG decodes data, whose segments f describes.
func decodeDeepJPEG(data []byte, f *jpegFile) (image.Image, error) {
	d := &deepJPEG{jpegFile: f, transform: -1}
	if f.components != 1 && f.components != 3 {
		return nil, fmt.Errorf("%w: %d-bit or lossless JPEG of %d components", ErrUnsupported, f.precision, f.components)
	}
	for at := 2; ; {
		marker, next := nextMarker(data, at)
		switch {
		case marker == 0, marker == jpegEOI:
			return d.image()
		case marker&^7 == jpegRST0, marker == jpegSOI, marker == 1:
			at = next
			continue
		case next+2 > len(data):
			return nil, ErrTruncated
		}
		end := next + int(binary.BigEndian.Uint16(data[next:]))
		if end < next+2 || end > len(data) {
			return nil, ErrTruncated
		}
		if err := d.segment(marker, data[next+2:end], data[end:]); err != nil {
			return nil, err
		}
		at = end
	}
}

// errSegment says that a segment is shorter than what it announces.
var errSegment = fmt.Errorf("%w: JPEG with a malformed segment", ErrDamaged)

func (d *deepJPEG) segment(marker byte, body, behind []byte) error {
	switch {
	case isFrame(marker) && d.components == nil:
		return d.readFrame(body)
	case marker == 0xdb:
		return d.readQuanta(body)
	case marker == jpegDHT:
		return d.readCodes(body)
	case marker == 0xdd && len(body) >= 2:
		d.restart = int(binary.BigEndian.Uint16(body))
	case marker == jpegAPP0 && len(body) >= 5 && string(body[:5]) == "JFIF\x00":
		d.jfif = true
	case marker == jpegAPP14 && len(body) >= 12 && string(body[:5]) == "Adobe":
		d.transform = int(body[11])
	case marker == jpegSOS:
		return d.readScan(body, behind)
	}
	return nil
}

func (d *deepJPEG) readFrame(body []byte) error {
	if len(body) < 6+3*d.jpegFile.components {
		return errSegment
	}
	for i := range d.jpegFile.components {
		b := body[6+3*i:]
		c := &jpegComponent{id: int(b[0]), h: int(b[1] >> 4), v: int(b[1] & 15), table: int(b[2])}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.table > 3 {
			return errSegment
		}
		d.components = append(d.components, c)
		d.hMax, d.vMax = max(d.hMax, c.h), max(d.vMax, c.v)
	}
	for _, c := range d.components {
		if d.process == jpegSOF3 && (c.h != d.hMax || c.v != d.vMax) {
			return fmt.Errorf("%w: lossless JPEG with subsampled colours", ErrUnsupported)
		}
		c.width, c.height = ceilDiv(d.width*c.h, d.hMax), ceilDiv(d.height*c.v, d.vMax)
		c.stride = ceilDiv(d.width, 8*d.hMax) * 8 * c.h
		c.samples = make([]uint16, c.stride*ceilDiv(d.height, 8*d.vMax)*8*c.v)
	}
	return nil
}

func (d *deepJPEG) readQuanta(body []byte) error {
	for len(body) > 0 {
		wide, table := int(body[0]>>4), int(body[0]&15)
		if table > 3 || wide > 1 || len(body) < 1+64*(1+wide) {
			return errSegment
		}
		for i := range 64 {
			d.quantum[table][i] = int32(body[1+i])
			if wide == 1 {
				d.quantum[table][i] = int32(binary.BigEndian.Uint16(body[1+2*i:]))
			}
		}
		body = body[1+64*(1+wide):]
	}
	return nil
}

func (d *deepJPEG) readCodes(body []byte) error {
	for len(body) >= 17 {
		class, table, n := int(body[0]>>4), int(body[0]&15), 0
		for _, count := range body[1:17] {
			n += int(count)
		}
		if class > 1 || table > 3 || n > 256 || len(body) < 17+n {
			return errSegment
		}
		d.codes[class][table] = newHuffman(body[1:17], body[17:17+n])
		body = body[17+n:]
	}
	return nil
}

// readScan decodes one scan. Its parameters are, behind the components: for
// lossless JPEGs the predictor and the bits that were shifted out.
func (d *deepJPEG) readScan(body, behind []byte) error {
	if len(body) < 1 || len(body) < 4+2*int(body[0]) || d.components == nil {
		return errSegment
	}
	var scan []*jpegComponent
	for i := range int(body[0]) {
		id, choice := int(body[1+2*i]), body[2+2*i]
		for _, c := range d.components {
			if c.id != id || choice>>4 > 3 || choice&15 > 3 {
				continue
			}
			c.dc, c.ac, c.scanned = d.codes[0][choice>>4], d.codes[1][choice&15], true
			scan = append(scan, c)
			if c.dc == nil || c.ac == nil && d.process != jpegSOF3 {
				return fmt.Errorf("%w: JPEG without its Huffman tables", ErrDamaged)
			}
		}
	}
	parameters := body[1+2*int(body[0]):]
	if len(scan) != int(body[0]) || len(scan) == 0 {
		return errSegment
	}
	in := &bitReader{data: behind}
	if d.process == jpegSOF3 {
		return d.lossless(scan, in, int(parameters[0]), int(parameters[2]&15))
	}
	return d.sequential(scan, in)
}

// image puts the planes together.
func (d *deepJPEG) image() (image.Image, error) {
	if d.components == nil {
		return nil, ErrTruncated
	}
	for _, c := range d.components {
		if !c.scanned {
			return nil, ErrTruncated
		}
	}
	layout := opaque
	if len(d.components) == 1 {
		layout = grey
	}
	out := newCanvas(d.width, d.height, layout, d.precision > 8)
	most := uint32(1)<<d.precision - 1
	convert := d.transform == 1 || d.transform < 0 && (d.jfif || d.process != jpegSOF3 && !d.named("RGB"))
	var levels [3]uint16
	for y := range d.height {
		for x := range d.width {
			for i, c := range d.components {
				v := uint32(c.samples[y*c.v/d.vMax*c.stride+x*c.h/d.hMax])
				levels[i] = uint16(v * 65535 / most)
			}
			if layout == opaque && convert {
				levels = fromYCbCr(levels, float64(uint32(1)<<(d.precision-1)*65535/most))
			}
			for i := range d.components {
				out.put(x, y, i, levels[i])
			}
		}
	}
	return out.image(), nil
}

func (d *deepJPEG) named(names string) bool {
	for i, c := range d.components {
		if i >= len(names) || c.id != int(names[i]) {
			return false
		}
	}
	return true
}

// fromYCbCr converts by JFIF's formula; zero is the level of no colour.
func fromYCbCr(levels [3]uint16, zero float64) [3]uint16 {
	y, cb, cr := float64(levels[0]), float64(levels[1])-zero, float64(levels[2])-zero
	level := func(v float64) uint16 { return uint16(math.Round(min(max(v, 0), 65535))) }
	return [3]uint16{level(y + 1.402*cr), level(y - 0.344136*cb - 0.714136*cr), level(y + 1.772*cb)}
}
