package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"slices"
)

// Markers of ITU T.81, table B.1.
const (
	jpegSOF0  = 0xc0
	jpegSOF1  = 0xc1
	jpegSOF2  = 0xc2
	jpegSOF3  = 0xc3
	jpegDHT   = 0xc4
	jpegRST0  = 0xd0
	jpegSOI   = 0xd8
	jpegEOI   = 0xd9
	jpegSOS   = 0xda
	jpegAPP0  = 0xe0
	jpegAPP1  = 0xe1
	jpegAPP14 = 0xee
	jpegSOF48 = 0xf7 // JPEG-LS, of ITU T.87
)

// jpegFile is what the segments of a JPEG say, up to its end of image: what
// follows that is no part of the picture, be it a thumbnail, a second picture or
// a camera's own data.
type jpegFile struct {
	process       byte // the frame's marker, which names the coding process
	precision     int  // bits per sample
	width, height int
	components    int
	scans         int
	scanned       int                // components in all scans together
	missing       map[byte]*[64]int8 // of a progressive JPEG's components: the bits that each coefficient lacks
	adobe         bool               // whether a segment of Adobe's says what the colours are
	tables        map[byte]bool      // Huffman tables defined before the first scan, as class<<4 | number
	needed        map[byte]bool      // and those that it uses
	exif          []byte             // the first EXIF block
	end           int                // just behind the end of image, or the file's length where there is none
	ended         bool               // whether there is one
}

// scanJPEG walks over the segments. It fails where the picture can't be read at
// all; what the decoder itself notices is left to it.
func scanJPEG(data []byte) (*jpegFile, error) {
	f := &jpegFile{end: len(data), tables: map[byte]bool{}, needed: map[byte]bool{}, missing: map[byte]*[64]int8{}}
	at := 2
	for {
		marker, next := nextMarker(data, at)
		switch {
		case marker == 0:
			return f, f.check()
		case marker == jpegEOI:
			f.end, f.ended = next, true
			return f, f.check()
		case marker&^7 == jpegRST0, marker == jpegSOI, marker == 1:
			at = next
			continue
		}
		if next+2 > len(data) {
			return f, f.check()
		}
		length := int(binary.BigEndian.Uint16(data[next:]))
		if length < 2 || next+length > len(data) {
			return f, f.check()
		}
		f.segment(marker, data[next+2:next+length])
		at = next + length
	}
}

// nextMarker finds the next marker at or behind at, and where it ends; 0 where
// there is none. Stuffed bytes and fill bytes are none.
func nextMarker(data []byte, at int) (marker byte, next int) {
	for at < len(data) {
		i := bytes.IndexByte(data[at:], 0xff)
		if i < 0 || at+i+1 >= len(data) {
			return 0, len(data)
		}
		at += i + 1
		if m := data[at]; m != 0 && m != 0xff {
			return m, at + 1
		}
	}
	return 0, len(data)
}

func (f *jpegFile) segment(marker byte, body []byte) {
	switch {
	case marker == jpegDHT && f.scans == 0:
		for len(body) >= 17 {
			f.tables[body[0]] = true
			n := 17
			for _, codes := range body[1:17] {
				n += int(codes)
			}
			body = body[min(n, len(body)):]
		}
	case marker == jpegSOS:
		f.scan(body)
	case marker == jpegAPP14 && len(body) >= 12 && string(body[:5]) == "Adobe":
		f.adobe = true
	case marker == jpegAPP1 && f.exif == nil:
		if exif, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok {
			f.exif = exif
		}
	case isFrame(marker) && f.process == 0 && len(body) >= 6:
		f.process = marker
		f.precision = int(body[0])
		f.height = int(binary.BigEndian.Uint16(body[1:]))
		f.width = int(binary.BigEndian.Uint16(body[3:]))
		f.components = int(body[5])
	}
}

// scan reads the header of a scan: its components, with the numbers of their
// Huffman tables, and of a progressive JPEG the first and the last coefficient and
// how many of their bits will still be missing.
func (f *jpegFile) scan(body []byte) {
	f.scans++
	if len(body) == 0 || len(body) < 4+2*int(body[0]) {
		return
	}
	n := int(body[0])
	f.scanned += n
	from, to, low := int(body[1+2*n]), int(body[2+2*n]), int8(body[3+2*n]&15)
	for i := range n {
		id, choice := body[1+2*i], body[2+2*i]
		if f.scans == 1 {
			f.needed[choice>>4], f.needed[0x10|choice&15] = true, true
		}
		if f.missing[id] == nil {
			f.missing[id] = &[64]int8{}
			for k := range f.missing[id] {
				f.missing[id][k] = 16
			}
		}
		for k := from; k <= min(to, 63); k++ {
			f.missing[id][k] = low
		}
	}
}

// complete tells whether nothing can follow the scans: every component was
// scanned, in a progressive JPEG every bit of every coefficient.
func (f *jpegFile) complete() bool {
	if f.process != jpegSOF2 {
		return f.scanned >= f.components
	}
	for _, missing := range f.missing {
		if *missing != [64]int8{} {
			return false
		}
	}
	return len(f.missing) == f.components
}

