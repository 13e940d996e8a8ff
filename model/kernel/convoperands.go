package kernel

// cells is one group's view of a padded tensor.
type cells struct {
	off  []int32 // distance of each value of the summed index
	base int     // place of the first column
}

// cellsRight is a right operand read from a padded tensor: its columns are the
// height by width pixels of each image, its value (t, column) is
//
//	src[group.base + column's image*image + its row*row + its pixel + group.off[t]]
type cellsRight struct {
	src           []float32
	height, width int
	row, image    int
	groups        [maxGroups]cells
}

func (r *cellsRight) place(column int) int {
	pixel := column % (r.height * r.width)
	return column/(r.height*r.width)*r.image + pixel/r.width*r.row + pixel%r.width
}

func (r *cellsRight) panel(e *engine, s *scratch, g, n0, n, u0, units int) ([]float32, int, int, []int32) {
	lanes, f := e.path.lanes, e.factor[g]
	off := r.groups[g].off[u0*f : (u0+units)*f]
	base := r.groups[g].base
	if r.width%lanes == 0 && !e.amx() { // each lane group lies in one row: read in place
		b0 := base + r.place(n0)
		b1 := b0
		if n > lanes {
			b1 = base + r.place(n0+lanes)
		}
		return r.src, b0, b1, off
	}
	s.runs = s.runs[:0]
	for j := 0; j < n; {
		run := min(r.width-(n0+j)%r.width, n-j)
		s.runs = append(s.runs, span{at: j, src: base + r.place(n0+j), n: run})
		j += run
	}
	s.b = grow(s.b, len(off)*2*lanes)
	packSpans(e.path, s, s.b, r.src, off, s.runs)
	return s.b, 0, lanes, s.packed(len(off), lanes)
}

// patchesRight is BackwardWeights' right operand: its summed index is the
// output pixel, or the pair of pixels, its columns are the taps (c, kh, kw), read
// from padded planes.
type patchesRight struct {
	src   []float32
	c     Conv
	pad   *padding
	width int // values of the summed index in a row of the output
	plane int // and in an image
	step  int // distance in src from one to the next
}

func (r *patchesRight) panel(e *engine, s *scratch, _, n0, n, u0, units int) ([]float32, int, int, []int32) {
	width := 2 * e.path.lanes
	c, p := r.c, r.pad
	s.runs = s.runs[:0]
	for j := 0; j < n; {
		tap := n0 + j
		kw := tap % c.K
		run := min(c.K-kw, n-j)
		s.runs = append(s.runs, span{at: j, n: run,
			src: tap/(c.K*c.K)*p.plane + tap/c.K%c.K*p.pitch + kw})
		j += run
	}
	s.off = growInts(s.off, units)
	for t := 0; t < units; {
		pixel, image := (u0+t)%r.plane, (u0+t)/r.plane
		at := offset(image*c.C*p.plane + c.Stride*(pixel/r.width*p.pitch) + r.step*(pixel%r.width))
		row := s.off[t:min(t+r.width-pixel%r.width, units)]
		for i := range row {
			row[i] = at
			at += int32(r.step)
		}
		t += len(row)
	}
	s.b = grow(s.b, units*width)
	packSpans(e.path, s, s.b, r.src, s.off, s.runs)
	return s.b, 0, e.path.lanes, s.packed(units, e.path.lanes)
}

// weightsLeft is BackwardInput's left operand: rows are input channels, units
// are output channels, groups the phases, see adjointOffsets.
type weightsLeft struct {
	src []float32
	c   Conv
}

func (l *weightsLeft) pack(e *engine, s *scratch, dst []float32, m0, m, u0, units int) {
	c, kk, tiles := l.c, l.c.K*l.c.K, e.tiles(m)
	for t := range tiles {
		r0, r1 := t*m/tiles, (t+1)*m/tiles
		l.packTile(e, s, dst, m*units, m0+r0, r1-r0, r0, l.src[u0*c.C*kk:], units)
	}
}

