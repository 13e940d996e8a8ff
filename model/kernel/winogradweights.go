package kernel

// BackwardWeights by Winograd's way: the two by two taps of a phase are what a
// 2x2 "kernel", a tile of dy, makes of the phase's input. So dy is transformed as
// weights are in Forward, the input as there, and the products are summed over
// tiles:
//
//	M[point][o][4*c+phase] = sum over tiles of U[point][o][tile] * V[point][4*c+phase][tile]
//
// Both operands are kept as panels of consecutive tiles, for each panel and point
// one row per channel, or channel and phase. The last panel is filled with zeros.

// panelRows is one of these operands.
type panelRows struct {
	src                 []float32
	rows, width, points int
}

func (p *panelRows) row(panel, point, row int) []float32 {
	return p.src[((panel*p.points+point)*p.rows+row)*p.width:]
}

func (p *panelRows) pack(e *engine, s *scratch, dst []float32, m0, m, u0, units int) {
	tiles := e.tiles(m)
	for g := range p.points {
		for t := range tiles {
			r0, r1 := t*m/tiles, (t+1)*m/tiles
			h := r1 - r0
			off := s.every(h)
			for u := 0; u < units; u += p.width {
				to := dst[(g*m+r0)*units+u*h:]
				transposeRows(e, off, to, h, p.row((u0+u)/p.width, g, m0+r0), p.width, h, p.width)
			}
		}
	}
}

func (p *panelRows) panel(e *engine, s *scratch, g, n0, n, u0, units int) ([]float32, int, int, []int32) {
	lanes := e.path.lanes
	s.b = grow(s.b, units*p.width)
	off := s.every(p.width)
	for u := 0; u < units; u += p.width {
		for j := 0; j < n; j += lanes {
			transposeRows(e, off, s.b[u*p.width+j:], p.width, p.row((u0+u)/p.width, g, n0+j), p.width,
				min(lanes, n-j), p.width)
		}
	}
	return s.b, 0, lanes, s.packed(units, lanes)
}

// pixelTiles transforms dy.
type pixelTiles struct {
	c             Conv
	dy            []float32
	to            panelRows
	height, tiles int
}

// do transforms one plane of dy.
func (r *pixelTiles) do(item int, s *scratch) {
	c := r.c
	oh, ow := c.OutH(), c.OutW()
	image, o := item/c.O, item%c.O
	s.b = grow(s.b, 2*ow)
	point := c.O * r.to.width
	column := image * r.height * r.tiles
	for i := range r.height {
		for h := range 2 {
			row := r.dy[(item*oh+2*i+h)*ow:][:ow]
			active.pairs(s.b[h*ow:][:r.tiles], s.b[h*ow+r.tiles:][:r.tiles], row)
		}
		for j := 0; j < r.tiles; {
			lane := column % r.to.width
			n := min(r.tiles-j, r.to.width-lane)
			to := r.to.row(column/r.to.width, 0, o)[lane:]
			active.winogradPixels(to, point, s.b[j:], r.tiles, n)
			j += n
			column += n
		}
	}
	if image == c.N-1 {
		r.to.zeroTail(column, o)
	}
}

// zeroTail fills a row of the last panel from column on, at all points.
func (p *panelRows) zeroTail(column, row int) {
	lane := column % p.width
	for point := 0; lane > 0 && point < p.points; point++ {
		clear(p.row(column/p.width, point, row)[lane:p.width])
	}
}

// winogradPixelsGo transforms n tiles, whose pixels (a,b) are
// src[(2*a+b)*part+j], to dst[p*point+j].
func winogradPixelsGo(dst []float32, point int, src []float32, part, n int) {
	for j := range n {
		w00, w01, w10, w11 := src[j], src[part+j], src[2*part+j], src[3*part+j]
		for u, r := range [3][2]float32{{w00, w01}, {w00 + w10, w01 + w11}, {w10, w11}} {
			at := 3*u*point + j
			dst[at], dst[at+point], dst[at+2*point] = r[0], r[0]+r[1], r[1]
		}
	}
}

// tapsSink transforms the points' sums to weights' gradients.
type tapsSink struct {
	dst   []float32
	c     Conv
	scale float32
}

func (w *tapsSink) store(e *engine, block []float32, ldc, m0, m, n0, n, _ int) {
	s := scratchPool.get()
	s.rows = grow(s.rows, 4*n)
	for i := range m {
		e.path.winogradOutput(s.rows, 2*n, block[i*ldc:], m*ldc, n, w.scale)
		out := w.dst[(m0+i)*w.c.C*16+4*n0:][:4*n] // n and n0 are multiples of four
		for at := 0; at < len(out); at += 16 {
			to := out[at : at+16 : at+16]
			for a := range 2 {
				from := s.rows[a*2*n+at/2:][:8]
				for r := range 2 { // from's index is 4r+2s+b, to's 4*(2a+r)+2b+s
					k := 8*a + 4*r
					to[k], to[k+1], to[k+2], to[k+3] = from[4*r], from[4*r+2], from[4*r+1], from[4*r+3]
				}
			}
		}
	}
	scratchPool.put(s)
}

func (c Conv) backwardWeightsWinograd(dw, x, dy []float32, scale float32) {
	height, tiles := c.H/4, c.W/4
	q := newConv(c, engine{m: c.O, n: 4 * c.C, groups: points})
	for g := range points {
		q.factor[g] = 1
	}
	width := 2 * q.path.lanes
	panels := (c.N*height*tiles + width - 1) / width
	q.units = panels * width
	q.tilesR = tilesRight{c: c, x: x, width: width, height: height, tiles: tiles, zero: true}
	q.tilesR.dst = tensors.get(panels * points * 4 * c.C * width)
	parallel(&q.tilesR, c.N*c.C)
	q.pixels = pixelTiles{c: c, dy: dy, height: height, tiles: tiles}
	q.pixels.to = panelRows{src: tensors.get(panels * points * c.O * width), rows: c.O, width: width, points: points}
	parallel(&q.pixels, c.N*c.O)
	q.inputs = panelRows{src: q.tilesR.dst, rows: 4 * c.C, width: width, points: points}
	q.tapsS = tapsSink{dst: dw, c: c, scale: scale}
	q.engine.a, q.engine.b, q.engine.out = &q.pixels.to, &q.inputs, &q.tapsS
	q.planGroups(128, 64)
	q.prepack()
	q.run()
	tensors.put(q.tilesR.dst)
	tensors.put(q.pixels.to.src)
	q.unpack()
	q.release()
}
