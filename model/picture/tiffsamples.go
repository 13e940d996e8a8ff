package picture

import (
	"encoding/binary"
	"math"
)

// undoPredictor turns differences of the row into samples. Predictor 2 stores
// each sample less its neighbour on the left; predictor 3 stores the bytes of
// floats sorted by significance, each less its neighbour.
func (d *chunkDecoder) undoPredictor() {
	n, row := d.samples/d.planes, d.row
	switch {
	case d.predictor == 2 && d.bits == 8:
		for i := n; i < len(row); i++ {
			row[i] += row[i-n]
		}
	case d.predictor == 2 && d.bits == 16:
		for i := 2 * n; i+2 <= len(row); i += 2 {
			d.order.PutUint16(row[i:], d.order.Uint16(row[i:])+d.order.Uint16(row[i-2*n:]))
		}
	case d.predictor == 2 && d.bits == 32:
		for i := 4 * n; i+4 <= len(row); i += 4 {
			d.order.PutUint32(row[i:], d.order.Uint32(row[i:])+d.order.Uint32(row[i-4*n:]))
		}
	case d.predictor == 2 && d.bits == 64:
		for i := 8 * n; i+8 <= len(row); i += 8 {
			d.order.PutUint64(row[i:], d.order.Uint64(row[i:])+d.order.Uint64(row[i-8*n:]))
		}
	case d.predictor == 3:
		for i := n; i < len(row); i++ {
			row[i] += row[i-n]
		}
		sorted, size := append([]byte(nil), row...), d.bits/8
		count := len(row) / size
		for i := range count {
			for b := range size { // most significant first
				at := b
				if d.order == binary.ByteOrder(binary.LittleEndian) {
					at = size - 1 - b
				}
				row[i*size+at] = sorted[b*count+i]
			}
		}
	}
}

// unpack turns the row's first n samples into levels of 16 bits, or indices of a
// palette.
func (d *chunkDecoder) unpack(n int) error {
	switch {
	case d.format == 3:
		return d.unpackFloats(n)
	case d.format == 2:
		return d.unpackSigned(n)
	}
	most := uint64(1)<<d.bits - 1
	for i := range n {
		v := uint64(d.integer(i))
		switch {
		case d.photometric == palette:
			d.levels[i] = uint16(v)
		case d.bits == 8:
			d.levels[i] = uint16(v * 257)
		case d.bits == 16:
			d.levels[i] = uint16(v)
		default:
			d.levels[i] = uint16(v * 65535 / most)
		}
	}
	return nil
}

// integer is the row's i-th sample. Whole bytes are in the file's order, others
// are packed with the most significant bit first.
func (d *chunkDecoder) integer(i int) uint32 {
	switch d.bits {
	case 8:
		return uint32(d.row[i])
	case 16:
		return uint32(d.order.Uint16(d.row[2*i:]))
	case 32:
		return d.order.Uint32(d.row[4*i:])
	case 24:
		b := d.row[3*i:]
		if d.order == binary.ByteOrder(binary.BigEndian) {
			return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
		}
		return uint32(b[2])<<16 | uint32(b[1])<<8 | uint32(b[0])
	}
	first, window := i*d.bits, uint32(0)
	for at := first / 8; at <= (first+d.bits-1)/8; at++ { // 3 bytes at most
		window = window<<8 | uint32(d.row[at])
	}
	return window >> (7 - (first+d.bits-1)%8) & (1<<d.bits - 1)
}

// unpackSigned takes 0 for black, as unsigned numbers do. What negative numbers
// look like is not stated anywhere, so they are refused, not cut off.
func (d *chunkDecoder) unpackSigned(n int) error {
	most := uint64(1)<<(d.bits-1) - 1
	for i := range n {
		v := uint64(d.integer(i))
		if v > most {
			return refuseTIFF("negative samples (%d); add an offset, so that 0 is black, and store them unsigned", int64(v)-int64(most+1)*2)
		}
		d.levels[i] = uint16(v * 65535 / most)
	}
	return nil
}

// unpackFloats takes 0 for black and 1 for white, the only convention there is.
// Other numbers are refused, not cut off: they need a scale that nothing states.
func (d *chunkDecoder) unpackFloats(n int) error {
	const tolerance = 1e-3
	for i := range n {
		var v float64
		switch d.bits {
		case 16:
			v = halfFloat(d.order.Uint16(d.row[2*i:]))
		case 32:
			v = float64(math.Float32frombits(d.order.Uint32(d.row[4*i:])))
		case 64:
			v = math.Float64frombits(d.order.Uint64(d.row[8*i:]))
		}
		if !(v >= -tolerance && v <= 1+tolerance) {
			return refuseTIFF("floating-point samples beyond 0 to 1 (%g); scale them, 0 being black and 1 white", v)
		}
		d.levels[i] = uint16(math.Round(min(max(v, 0), 1) * 65535))
	}
	return nil
}

// halfFloat is the value of an IEEE 754 number of 16 bits.
func halfFloat(h uint16) float64 {
	sign, exponent, fraction := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 == 1 {
		sign = -1
	}
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// put puts the unpacked row onto the canvas.
func (d *chunkDecoder) put(plane, x, y, columns int) {
	if d.photometric == palette {
		n := d.samples / d.planes
		colours := 1 << d.bits
		for i := range columns {
			index := int(d.levels[i*n])
			for c := range 3 {
				d.to.put(x+i, y, c, uint16(d.colours[c*colours+index]))
			}
		}
		return
	}
	if d.planes > 1 {
		for i, level := range d.levels[:columns] {
			d.putSample(plane, x+i, y, level)
		}
		return
	}
	for s := range d.samples {
		channels := d.channels(s)
		for i := range columns {
			level := d.levels[i*d.samples+s]
			if d.photometric == whiteIsZero && s == 0 {
				level = ^level
			}
			for _, c := range channels {
				d.to.put(x+i, y, c, level)
			}
		}
	}
}

// putSample puts one sample of a pixel into its channels.
func (d *chunkDecoder) putSample(sample, x, y int, level uint16) {
	if d.photometric == whiteIsZero && sample == 0 {
		level = ^level
	}
	for _, c := range d.channels(sample) {
		d.to.put(x, y, c, level)
	}
}
