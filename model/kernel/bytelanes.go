package kernel

// Products of bytes in plain Go: three bytes go into each 64-bit word, 21 bits
// apart. The product of a word (x0, x1, x2) with one in reversed order (y2, y1,
// y0) has x0 y0 + x1 y1 + x2 y2 in its bits from 42 on, so that one
// multiplication does three.

const (
	laneBits = 21
	// laneRun is how many products are added before the lane is read. Ten times
	// three products of bytes stay below 2^21, and the lanes below never carry.
	laneRun = 10
	// laneColumns is how many right rows are packed at a time, laneRows how many
	// left ones are multiplied with them before the next.
	laneColumns, laneRows = 32, 16
)

// laneWords is the length of a packed row of k bytes, the rest of the last run
// being zero.
func laneWords(k int) int { return (k + 3*laneRun - 1) / (3 * laneRun) * laneRun }

func packLanes(dst []uint64, row []uint8, shifts [3]int) {
	clear(dst)
	for j, v := range row {
		dst[j/3] |= uint64(v) << shifts[j%3]
	}
}

func (r *ByteRows) packLanes(rows []uint8) {
	words := laneWords(r.k)
	if cap(r.lanes) < r.n*words {
		r.lanes = make([]uint64, r.n*words)
	}
	r.lanes = r.lanes[:r.n*words]
	for i := range r.n {
		packLanes(r.lanes[i*words:(i+1)*words], rows[i*r.k:(i+1)*r.k], [3]int{0, laneBits, 2 * laneBits})
	}
}

// laneProduct is one call of Products.
type laneProduct struct {
	rows   *ByteRows
	dst    []int32
	others []uint8
	n      int
}

var laneProducts freelist[laneProduct]

func (r *ByteRows) laneProducts(dst []int32, others []uint8, n int) {
	j := laneProducts.get()
	*j = laneProduct{r, dst, others, n}
	parallel(j, (n+laneColumns-1)/laneColumns)
	*j = laneProduct{}
	laneProducts.put(j)
}

// do multiplies all left rows with some right ones, two by two.
func (l *laneProduct) do(item int, s *scratch) {
	k, words := l.rows.k, laneWords(l.rows.k)
	n0 := item * laneColumns
	n := min(laneColumns, l.n-n0)
	if cap(s.lanes) < laneColumns*words {
		s.lanes = make([]uint64, laneColumns*words)
	}
	right := s.lanes[:n*words]
	for j := range n {
		packLanes(right[j*words:(j+1)*words], l.others[(n0+j)*k:(n0+j+1)*k], [3]int{2 * laneBits, laneBits, 0})
	}
	row := func(of []uint64, i int) []uint64 { return of[i*words : (i+1)*words] }
	for from := 0; from < l.rows.n; from += laneRows {
		end := min(from+laneRows, l.rows.n)
		for j := 0; j < n; j += 2 {
			j1 := min(j+1, n-1)
			for i := from; i < end; i += 2 {
				i1 := min(i+1, end-1)
				p00, p01, p10, p11 := laneSums(row(l.rows.lanes, i), row(l.rows.lanes, i1), row(right, j), row(right, j1))
				a, b := l.dst[i*l.n+n0:], l.dst[i1*l.n+n0:]
				a[j], a[j1], b[j], b[j1] = p00, p01, p10, p11
			}
		}
	}
}

// laneSums are the inner products of two packed rows with two reversed ones.
func laneSums(a0, a1, b0, b1 []uint64) (p00, p01, p10, p11 int32) {
	const mask = 1<<laneBits - 1
	for at := 0; at < len(a0); at += laneRun {
		s00, s01, s10, s11 := laneRunSums((*[laneRun]uint64)(a0[at:]), (*[laneRun]uint64)(a1[at:]),
			(*[laneRun]uint64)(b0[at:]), (*[laneRun]uint64)(b1[at:]))
		p00 += int32(s00 >> (2 * laneBits) & mask)
		p01 += int32(s01 >> (2 * laneBits) & mask)
		p10 += int32(s10 >> (2 * laneBits) & mask)
		p11 += int32(s11 >> (2 * laneBits) & mask)
	}
	return p00, p01, p10, p11
}

// laneRunSums stands alone so that its sums stay in registers.
//
//go:noinline
func laneRunSums(x0, x1, y0, y1 *[laneRun]uint64) (s00, s01, s10, s11 uint64) {
	for k := range laneRun {
		a0, a1, b0, b1 := x0[k], x1[k], y0[k], y1[k]
		s00 += a0 * b0
		s01 += a0 * b1
		s10 += a1 * b0
		s11 += a1 * b1
	}
	return s00, s01, s10, s11
}
