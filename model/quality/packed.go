package quality

// planes are images packed for inner products in whole numbers: three pixels
// in each 64-bit word, 21 bits apart. The product of a word (x0, x1, x2) with
// one in reversed order (y2, y1, y0) has x0 y0 + x1 y1 + x2 y2 in its bits from
// 42 on, so that one multiplication does three.
type planes struct {
	n       int
	rows    []row
	squares []int64 // each row's sum of squared pixels
}

// row is one packed plane, the rest of the last run zero.
type row [(PlaneLen/3 + run) / run][run]uint64

const (
	laneBits = 21
	// run is how many products are added before the lane is read. Ten times
	// three products of bytes stay below 2^21, and the lanes below never carry.
	run = 10
)

func pack(pixels []uint8) planes         { return packLanes(pixels, [3]int{0, laneBits, 2 * laneBits}) }
func packReversed(pixels []uint8) planes { return packLanes(pixels, [3]int{2 * laneBits, laneBits, 0}) }

func packLanes(pixels []uint8, shifts [3]int) planes {
	n := len(pixels) / PlaneLen
	p := planes{n: n, rows: make([]row, n), squares: make([]int64, n)}
	for i := range n {
		for j, v := range pixels[i*PlaneLen : (i+1)*PlaneLen] {
			p.rows[i][j/3/run][j/3%run] |= uint64(v) << shifts[j%3]
			p.squares[i] += int64(v) * int64(v)
		}
	}
	return p
}

// products are the inner products of two packed rows with two reversed ones.
// The reference loop, for pixels x of a and y of b: sum += x[k] * y[k].
func products(a0, a1, b0, b1 *row) (p00, p01, p10, p11 int64) {
	const mask = 1<<laneBits - 1
	for i := range a0 {
		s00, s01, s10, s11 := productsOfRun(&a0[i], &a1[i], &b0[i], &b1[i])
		p00 += int64(s00 >> (2 * laneBits) & mask)
		p01 += int64(s01 >> (2 * laneBits) & mask)
		p10 += int64(s10 >> (2 * laneBits) & mask)
		p11 += int64(s11 >> (2 * laneBits) & mask)
	}
	return p00, p01, p10, p11
}

// productsOfRun stands alone so that its sums stay in registers.
//
//go:noinline
func productsOfRun(x0, x1, y0, y1 *[run]uint64) (s00, s01, s10, s11 uint64) {
	for k := range run {
		a0, a1, b0, b1 := x0[k], x1[k], y0[k], y1[k]
		s00 += a0 * b0
		s01 += a0 * b1
		s10 += a1 * b0
		s11 += a1 * b1
	}
	return s00, s01, s10, s11
}
