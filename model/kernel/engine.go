package kernel

// left is a product's left operand, (m, units) with each unit standing for
// factor[g] consecutive values of the summed index.
type left interface {
	// pack writes rows m0.. and units u0.. as tiles: for group g at dst[at[g]],
	// for each tile of e.tiles(m), its values with the row running fastest.
	pack(e *engine, s *scratch, dst []float32, m0, m, u0, units int)
}

// right is a product's right operand.
type right interface {
	// panel gives columns n0..n0+n (n at most two lane widths) and units u0..
	// in the form that path.tile reads. Columns from n on are arbitrary.
	panel(e *engine, s *scratch, g, n0, n, u0, units int) (b []float32, b0, b1 int, off []int32)
}

// sink takes a finished block of the product: group g's value (i, j) is
// c[(g*m+i)*ldc+j], for rows m0.. and columns n0... part is the split, or the
// part of the groups, g counting from its first.
type sink interface {
	store(e *engine, c []float32, ldc, m0, m, n0, n, part int)
}

// maxGroups bounds the phases of a transposed convolution, 16 for a stride of 4,
// and Winograd's points, 9 for each of four phases.
const maxGroups = 36

// engine multiplies a left by a right operand block by block. A block is a
// set of rows by a set of columns, over all of the summed index or one of its
// splits; blocks are independent of each other. Groups are products that share
// the left operand's memory, the phases of a transposed convolution.
type engine struct {
	path   *path
	pairs  bool // values are words of two bfloat16 values
	whole  bool // values are words of whole numbers, see path.tileWhole
	m, n   int
	units  int
	groups int
	factor [maxGroups]int

	mb, nb, ub int // rows, columns and units of a block
	splits     int // parts of the summed index, each a block of its own
	parts      int // parts of the groups, each a block of its own; 0 is 1
	slack      int // floats behind each group of the packed left operand

	packed []float32 // all of the left operand, where it is packed beforehand

	a   left
	b   right
	out sink
}

// Blocks are sized for a second-level cache of half a megabyte and more: the
// packed left operand and the block of results take at most a quarter each.
const (
	blockDepth = 256      // values of the summed index at a time
	blockArea  = 64 << 10 // floats of a block of results
	blockLeft  = 64 << 10 // floats of the packed left operand
	blockTasks = 16       // as many blocks as this, where the shape allows
	splitDepth = 2 * 1024 // a split sums at least this many values
	groupDepth = 128      // values of the summed index at a time, with many groups

	splitSize = 256 << 10 // results of more floats than this are not split
)

// plan chooses the partition. It depends on the shape and the path only. Where more
// blocks are wanted, the summed index is split first: smaller blocks would pack the
// same operands more often.
func (e *engine) plan(canSplit bool) {
	width := 2 * e.path.lanes
	sum, widest := 0, 1
	for _, f := range e.factor[:e.groups] {
		sum += f
		widest = max(widest, f)
	}
	e.ub = min(max(blockDepth/widest, 1), max(e.units, 1))
	e.mb = clamp(blockLeft/(max(sum, 1)*e.ub), e.path.rows, 256)
	e.mb = even(e.m, e.mb)
	e.nb = clamp(blockArea/(e.groups*e.mb)/width*width, width, 512)
	e.nb = even((e.n+width-1)/width, e.nb/width) * width
	e.splits = 1
	for e.blocks() < blockTasks {
		switch {
		case canSplit && e.units/(2*e.splits)*widest >= splitDepth && e.m*e.n <= splitSize:
			e.splits *= 2
		case e.nb > 2*width && e.nb >= e.mb:
			e.nb = even(e.nb/width, (e.nb/width+1)/2) * width
		case e.mb > 4*e.path.rows:
			e.mb = even(e.mb, (e.mb+1)/2)
		default:
			return
		}
	}
}

// planGroups is plan for many groups: shallow blocks, so that there is room for
// enough rows to use a panel of the right operand several times.
func (e *engine) planGroups(rows, columns int) {
	width := 2 * e.path.lanes
	e.splits = 1
	e.ub = min(groupDepth/e.factor[0], e.units)
	e.mb = even(e.m, rows)
	e.nb = even((e.n+width-1)/width, max(columns/width, 1)) * width
	for e.blocks() < blockTasks && e.mb > 2*e.path.rows {
		e.mb = even(e.mb, (e.mb+1)/2)
	}
}

func clamp(x, lo, hi int) int { return min(max(x, lo), hi) }

// even divides n into as few parts of at most size as will do and returns the
// size of the largest when they are as equal as can be.
func even(n, size int) int {
	parts := (n + size - 1) / size
	return (n + parts - 1) / max(parts, 1)
}

func (e *engine) blocks() int {
	return max(e.parts, 1) * e.splits * ((e.m + e.mb - 1) / e.mb) * ((e.n + e.nb - 1) / e.nb)
}

// tiles is the number of row tiles that m rows are cut into; tile t begins at
// row t*m/tiles. They differ in height by one row at most.
func (e *engine) tiles(m int) int {
	rows := e.path.rows
	if e.amx() {
		rows = amxRows
	}
	return (m + rows - 1) / rows
}

// amx reports whether the product runs on tile registers.
func (e *engine) amx() bool { return e.pairs && e.path.tileAMX != nil }

func (e *engine) run() {
	if e.m > 0 && e.n > 0 {
		parallel(e, e.blocks())
	}
}

