package kernel

// Where the processor has AMX, products of words run on its tile registers: 16
// rows by 32 columns, 16 words of the summed index at a time. The left operand
// then needs each row's words side by side, and the depth filled up with zeros to
// a multiple of 16; the right operand is always packed.

const amxRows = 16

// amxDepth is k filled up.
func amxDepth(k int) int { return (k + 15) &^ 15 }

// blockAMX is block for words on tile registers.
func (e *engine) blockAMX(s *scratch, ldc, m0, m, n0, n, u, units int) {
	sum, filled := 0, 0
	var from, to [maxGroups]int
	for g, f := range e.factor[:e.groups] {
		from[g], to[g] = sum*units*m, filled*m
		sum += f
		filled += amxDepth(f * units)
	}
	packed := e.left(s, sum, m0, m, u, units)
	s.taps = grow(s.taps, filled*m)
	tiles := e.tiles(m)
	for g, f := range e.factor[:e.groups] {
		for t := range tiles {
			r0, r1 := t*m/tiles, (t+1)*m/tiles
			e.sideBySide(s, s.taps[to[g]+r0*amxDepth(f*units):], packed[from[g]+r0*f*units:], r1-r0, f*units)
		}
	}
	width := 2 * e.path.lanes
	for j := 0; j < n; j += width {
		for g, f := range e.factor[:e.groups] {
			k := f * units
			if k == 0 {
				continue
			}
			depth := amxDepth(k)
			e.b.panel(e, s, g, n0+j, min(width, n-j), u, units)
			s.b = extend(s.b, depth*width)
			clear(s.b[k*width:])
			for t := range tiles {
				r0, r1 := t*m/tiles, (t+1)*m/tiles
				e.path.tileAMX(s.c[(g*m+r0)*ldc+j:], ldc, s.taps[to[g]+r0*depth:], depth, r1-r0, s.b, depth/16)
			}
		}
	}
}

// sideBySide: dst[i*amxDepth(k)+t] = src[t*h+i] for i < h and t < k, zero behind.
func (e *engine) sideBySide(s *scratch, dst, src []float32, h, k int) {
	depth, done := amxDepth(k), 0
	if h == 16 {
		off := s.every(depth)
		for ; done+16 <= k; done += 16 {
			e.path.transpose(dst[done:], off, 0, src[done*h:], h, 16, 1)
		}
	}
	for i := range h {
		row := dst[i*depth:][:depth]
		for t := done; t < k; t++ {
			row[t] = src[t*h+i]
		}
		clear(row[k:])
	}
}

// extend is b with n values, keeping those it has.
func extend(b []float32, n int) []float32 {
	if cap(b) >= n {
		return b[:n]
	}
	longer := aligned(n)
	copy(longer, b)
	return longer
}
