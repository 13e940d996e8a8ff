package kernel

import "unsafe"

// MaxByteDepth is the length of the longest rows whose inner product always fits
// an int32: 33025 * 255 * 255 < 2^31.
const MaxByteDepth = 33025

const badBytes = "kernel: rows of bytes that do not match their shape"

// ByteRows are rows of bytes, packed to be multiplied with others in whole
// numbers, exactly: the left side of products. The zero value holds no rows.
// One value may not be used by several goroutines at once.
//
// Where the processor has VPDPBUSD (AVX512_VNNI), four bytes make a word, and the
// right side's are moved by 128 to be signed ones, for which 128 times the left
// row's sum is added in the end. Else two bytes are widened into a word for
// VPMADDWD. Either sum is below 2^31 for rows up to MaxByteDepth, so that nothing
// is lost in 32 bits.
type ByteRows struct {
	n, k int
	path *path
	e    engine // plan of the packed words
	sums []int32
	// words is the packed memory; lanes that of the plain Go way.
	words []float32
	lanes []uint64
}

// Len is the number of rows.
func (r *ByteRows) Len() int { return r.n }

// Pack takes n rows of k bytes, in place of those before, and reuses their memory.
// k is at most MaxByteDepth.
func (r *ByteRows) Pack(rows []uint8, n, k int) {
	if n < 0 || k < 1 || k > MaxByteDepth || len(rows) != n*k {
		panic(badBytes)
	}
	r.n, r.k, r.path = n, k, active
	if n == 0 {
		return
	}
	if r.path.tileWhole == nil {
		r.packLanes(rows)
		return
	}
	j := byteProducts.get()
	j.load(r.path, rows, n, k)
	e := &j.engine
	e.m, e.n, e.a = n, 0, &j.rowsL
	e.planRows()
	r.words = grow(r.words, e.packedLen())
	e.packed = r.words
	e.packAll()
	r.e = engine{path: e.path, whole: true, m: n, units: e.units, groups: 1, mb: e.mb, ub: e.ub, splits: 1, packed: r.words}
	r.e.factor[0] = e.factor[0]
	j.free()
	r.addSums(rows)
}

// addSums keeps what Products adds for the right side's being signed.
func (r *ByteRows) addSums(rows []uint8) {
	r.sums = growInts(r.sums, r.n)
	clear(r.sums)
	if r.path.wordBytes == 4 {
		j := sumJobs.get()
		*j = sumJob{r.sums, rows, r.k}
		parallel(j, r.n)
		*j = sumJob{}
		sumJobs.put(j)
	}
}

// sumJob: dst[i] = 128 times the sum of row i.
type sumJob struct {
	dst  []int32
	rows []uint8
	k    int
}

var sumJobs freelist[sumJob]

func (q *sumJob) do(item int, _ *scratch) {
	sum := int32(0)
	for _, v := range q.rows[item*q.k : (item+1)*q.k] {
		sum += int32(v)
	}
	q.dst[item] = 128 * sum
}

// Products multiplies every row with every one of n others of the same length:
//
//	for i < r.Len(), j < n:
//		dst[i*n+j] = sum over t < k of r(i,t) * others[j*k+t]
func (r *ByteRows) Products(dst []int32, others []uint8, n int) {
	if n < 0 || len(dst) != r.n*n || len(others) != n*r.k {
		panic(badBytes)
	}
	if r.n == 0 || n == 0 {
		return
	}
	if r.path.tileWhole == nil {
		r.laneProducts(dst, others, n)
		return
	}
	j := byteProducts.get()
	j.load(r.path, others, n, r.k)
	e := &j.engine
	*e = r.e
	e.n, e.b, e.out = n, &j.right, &j.sink
	j.right.src, j.right.stride = j.rowsL.src, j.rowsL.stride
	j.sink = byteSink{dst: dst, stride: n, sums: r.sums}
	e.planColumns()
	e.run()
	j.free()
}

// byteProduct is one call at work.
type byteProduct struct {
	engine
	rowsL  byteLeft
	right  byteRight
	sink   byteSink
	padded []float32
}

var byteProducts freelist[byteProduct]

func (j *byteProduct) free() {
	if j.padded != nil {
		tensors.put(j.padded)
	}
	*j = byteProduct{}
	byteProducts.put(j)
}

// load makes words of four bytes of the rows: they are read where they lie, or
// copied where their length is no multiple of four.
func (j *byteProduct) load(p *path, rows []uint8, n, k int) {
	units := (k + 3) / 4
	j.engine = engine{path: p, whole: true, units: units, groups: 1, splits: 1}
	j.engine.factor[0] = 4 / p.wordBytes
	j.rowsL = byteLeft{rowsLeft{stride: units, image: units, factor: 1}}
	if len(rows) == 0 {
		return
	}
	if k%4 == 0 {
		j.rowsL.src = unsafe.Slice((*float32)(unsafe.Pointer(&rows[0])), n*units)
		return
	}
	j.padded = tensors.get(n * units)
	clear(j.padded)
	to := unsafe.Slice((*uint8)(unsafe.Pointer(&j.padded[0])), 4*n*units)
	for i := range n {
		copy(to[4*i*units:], rows[i*k:(i+1)*k])
	}
	j.rowsL.src = j.padded
}