// packTile packs h channels from m0, the tile's r0-th row, on. Groups lie
// area*factor floats apart.
func (l *weightsLeft) packTile(e *engine, s *scratch, dst []float32, area, m0, h, r0 int, src []float32, units int) {
	c, kk := l.c, l.c.K*l.c.K
	off := &s.columns
	var to, step [maxGroups]int
	sum := 0
	for g, f := range e.factor[:e.groups] {
		to[g], step[g] = sum*area+r0*f*units, f*h
		sum += f
	}
	fast := kk == 16 && c.Stride == 2 // every group has the same step
	if fast {
		for tap := range off {
			g, i := l.tap(tap)
			off[tap] = int32(to[g] + i*h)
		}
	}
	for u := range units {
		from := src[(u*c.C+m0)*kk:][:h*kk]
		if fast {
			e.path.transpose(dst[u*step[0]:], off, 0, from, kk, h, 1)
			continue
		}
		for tap := range kk {
			g, i := l.tap(tap)
			at := dst[to[g]+u*step[g]+i*h:][:h]
			for r := range at {
				at[r] = from[r*kk+tap]
			}
		}
	}
}

// tap gives the group of a tap and its place among the group's taps.
func (l *weightsLeft) tap(tap int) (g, i int) {
	k, st := l.c.K, l.c.Stride
	kh, kw := tap/k, tap%k
	perRow := (k - kw%st + st - 1) / st
	return kh%st*st + kw%st, kh/st*perRow + kw/st
}

// planesSink writes a product's rows as channels of NCHW images.
type planesSink struct {
	dst             []float32
	channels, plane int
	scale           float32
}

func (p *planesSink) store(e *engine, c []float32, ldc, m0, m, n0, n, _ int) {
	for j := 0; j < n; {
		image, pixel := (n0+j)/p.plane, (n0+j)%p.plane
		run := min(p.plane-pixel, n-j)
		for i := range m {
			at := (image*p.channels+m0+i)*p.plane + pixel
			e.path.scale(p.dst[at:at+run], c[i*ldc+j:], p.scale)
		}
		j += run
	}
}

// phasesSink puts the phases of BackwardInput's result together.
type phasesSink struct {
	dst           []float32
	c             Conv
	height, width int
	scale         float32
	finish        *Finish // only where row writes all phases by zip
}

func (p *phasesSink) store(e *engine, block []float32, ldc, m0, m, n0, n, _ int) {
	c := p.c
	s := scratchPool.get()
	s.rows = grow(s.rows, 2*p.width)
	for r := range c.Stride {
		h0 := c.Stride*firstCell(r, c.Pad, c.Stride) + r - c.Pad
		for j := 0; j < n; {
			column := n0 + j
			image, pixel := column/(p.height*p.width), column%(p.height*p.width)
			run := min(p.width-pixel%p.width, n-j)
			h, w := h0+c.Stride*(pixel/p.width), c.Stride*(pixel%p.width)
			for i := 0; i < m && h < c.H; i++ {
				at := ((image*c.C+m0+i)*c.H + h) * c.W
				src := block[(r*c.Stride*m+i)*ldc+j:]
				if p.finish == nil {
					p.row(e, p.dst[at+w:at+c.W], src, m*ldc, run)
					continue
				}
				dst := p.dst[at+w : at+w+2*run]
				if p.finish.Tanh {
					p.row(e, s.rows[:2*run], src, m*ldc, run)
					p.finish.apply(e.path, dst, s.rows[:2*run], m0+i)
					continue
				}
				// Pad is 1: the second phase has the even columns.
				a, d := p.finish.line(m0 + i)
				e.path.zipLine(dst, src[m*ldc:][:run], src[:run], p.scale*a, d, p.finish.Slope)
			}
			j += run
		}
	}
	scratchPool.put(s)
}

// row puts a row's phases together: run values of each, group s at src[s*step].
func (p *phasesSink) row(e *engine, dst, src []float32, step, run int) {
	c, done := p.c, 0
	if c.Stride == 2 {
		// One phase has the even columns, the other the odd ones.
		even, odd := src, src[step:]
		if c.Pad%2 == 1 {
			even, odd = odd, even
		}
		done = min(run, len(dst)/2)
		e.path.zip(dst[:2*done], even[:done], odd[:done], p.scale)
		if done == run {
			return
		}
	}
	for s := range c.Stride {
		first := c.Stride*firstCell(s, c.Pad, c.Stride) + s - c.Pad
		spread(dst, src[s*step+done:s*step+run], first+c.Stride*done, c.Stride, p.scale)
	}
}

// spread: dst[w+step*j] = scale * src[j], as far as dst goes.
func spread(dst, src []float32, w, step int, scale float32) {
	for _, v := range src {
		if w >= len(dst) {
			return
		}
		dst[w] = scale * v
		w += step
	}
}
