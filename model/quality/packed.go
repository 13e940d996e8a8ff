package quality

// planes are images packed for inner products in whole numbers: three pixels
// in each 64-bit word, 21 bits apart. The product of a word (x0, x1, x2) with
// one in reversed order (y2, y1, y0) has x0 y0 + x1 y1 + x2 y2 in its bits from
// 42 on, so that one multiplication does three.
type planes struct {
	n       int
	words   []uint64 // n rows of wordsPerPlane
	squares []int64  // each row's sum of squared pixels
}

const (
	laneBits = 21
	// run is how many products are added before the lane is read. Ten times
	// three products of bytes stay below 2^21, and the lanes below never carry.
	run = 10
	// wordsPerPlane is rounded up to whole runs; the rest is zero.
	wordsPerPlane = (PlaneLen/3 + run) / run * run
)

func (p planes) row(i int) []uint64 { return p.words[i*wordsPerPlane : (i+1)*wordsPerPlane] }

func pack(pixels []uint8) planes         { return packLanes(pixels, [3]int{0, laneBits, 2 * laneBits}) }
func packReversed(pixels []uint8) planes { return packLanes(pixels, [3]int{2 * laneBits, laneBits, 0}) }

func packLanes(pixels []uint8, shifts [3]int) planes {
	n := len(pixels) / PlaneLen
	p := planes{n: n, words: make([]uint64, n*wordsPerPlane), squares: make([]int64, n)}
	for i := range n {
		row := p.row(i)
		for j, v := range pixels[i*PlaneLen : (i+1)*PlaneLen] {
			row[j/3] |= uint64(v) << shifts[j%3]
			p.squares[i] += int64(v) * int64(v)
		}
	}
	return p
}

// products are the inner products of two packed rows with two reversed ones.
// The reference loop, for pixels x of a and y of b: sum += x[k] * y[k].
func products(a0, a1, b0, b1 []uint64) (p00, p01, p10, p11 int64) {
	const mask = 1<<laneBits - 1
	for len(a0) >= run && len(a1) >= run && len(b0) >= run && len(b1) >= run {
		x0, x1, y0, y1 := (*[run]uint64)(a0), (*[run]uint64)(a1), (*[run]uint64)(b0), (*[run]uint64)(b1)
		var s00, s01, s10, s11 uint64
		for k := range run {
			s00 += x0[k] * y0[k]
			s01 += x0[k] * y1[k]
			s10 += x1[k] * y0[k]
			s11 += x1[k] * y1[k]
		}
		p00 += int64(s00 >> (2 * laneBits) & mask)
		p01 += int64(s01 >> (2 * laneBits) & mask)
		p10 += int64(s10 >> (2 * laneBits) & mask)
		p11 += int64(s11 >> (2 * laneBits) & mask)
		a0, a1, b0, b1 = a0[run:], a1[run:], b0[run:], b1[run:]
	}
	return p00, p01, p10, p11
}
