package picture

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// TIFF tags, as TIFF 6.0 and its supplements number them.
const (
	tagNewSubfileType  = 254
	tagSubfileType     = 255
	tagWidth           = 256
	tagHeight          = 257
	tagBitsPerSample   = 258
	tagCompression     = 259
	tagPhotometric     = 262
	tagFillOrder       = 266
	tagDescription     = 270
	tagStripOffsets    = 273
	tagOrientation     = 274
	tagSamplesPerPixel = 277
	tagRowsPerStrip    = 278
	tagStripByteCounts = 279
	tagPlanar          = 284
	tagT4Options       = 292
	tagPredictor       = 317
	tagColorMap        = 320
	tagTileWidth       = 322
	tagTileHeight      = 323
	tagTileOffsets     = 324
	tagTileByteCounts  = 325
	tagSubIFDs         = 330
	tagInkSet          = 332
	tagExtraSamples    = 338
	tagSampleFormat    = 339
	tagJPEGTables      = 347
)

// maxEntries bounds the entries of all directories that are looked at: they may
// overlap, so that a small file could list a great many.
const maxEntries = 1 << 20

// tiffReader reads the structure that TIFF files and EXIF blocks share. Classic
// ones have offsets of 4 bytes, BigTIFF has 8.
type tiffReader struct {
	data    []byte
	order   binary.ByteOrder
	big     bool
	entries int // looked at so far
}

// directory holds the entries of one image file directory, in whatever order
// they were written, and the place of the next, 0 for none.
type directory struct {
	*tiffReader
	tags map[uint16]entry
	next uint64
}

// entry is a tag's value: count numbers of a type, of which value holds the
// bytes, nil where they lie beyond the file's end.
type entry struct {
	kind  uint16
	count uint64
	value []byte
}

// isTIFF tells TIFF and BigTIFF by their first bytes.
func isTIFF(data []byte) bool {
	if len(data) < 4 {
		return false
	}
	switch string(data[:4]) {
	case "II\x2a\x00", "MM\x00\x2a", "II\x2b\x00", "MM\x00\x2b":
		return true
	}
	return false
}

// newTIFFReader reads the header; first is the place of the first directory.
func newTIFFReader(data []byte) (r *tiffReader, first uint64, err error) {
	switch {
	case !isTIFF(data):
		return nil, 0, ErrNotImage
	case len(data) < 8:
		return nil, 0, ErrTruncated
	}
	r = &tiffReader{data: data, order: binary.LittleEndian}
	if data[0] == 'M' {
		r.order = binary.BigEndian
	}
	if r.order.Uint16(data[2:]) == 42 {
		return r, uint64(r.order.Uint32(data[4:])), nil
	}
	r.big = true
	if len(data) < 16 {
		return nil, 0, ErrTruncated
	}
	if n := r.order.Uint16(data[4:]); n != 8 {
		return nil, 0, fmt.Errorf("%w: BigTIFF with offsets of %d bytes", ErrUnsupported, n)
	}
	return r, r.order.Uint64(data[8:]), nil
}

// directory reads the directory at the given place. An entry is a tag, a type, a
// count and the value, left-aligned, or the place where it lies.
func (r *tiffReader) directory(at uint64) (*directory, error) {
	head, size := uint64(2), uint64(12)
	if r.big {
		head, size = 8, 20
	}
	if at > uint64(len(r.data)) || uint64(len(r.data))-at < head {
		return nil, ErrTruncated
	}
	rest := r.data[at:]
	entries := uint64(r.order.Uint16(rest))
	if r.big {
		entries = r.order.Uint64(rest)
	}
	rest = rest[head:]
	if entries > uint64(len(rest))/size {
		return nil, ErrTruncated
	}
	if r.entries += int(min(entries, maxEntries)); r.entries > maxEntries {
		return nil, fmt.Errorf("%w: TIFF with more than %d tags", ErrUnsupported, maxEntries)
	}
	d := &directory{tiffReader: r, tags: map[uint16]entry{}}
	for range entries {
		tag := r.order.Uint16(rest)
		if _, twice := d.tags[tag]; !twice {
			d.tags[tag] = r.entry(rest[:size])
		}
		rest = rest[size:]
	}
	switch {
	case r.big && len(rest) >= 8:
		d.next = r.order.Uint64(rest)
	case !r.big && len(rest) >= 4:
		d.next = uint64(r.order.Uint32(rest))
	}
	return d, nil
}

// widths are the bytes of a number of each type, from BYTE (1) to IFD8 (18).
var widths = [19]uint64{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8}