// Blocks of byte products: the left side is packed once, so many rows are taken
// at a time, for the sake of packing the right side seldom.
const (
	byteDepth   = 256 // words of a panel
	byteRows    = 512
	byteColumns = 128
)

func (e *engine) planRows() {
	e.ub = min(byteDepth/e.factor[0], e.units)
	e.mb = even(e.m, byteRows)
}

func (e *engine) planColumns() {
	width := 2 * e.path.lanes
	e.nb = even((e.n+width-1)/width, max(byteColumns/width, 1)) * width
	for e.blocks() < blockTasks && e.nb > width {
		e.nb = even(e.nb/width, (e.nb/width+1)/2) * width
	}
}

// byteLeft packs words of four bytes, or makes two of each.
type byteLeft struct{ rowsLeft }

func (l *byteLeft) pack(e *engine, s *scratch, dst []float32, m0, m, u0, units int) {
	if e.factor[0] == 1 {
		l.rowsLeft.pack(e, s, dst, m0, m, u0, units)
		return
	}
	s.rows = grow(s.rows, m*units)
	l.rowsLeft.pack(e, s, s.rows, m0, m, u0, units)
	for t, tiles := 0, e.tiles(m); t < tiles; t++ {
		r0, r1 := t*m/tiles, (t+1)*m/tiles
		widen(dst[2*r0*units:2*r1*units], s.rows[r0*units:r1*units], r1-r0)
	}
}

// byteRight packs words of four signed bytes, or makes two of each.
type byteRight struct{ columnsRight }

func (r *byteRight) panel(e *engine, s *scratch, g, n0, n, u0, units int) ([]float32, int, int, []int32) {
	b, b0, b1, off := r.columnsRight.panel(e, s, g, n0, n, u0, units)
	if e.factor[0] == 1 {
		for i, w := range wordsOf64(b) {
			wordsOf64(b)[i] = w ^ 0x8080808080808080
		}
		return b, b0, b1, off
	}
	s.rows = grow(s.rows, 2*len(b))
	widen(s.rows, b, 2*e.path.lanes)
	return s.rows, b0, b1, s.packed(2*units, e.path.lanes)
}

// wordsOf64 are the bits of an even number of words, two by two.
func wordsOf64(x []float32) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(&x[0])), len(x)/2)
}

// widen makes of each run of n words of four bytes one of their even bytes and
// one of their odd bytes, as 16-bit values.
func widen(dst, src []float32, n int) {
	from, to := ints(src), ints(dst)
	for len(from) > 0 {
		even, odd := to[:n], to[n:2*n]
		for i, w := range from[:n] {
			even[i], odd[i] = w&0x00ff00ff, w>>8&0x00ff00ff
		}
		from, to = from[n:], to[2*n:]
	}
}

// ints are the bits of words that hold whole numbers.
func ints(x []float32) []int32 { return unsafe.Slice((*int32)(unsafe.Pointer(&x[0])), len(x)) }

// byteSink writes whole numbers and adds what was taken from the right side.
type byteSink struct {
	dst    []int32
	stride int
	sums   []int32
}

func (b *byteSink) store(_ *engine, c []float32, ldc, m0, m, n0, n, _ int) {
	for i := range m {
		to, add := b.dst[(m0+i)*b.stride+n0:][:n], b.sums[m0+i]
		for j, v := range ints(c[i*ldc:][:n]) {
			to[j] = v + add
		}
	}
}

// SquaredDifference is the sum of the squares of a[i]-b[i], of equal lengths.
func SquaredDifference(a, b []uint8) int64 {
	if len(a) != len(b) {
		panic(badVector)
	}
	return active.squaredDifference(a, b)
}

// ByteSquares: dst[i] is the sum of squares of row i of len(dst) rows of k bytes.
func ByteSquares(dst []int64, rows []uint8, k int) {
	if k < 1 || len(rows) != len(dst)*k {
		panic(badBytes)
	}
	j := squareJobs.get()
	*j = squareJob{dst: dst, rows: rows, k: k}
	parallel(j, len(dst))
	*j = squareJob{}
	squareJobs.put(j)
}

type squareJob struct {
	dst  []int64
	rows []uint8
	k    int
}

var squareJobs freelist[squareJob]

// noBytes is what squares are differences from.
var noBytes [4096]uint8

func (q *squareJob) do(item int, _ *scratch) {
	q.dst[item] = 0
	for row := q.rows[item*q.k : (item+1)*q.k]; len(row) > 0; {
		n := min(len(row), len(noBytes))
		q.dst[item] += active.squaredDifference(row[:n], noBytes[:n])
		row = row[n:]
	}
}

func squaredDifferenceGo(a, b []uint8) (sum int64) {
	b = b[:len(a)]
	for i, v := range a {
		d := int64(v) - int64(b[i])
		sum += d * d
	}
	return sum
}
