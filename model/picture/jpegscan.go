package picture

import (
	"fmt"
	"math"
)

// bitReader reads the bits of a scan, up to the next marker.
type bitReader struct {
	data []byte
	at   int
	bits uint32
	n    int
}

// bit returns the next bit. A marker ends the scan: bits that are asked for
// behind it are missing.
func (r *bitReader) bit() (uint32, error) {
	if r.n == 0 {
		if r.at >= len(r.data) {
			return 0, ErrTruncated
		}
		b := r.data[r.at]
		if b == 0xff {
			if r.at+1 >= len(r.data) || r.data[r.at+1] != 0 {
				return 0, fmt.Errorf("%w: JPEG with a scan that is too short", ErrDamaged)
			}
			r.at++
		}
		r.at++
		r.bits, r.n = uint32(b), 8
	}
	r.n--
	return r.bits >> r.n & 1, nil
}

// receive reads n bits as a number that T.81 stores by its magnitude (F.2.2.1).
func (r *bitReader) receive(n int) (int32, error) {
	v := int32(0)
	for range n {
		b, err := r.bit()
		if err != nil {
			return 0, err
		}
		v = v<<1 | int32(b)
	}
	if n > 0 && v < 1<<(n-1) {
		v += -1<<n + 1
	}
	return v, nil
}

func (r *bitReader) symbol(h *huffman) (int, error) {
	code := int32(0)
	for length := 1; length <= 16; length++ {
		b, err := r.bit()
		if err != nil {
			return 0, err
		}
		code = code<<1 | int32(b)
		if code <= h.maxima[length] {
			return int(h.values[code+h.at[length]]), nil
		}
	}
	return 0, fmt.Errorf("%w: JPEG with an unknown Huffman code", ErrDamaged)
}

// restarted begins anew behind a restart marker.
func (r *bitReader) restarted() error {
	r.n = 0
	for r.at+1 < len(r.data) && r.data[r.at] == 0xff && r.data[r.at+1] == 0xff {
		r.at++ // fill bytes
	}
	if r.at+1 >= len(r.data) {
		return ErrTruncated
	}
	if r.data[r.at] != 0xff || r.data[r.at+1]&^7 != jpegRST0 {
		return fmt.Errorf("%w: JPEG without a restart where one is due", ErrDamaged)
	}
	r.at += 2
	return nil
}

