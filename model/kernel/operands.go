package kernel

// rowsLeft is a left operand whose row m0 holds its units consecutively:
// value (i, u) is src[i*stride + u] for u inside one image of length image,
// and images follow each other at step.
//
// A plain matrix is one image.
type rowsLeft struct {
	src         []float32
	stride      int
	image, step int // units per image and distance between images
	factor      int // consecutive values per unit
}

func (l *rowsLeft) pack(e *engine, s *scratch, dst []float32, m0, m, u0, units int) {
	k, tiles := units*l.factor, e.tiles(m)
	for t := range tiles {
		r0, r1 := t*m/tiles, (t+1)*m/tiles
		h := r1 - r0
		panel := dst[r0*k : r1*k]
		off := s.every(h)
		for done := 0; done < k; {
			u := u0*l.factor + done
			in := u % l.image
			run := min(l.image-in, k-done)
			src := l.src[u/l.image*l.step+in+(m0+r0)*l.stride:]
			transposeRows(e, off, panel[done*h:], h, src, l.stride, h, run)
			done += run
		}
	}
}

// transposeRows: dst[t*ld+i] = src[i*stride+t] for i < h, t < run; off is for ld.
func transposeRows(e *engine, off *[16]int32, dst []float32, ld int, src []float32, stride, h, run int) {
	blocks := run / 16
	if blocks > 0 {
		e.path.transpose(dst, off, 16*ld, src, stride, h, blocks)
	}
	for i := range h {
		row := src[i*stride:][:run]
		for t := 16 * blocks; t < run; t++ {
			dst[t*ld+i] = row[t]
		}
	}
}

// columnsLeft is a left operand stored with its rows consecutive: value (i, u)
// is src[u*stride+i].
type columnsLeft struct {
	src    []float32
	stride int
}

func (l *columnsLeft) pack(e *engine, _ *scratch, dst []float32, m0, m, u0, units int) {
	tiles := e.tiles(m)
	for t := range tiles {
		r0, r1 := t*m/tiles, (t+1)*m/tiles
		h := r1 - r0
		panel := dst[r0*units : r1*units]
		for u := range units {
			copy(panel[u*h:][:h], l.src[(u0+u)*l.stride+m0+r0:])
		}
	}
}

// rowsRight is a right operand stored (units, n): value (u, j) is
// src[u*stride+j].
type rowsRight struct {
	src    []float32
	stride int
}

func (r *rowsRight) panel(e *engine, s *scratch, _, n0, n, u0, units int) ([]float32, int, int, []int32) {
	lanes := e.path.lanes
	s.off = growInts(s.off, units)
	if n == 2*lanes && e.m <= 4*e.path.rows {
		for u := range s.off {
			s.off[u] = int32(u * r.stride)
		}
		return r.src[u0*r.stride+n0:], 0, lanes, s.off
	}
	s.b = grow(s.b, units*2*lanes)
	for u := range units {
		copy(s.b[u*2*lanes:], r.src[(u0+u)*r.stride+n0:][:n])
	}
	return s.b, 0, lanes, s.packed(units, lanes)
}

// packed gives the offsets of a packed panel.
func (s *scratch) packed(k, lanes int) []int32 {
	if len(s.steps) < k || s.stepsOf != lanes {
		s.steps, s.stepsOf = growInts(s.steps, k), lanes
		for u := range s.steps {
			s.steps[u] = int32(u * 2 * lanes)
		}
	}
	return s.steps[:k]
}

// every gives the offsets of columns that lie ld apart.
func (s *scratch) every(ld int) *[16]int32 {
	for j := range s.columns {
		s.columns[j] = int32(j * ld)
	}
	return &s.columns
}

// columnsRight is a right operand stored (n, units): value (u, j) is
// src[j*stride+u].
type columnsRight struct {
	src    []float32
	stride int
}

func (r *columnsRight) panel(e *engine, s *scratch, _, n0, n, u0, units int) ([]float32, int, int, []int32) {
	lanes := e.path.lanes
	width := 2 * lanes
	s.b = grow(s.b, units*width)
	off := s.every(width)
	for j := 0; j < n; j += lanes {
		transposeRows(e, off, s.b[j:], width, r.src[(n0+j)*r.stride+u0:], r.stride, min(lanes, n-j), units)
	}
	return s.b, 0, lanes, s.packed(units, lanes)
}

// plainSink writes scale times the product to a row-major matrix, or a split's
// share to its own matrix of parts.
type plainSink struct {
	dst    []float32
	parts  []float32 // splits matrices, where there is more than one split
	stride int
	scale  float32
}

func (p *plainSink) store(e *engine, c []float32, ldc, m0, m, n0, n, split int) {
	dst, scale := p.dst, p.scale
	if e.splits > 1 {
		dst, scale = p.parts[split*e.m*p.stride:], 1
	}
	for i := range m {
		e.path.scale(dst[(m0+i)*p.stride+n0:][:n], c[i*ldc:], scale)
	}
}