// isFrame tells markers of frames from those of tables in the same range.
func isFrame(marker byte) bool {
	return marker >= jpegSOF0 && marker <= 0xcf && marker != jpegDHT && marker != 0xc8 && marker != 0xcc || marker == jpegSOF48
}

// check says why the file can't be read, as far as its frame tells.
func (f *jpegFile) check() error {
	unsupported := func(what string) error {
		return fmt.Errorf("%w: %s; convert it to a baseline JPEG or to PNG", ErrUnsupported, what)
	}
	switch f.process {
	case 0:
		return ErrTruncated
	case jpegSOF0, jpegSOF1, jpegSOF2, jpegSOF3:
	case 0xc5, 0xc6, 0xc7:
		return unsupported("hierarchical JPEG")
	case jpegSOF48:
		return unsupported("JPEG-LS")
	default:
		return unsupported("arithmetic-coded JPEG")
	}
	switch {
	case f.precision != 8 && f.process == jpegSOF2:
		return unsupported(fmt.Sprintf("%d-bit progressive JPEG", f.precision))
	case f.precision != 8 && (f.process != jpegSOF1 || f.precision != 12) && f.process != jpegSOF3:
		return unsupported(fmt.Sprintf("%d-bit JPEG", f.precision))
	case f.process == jpegSOF3 && (f.precision < 2 || f.precision > 16):
		return fmt.Errorf("%w: JPEG of %d bits", ErrDamaged, f.precision)
	case f.height == 0:
		return unsupported("JPEG that states its height at its end")
	case f.scans > maxScans:
		return fmt.Errorf("%w: JPEG with %d scans", ErrUnsupported, f.scans)
	}
	return nil
}

// decodeJPEG decodes the first picture in data.
//
// A missing end of image is overlooked where nothing can follow the scans that
// are there: two bytes that carry no pixel are then all that is missing.
// Otherwise more scans are, without which the picture is coarser.
func decodeJPEG(data []byte) (image.Image, error) {
	f, err := scanJPEG(data)
	if err != nil {
		return nil, err
	}
	if !f.ended && !f.complete() {
		return nil, ErrTruncated
	}
	img, err := f.decode(f.whole(data))
	if err != nil && !f.ended {
		return nil, ErrTruncated
	}
	return img, err
}

func (f *jpegFile) decode(data []byte) (image.Image, error) {
	if f.process == jpegSOF3 || f.precision != 8 {
		return decodeDeepJPEG(data, f)
	}
	r := &reader{Reader: bytes.NewReader(data)}
	img, err := jpeg.Decode(r)
	if err != nil {
		return nil, r.explain(err)
	}
	if inks, ok := img.(*image.CMYK); ok && !f.adobe {
		// Inks are inverted in Adobe's files, and the decoder undoes that.
		for i := range inks.Pix {
			inks.Pix[i] = ^inks.Pix[i]
		}
	}
	return img, nil
}

// adobeSegment says that the colours are what they are, not YCbCr.
var adobeSegment = []byte("\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00")

// whole is the picture with what it may lack: standard Huffman tables, which
// motion JPEG leaves out, an end of image, and what four components are, which the
// decoder insists on.
func (f *jpegFile) whole(data []byte) []byte {
	data = data[:f.end:f.end]
	if !f.ended {
		data = append(data, 0xff, jpegEOI)
	}
	if f.components == 4 && !f.adobe {
		data = slices.Concat(data[:2], adobeSegment, data[2:])
	}
	if f.process != jpegSOF0 && f.process != jpegSOF1 || f.precision != 8 {
		return data // there are no standard tables for it
	}
	for table := range f.needed {
		if !f.tables[table] {
			// Before all others, so that the file's own tables replace them.
			return slices.Concat(data[:2], standardTables(), data[2:])
		}
	}
	return data
}

// standardTables is a segment with the typical Huffman tables of ITU T.81,
// K.3.3: each begins with its class and number and how many codes of 1 to 16 bits
// there are.
func standardTables() []byte {
	tables := []string{
		"\x00" + "\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00" +
			"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b",
		"\x01" + "\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00" +
			"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b",
		"\x10" + "\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d" +
			"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07" +
			"\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0" +
			"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28" +
			"\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49" +
			"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69" +
			"\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
			"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7" +
			"\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5" +
			"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2" +
			"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
			"\xf9\xfa",
		"\x11" + "\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77" +
			"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71" +
			"\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0" +
			"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26" +
			"\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48" +
			"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68" +
			"\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
			"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5" +
			"\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3" +
			"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda" +
			"\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8" +
			"\xf9\xfa",
	}
	segment := []byte{0xff, jpegDHT, 0, 0}
	for _, table := range tables {
		segment = append(segment, table...)
	}
	binary.BigEndian.PutUint16(segment[2:], uint16(len(segment)-2))
	return segment
}