// sequential decodes the blocks of a scan. Where components are interleaved an
// MCU holds h times v blocks of each; otherwise it is one block.
func (d *deepJPEG) sequential(scan []*jpegComponent, in *bitReader) error {
	across, down := ceilDiv(d.width, 8*d.hMax), ceilDiv(d.height, 8*d.vMax)
	if len(scan) == 1 {
		across, down = ceilDiv(scan[0].width, 8), ceilDiv(scan[0].height, 8)
	}
	for _, c := range scan {
		c.previous = 0
	}
	for mcu := range across * down {
		if d.restart > 0 && mcu > 0 && mcu%d.restart == 0 {
			if err := in.restarted(); err != nil {
				return err
			}
			for _, c := range scan {
				c.previous = 0
			}
		}
		for _, c := range scan {
			h, v := c.h, c.v
			if len(scan) == 1 {
				h, v = 1, 1
			}
			for block := range h * v {
				x, y := mcu%across*h+block%h, mcu/across*v+block/h
				if err := d.block(c, in, x, y); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// zigzag is where the i-th coefficient lies in a block (T.81, figure A.6).
var zigzag = [64]int{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

func (d *deepJPEG) block(c *jpegComponent, in *bitReader, x, y int) error {
	var block [64]float32
	size, err := in.symbol(c.dc)
	if err != nil {
		return err
	}
	if size > 16 {
		return fmt.Errorf("%w: JPEG with a difference of %d bits", ErrDamaged, size)
	}
	difference, err := in.receive(size)
	if err != nil {
		return err
	}
	c.previous += difference
	quantum := &d.quantum[c.table]
	block[0] = float32(c.previous * quantum[0])
	for i := 1; i < 64; i++ {
		code, err := in.symbol(c.ac)
		if err != nil {
			return err
		}
		zeros, size := code>>4, code&15
		if size == 0 && zeros < 15 {
			break // the others are zero
		}
		i += zeros
		if i > 63 {
			return fmt.Errorf("%w: JPEG with more than 64 coefficients in a block", ErrDamaged)
		}
		v, err := in.receive(size)
		if err != nil {
			return err
		}
		block[zigzag[i]] = float32(v * quantum[i])
	}
	c.store(&block, x, y, d.precision)
	return nil
}

// cosines[x][u] are those of the inverse transform (T.81, A.3.3).
var cosines = func() (table [8][8]float32) {
	for x := range 8 {
		for u := range 8 {
			v := math.Cos(float64(2*x+1)*float64(u)*math.Pi/16) / 2
			if u == 0 {
				v /= math.Sqrt2
			}
			table[x][u] = float32(v)
		}
	}
	return table
}()

// store transforms a block and puts it into the plane as the block (x,y).
func (c *jpegComponent) store(block *[64]float32, x, y, precision int) {
	var half [64]float32
	for v := range 8 {
		for i := range 8 {
			sum := float32(0)
			for u := range 8 {
				sum += cosines[i][u] * block[8*v+u]
			}
			half[8*v+i] = sum
		}
	}
	zero, most := float32(int(1)<<(precision-1)), float32(int(1)<<precision-1)
	for j := range 8 {
		row := c.samples[(8*y+j)*c.stride+8*x:]
		for i := range 8 {
			sum := zero + 0.5
			for v := range 8 {
				sum += cosines[j][v] * half[8*v+i]
			}
			row[i] = uint16(min(max(sum, 0), most))
		}
	}
}

// lossless decodes a scan whose samples are differences to a prediction from
// their neighbours (T.81, table H.1), less the shift lowest bits.
func (d *deepJPEG) lossless(scan []*jpegComponent, in *bitReader, predictor, shift int) error {
	if predictor < 1 || predictor > 7 || shift >= d.precision {
		return fmt.Errorf("%w: JPEG with predictor %d and %d bits shifted out", ErrDamaged, predictor, shift)
	}
	if d.restart%d.width != 0 {
		return fmt.Errorf("%w: lossless JPEG with restarts inside of rows", ErrUnsupported)
	}
	first := true // the row is the scan's first, or the first behind a restart
	for y := range d.height {
		if d.restart > 0 && y > 0 && y%(d.restart/d.width) == 0 {
			if err := in.restarted(); err != nil {
				return err
			}
			first = true
		}
		for x := range d.width {
			for _, c := range scan {
				difference, err := in.difference(c)
				if err != nil {
					return err
				}
				row := c.samples[y*c.stride:]
				row[x] = uint16(c.predict(x, y, predictor, first, int32(1)<<(d.precision-shift-1)) + difference)
			}
		}
		first = false
	}
	for _, c := range scan {
		most := uint16(uint32(1)<<d.precision - 1)
		for i, v := range c.samples {
			c.samples[i] = min(v<<shift, most)
		}
	}
	return nil
}

// difference reads one of a lossless scan.
func (r *bitReader) difference(c *jpegComponent) (int32, error) {
	size, err := r.symbol(c.dc)
	switch {
	case err != nil:
		return 0, err
	case size > 16:
		return 0, fmt.Errorf("%w: JPEG with a difference of %d bits", ErrDamaged, size)
	case size == 16:
		return 1 << 15, nil
	}
	return r.receive(size)
}

// predict is what a sample is expected to be; start is what the first is.
func (c *jpegComponent) predict(x, y, predictor int, first bool, start int32) int32 {
	i := y*c.stride + x
	switch {
	case first && x == 0:
		return start
	case first:
		return int32(c.samples[i-1])
	case x == 0:
		return int32(c.samples[i-c.stride])
	}
	left, above, corner := int32(c.samples[i-1]), int32(c.samples[i-c.stride]), int32(c.samples[i-c.stride-1])
	switch predictor {
	case 1:
		return left
	case 2:
		return above
	case 3:
		return corner
	case 4:
		return left + above - corner
	case 5:
		return left + (above-corner)>>1
	case 6:
		return above + (left-corner)>>1
	}
	return (left + above) >> 1
}