func (r *tiffReader) entry(raw []byte) entry {
	e := entry{kind: r.order.Uint16(raw[2:])}
	var inline []byte
	var place uint64
	if r.big {
		e.count, inline, place = r.order.Uint64(raw[4:]), raw[12:], r.order.Uint64(raw[12:])
	} else {
		e.count, inline, place = uint64(r.order.Uint32(raw[4:])), raw[8:], uint64(r.order.Uint32(raw[8:]))
	}
	if int(e.kind) >= len(widths) || widths[e.kind] == 0 || e.count > uint64(len(r.data)) {
		return e
	}
	size := widths[e.kind] * e.count
	switch {
	case size <= uint64(len(inline)):
		e.value = inline[:size]
	case place <= uint64(len(r.data)) && size <= uint64(len(r.data))-place:
		e.value = r.data[place : place+size]
	}
	return e
}

// numbers are a tag's whole numbers, of whatever integer type; nil where the tag
// is missing, of another type, or lies beyond the file's end.
func (d *directory) numbers(tag uint16) []uint64 {
	e := d.tags[tag]
	if e.value == nil {
		return nil
	}
	out := make([]uint64, e.count)
	for i := range out {
		v := e.value[uint64(i)*widths[e.kind]:]
		switch e.kind {
		case 1, 6, 7: // BYTE, SBYTE, UNDEFINED
			out[i] = uint64(v[0])
		case 3, 8: // SHORT, SSHORT
			out[i] = uint64(d.order.Uint16(v))
		case 4, 9, 13: // LONG, SLONG, IFD
			out[i] = uint64(d.order.Uint32(v))
		case 16, 17, 18: // LONG8, SLONG8, IFD8
			out[i] = d.order.Uint64(v)
		default:
			return nil
		}
	}
	return out
}

// number is a tag's first number, or otherwise where there is none.
func (d *directory) number(tag uint16, otherwise uint64) uint64 {
	if e := d.tags[tag]; e.value == nil || e.count == 0 {
		return otherwise
	}
	if n := d.numbers(tag); len(n) > 0 {
		return n[0]
	}
	return otherwise
}

// reduced tells previews and masks from pages.
func (d *directory) reduced() bool {
	const preview, mask = 1, 4
	return d.number(tagNewSubfileType, 0)&(preview|mask) != 0 || d.number(tagSubfileType, 1) == 2
}

// firstPage finds the first page at full resolution and counts how many there
// are. Where previews only are listed, the page is below the first of them, or
// the preview is all there is.
func firstPage(data []byte) (page *directory, pages int, err error) {
	r, at, err := newTIFFReader(data)
	if err != nil {
		return nil, 0, err
	}
	var preview *directory
	for seen := map[uint64]bool{}; at != 0 && !seen[at]; {
		seen[at] = true
		d, err := r.directory(at)
		switch {
		case err != nil && page == nil && preview == nil:
			return nil, 0, err
		case err != nil: // what can be read is
			at = 0
			continue
		case !d.reduced():
			pages++
			if page == nil {
				page = d
			}
		case preview == nil:
			preview = d
		}
		at = d.next
	}
	switch {
	case page != nil:
		return page, pages, nil
	case preview == nil:
		return nil, 0, fmt.Errorf("%w: TIFF without an image", ErrDamaged)
	}
	for _, at := range preview.numbers(tagSubIFDs) {
		if d, err := r.directory(at); err == nil && !d.reduced() {
			return d, 1, nil
		}
	}
	return preview, 1, nil
}

// stack is how many images ImageJ says lie one behind the other, of which it lists
// the first only; 1 for other writers.
func (d *directory) stack() int {
	description := string(d.tags[tagDescription].value)
	if !strings.HasPrefix(description, "ImageJ=") {
		return 1
	}
	for line := range strings.Lines(description) {
		if n, found := strings.CutPrefix(strings.TrimSpace(line), "images="); found {
			if images, err := strconv.Atoi(n); err == nil && images > 0 {
				return images
			}
		}
	}
	return 1
}

// exifOrientation reads the orientation, 1 to 8, from an EXIF block, which is a
// TIFF structure of its own; 1 where none is stated.
func exifOrientation(exif []byte) int {
	if len(exif) > 6 && string(exif[:6]) == "Exif\x00\x00" {
		exif = exif[6:] // JPEG's prefix, which some write elsewhere too
	}
	r, at, err := newTIFFReader(exif)
	if err != nil {
		return 1
	}
	d, err := r.directory(at)
	if err != nil {
		return 1
	}
	return d.orientation()
}

func (d *directory) orientation() int {
	if o := d.number(tagOrientation, 1); o >= 1 && o <= 8 {
		return int(o)
	}
	return 1
}