func (e *engine) do(item int, s *scratch) {
	mBlocks, nBlocks := (e.m+e.mb-1)/e.mb, (e.n+e.nb-1)/e.nb
	ni := item % nBlocks
	mi := item / nBlocks % mBlocks
	split, part := item/nBlocks/mBlocks, 0
	groups := e.groups
	if e.parts > 1 {
		split, part = 0, split
		groups /= e.parts
	}
	m0, n0 := mi*e.mb, ni*e.nb
	m, n := min(e.mb, e.m-m0), min(e.nb, e.n-n0)
	width := 2 * e.path.lanes
	ldc := (n + width - 1) / width * width
	s.c = grow(s.c, groups*m*ldc)
	clear(s.c)
	end := (split + 1) * e.units / e.splits
	for u := split * e.units / e.splits; u < end; u += e.ub {
		e.block(s, part*groups, (part+1)*groups, ldc, m0, m, n0, n, u, min(e.ub, end-u))
	}
	e.out.store(e, s.c, ldc, m0, m, n0, n, split+part)
}

// block adds groups g0 to g1's product over some units to the results in s.c.
func (e *engine) block(s *scratch, g0, g1, ldc, m0, m, n0, n, u, units int) {
	if e.amx() {
		e.blockAMX(s, ldc, m0, m, n0, n, u, units)
		return
	}
	sum := 0
	var at [maxGroups]int
	for g, f := range e.factor[:e.groups] {
		at[g] = sum*units*m + g*e.slack
		sum += f
	}
	left := e.left(s, sum, m0, m, u, units)
	width, tiles := 2*e.path.lanes, e.tiles(m)
	tile := e.path.tile
	switch {
	case e.pairs:
		tile = e.path.tilePairs
	case e.whole:
		tile = e.path.tileWhole
	}
	for j := 0; j < n; j += width {
		for g := g0; g < g1; g++ {
			k := e.factor[g] * units
			if k == 0 {
				continue
			}
			b, b0, b1, off := e.b.panel(e, s, g, n0+j, min(width, n-j), u, units)
			for t := range tiles {
				r0, r1 := t*m/tiles, (t+1)*m/tiles
				tile(s.c[((g-g0)*m+r0)*ldc+j:], ldc, left[at[g]+r0*k:], r1-r0, b, b0, b1, off[:k])
			}
		}
	}
}

// left gives the packed left operand for a block.
func (e *engine) left(s *scratch, sum, m0, m, u, units int) []float32 {
	if e.packed != nil {
		return e.packed[e.packedAt(sum, m0, m, u):]
	}
	s.a = grow(s.a, sum*units*m+e.groups*e.slack)
	e.a.pack(e, s, s.a, m0, m, u, units)
	return s.a
}

// packedAt is the place of a block in e.packed: all units of a block of rows lie
// together.
func (e *engine) packedAt(sum, m0, m, u int) int {
	slack := e.groups * e.slack
	blocks := (e.units + e.ub - 1) / e.ub
	return sum*(m0*e.units+m*u) + slack*(m0/e.mb*blocks+u/e.ub)
}

// prepacking packs the whole left operand, a block at a time.
type prepacking struct{ e *engine }

var prepackings freelist[prepacking]

func (p *prepacking) do(item int, s *scratch) {
	e := p.e
	blocks := (e.units + e.ub - 1) / e.ub
	m0, u := item/blocks*e.mb, item%blocks*e.ub
	m := min(e.mb, e.m-m0)
	e.a.pack(e, s, e.packed[e.packedAt(e.depth(), m0, m, u):], m0, m, u, min(e.ub, e.units-u))
}

// depth is the length of the summed index per unit, over all groups.
func (e *engine) depth() (sum int) {
	for _, f := range e.factor[:e.groups] {
		sum += f
	}
	return sum
}

// prepack packs the left operand once, where many blocks of columns, or parts of
// the groups, would do so again and again.
func (e *engine) prepack() {
	if e.splits > 1 || e.parts <= 1 && (e.n+e.nb-1)/e.nb < 4 {
		return
	}
	e.packed = tensors.get(e.packedLen())
	e.packAll()
}

// packBlocks is the number of blocks of the left operand.
func (e *engine) packBlocks() int { return (e.m + e.mb - 1) / e.mb * ((e.units + e.ub - 1) / e.ub) }

// packedLen is the length of e.packed.
func (e *engine) packedLen() int { return e.depth()*e.m*e.units + e.packBlocks()*e.groups*e.slack }

// packAll fills e.packed. It needs one split only.
func (e *engine) packAll() {
	p := prepackings.get()
	p.e = e
	parallel(p, e.packBlocks())
	p.e = nil
	prepackings.put(p)
}

// unpack gives the memory of prepack back.
func (e *engine) unpack() {
	if e.packed != nil {
		tensors.put(e.packed)
		e.packed = nil
	}
}

// span is a run of consecutive columns whose source lies consecutively too.
type span struct {
	at  int // first column in the panel
	src int // its place in the source
	n   int
}

// packSpans gathers a panel:
//
//	for t < len(off), each span r, j < r.n:
//		dst[t*width+r.at+j] = src[r.src+off[t]+j]
func packSpans(p *path, s *scratch, dst, src []float32, off []int32, runs []span) {
	width := 2 * p.lanes
	if n := runs[0].n; (n == 4 || n%8 == 0 && width >= 8) && evenSpans(runs) {
		step := min(n, 8)
		for j := range s.base[:width/step] {
			at := min(j*step, len(runs)*n-step)
			s.base[j] = runs[at/n].src + at%n
		}
		n = step
		p.gather(dst, src, &s.base, n, off)
		return
	}
	for _, r := range runs {
		from := src[r.src:]
		for t, o := range off {
			copy(dst[t*width+r.at:][:r.n], from[o:])
		}
	}
}

// evenSpans reports whether all spans are of one length.
func evenSpans(runs []span) bool {
	for _, r := range runs {
		if r.n != runs[0].n {
			return false
		}
	}
	return true
}
