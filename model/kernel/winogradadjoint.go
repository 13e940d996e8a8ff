package kernel

// BackwardInput's phases are 2x2 convolutions of stride 1 as well, but of dy: with
// t counting a phase's pixels, phase r has rows 2t+1-r of dx, from rows t-r and
// t-r+1 of dy by the taps r+2 and r. Three rows of dy make two of a phase, so that
// both phases' tiles T need x0..x3, the rows 2T-1..2T+2 of dy:
//
//	phase 1:  x0-x1,  x1, x2-x1
//	phase 0:  x1-x2,  x2, x3-x2
//
// which are five different values up to the sign of one: phase 0 takes x2-x1, and
// its first point is turned when the results are put together. In two dimensions
// there are 25 values for the four phases' 36 points.

const adjointPoints = 25

// adjointTiles is the right operand of transformed dy, laid out like tilesRight
// with 25 points and t the channel.
type adjointTiles struct {
	c             Conv
	dy            []float32
	dst           []float32
	width         int
	height, tiles int
}

func (r *adjointTiles) panel(e *engine, s *scratch, g, n0, _, u0, units int) ([]float32, int, int, []int32) {
	phase, p := g/points, g%points
	row, column := p/3+2*(1-phase/2), p%3+2*(1-phase%2)
	at := ((n0/r.width*adjointPoints+5*row+column)*r.c.O + u0) * r.width
	return r.dst, at, at + e.path.lanes, s.packed(units, e.path.lanes)
}

// do transforms one plane of dy.
func (r *adjointTiles) do(item int, s *scratch) {
	c := r.c
	oh, ow := c.OutH(), c.OutW()
	image, o := item/c.O, item%c.O
	pitch := r.tiles + 1
	s.b = grow(s.b, (oh+2)*2*pitch)
	for h := -1; h <= oh; h++ {
		dst := s.b[(h+1)*2*pitch:][:2*pitch]
		if h < 0 || h == oh {
			clear(dst)
			continue
		}
		// Odd columns follow the zero in front, even ones precede the other.
		active.pairs(dst[pitch:][:r.tiles], dst[1:][:r.tiles], r.dy[(item*oh+h)*ow:][:ow])
		dst[0], dst[2*pitch-1] = 0, 0
	}
	point := c.O * r.width
	for i := range r.height {
		from := s.b[2*i*2*pitch:]
		for j := 0; j < r.tiles; {
			column := (image*r.height+i)*r.tiles + j
			lane := column % r.width
			n := min(r.tiles-j, r.width-lane)
			to := r.dst[(column/r.width*adjointPoints*c.O+o)*r.width+lane:]
			active.winogradAdjoint(to, point, from[j:], 2*pitch, pitch, n)
			j += n
		}
	}
}

// winogradAdjointGo transforms n tiles. The tiles' columns are src[j],
// src[mid+j], src[j+1] and src[mid+j+1] of each of four rows:
//
//	dst[(5*u+v)*point+j] = value (u,v) of the five in both directions
func winogradAdjointGo(dst []float32, point int, src []float32, row, mid, n int) {
	five := func(x0, x1, x2, x3 float32) [5]float32 { return [5]float32{x0 - x1, x1, x2 - x1, x2, x3 - x2} }
	for j := range n {
		var rows [4][5]float32
		for r := range rows {
			from := src[r*row+j:]
			rows[r] = five(from[0], from[mid], from[1], from[mid+1])
		}
		for v := range 5 {
			for u, x := range five(rows[0][v], rows[1][v], rows[2][v], rows[3][v]) {
				dst[(5*u+v)*point+j] = x
			}
		}
	}
}

// adjointSink puts rows of dx together; the engine's part is the row phase.
type adjointSink struct {
	dst           []float32
	c             Conv
	height, tiles int
	scale         float32
	finish        *Finish
}

func (w *adjointSink) store(e *engine, block []float32, ldc, m0, m, n0, n, part int) {
	c, p := w.c, e.path
	top := float32(2*part - 1)
	a, d, slope := w.scale, float32(0), float32(linear)
	for j := 0; j < n; {
		column := n0 + j
		row, tile := column/w.tiles, column%w.tiles
		run := min(w.tiles-tile, n-j)
		image, h := row/w.height, 4*(row%w.height)+1-part
		for i := range m {
			to := w.dst[((image*c.C+m0+i)*c.H+h)*c.W+4*tile:]
			if w.finish != nil && !w.finish.Tanh {
				a, d = w.finish.line(m0 + i)
				a, slope = a*w.scale, w.finish.Slope
			}
			p.winogradRows(to, 2*c.W, block[i*ldc+j:], m*ldc, run, top, a, d, slope)
			if w.finish != nil && w.finish.Tanh {
				for r := range 2 {
					w.finish.apply(p, to[2*r*c.W:][:4*run], to[2*r*c.W:][:4*run], m0+i)
				}
			}
		}
		j += run
	}
}

// winogradRowsGo transforms n tiles of a row phase: the points of the odd column
// phase are src[p*point+j], those of the even one follow at 9*point. With top -1 in
// phase 0 and 1 in phase 1, and v a pixel,
//
//	dst[r*row+4*j+i] = z where z > 0, else slope*z, with z = a*v + d
//
// for two rows r of four pixels i.
func winogradRowsGo(dst []float32, row int, src []float32, point, n int, top, a, d, slope float32) {
	for j := range n {
		for even := range 2 {
			m := func(p int) float32 { return src[(points*even+p)*point+j] }
			left := float32(2*even - 1) // the odd phase's first points are turned
			for r := range 2 {
				var x [3]float32
				for v := range x {
					if r == 0 {
						x[v] = top*m(v) + m(3+v)
					} else {
						x[v] = m(3+v) + m(6+v)
					}
				}
				for i, v := range [2]float32{left*x[0] + x[1], x[1] + x[2]} {
					z := a*v + d
					dst[r*row+4*j+2*i+1-even] = z * gate(z, slope)
				}
			}
		}
	}
}

func (c Conv) backwardInputWinograd(dx, dy, w []float32, scale float32, t *Transposed) {
	height, tiles := c.H/4, c.W/4
	part := c.images(adjointPoints * c.O)
	q := newConv(c, engine{m: c.C, n: part.N * height * tiles, units: c.O, groups: 4 * points, parts: 2})
	for g := range 4 * points {
		q.factor[g] = 1
	}
	q.slack = 16
	width := 2 * q.path.lanes
	panels := (q.n + width - 1) / width
	transformed := tensors.get(panels * adjointPoints * c.O * width)
	q.winogradL = winogradLeft{src: w, row: 16, unit: c.C * 16, adjoint: true}
	q.engine.a, q.engine.b, q.engine.out = &q.winogradL, &q.adjointR, &q.adjointS
	q.planGroups(128, 32)
	t.prepack(&q.engine)
	for n := 0; n < c.N; n += part.N {
		part.N = min(part.N, c.N-n)
		q.n = part.N * height * tiles
		q.adjointR = adjointTiles{c: part, dy: dy[n*c.O*c.OutH()*c.OutW():], dst: transformed, width: width,
			height: height, tiles: tiles}
		parallel(&q.adjointR, part.N*c.O)
		q.adjointS = adjointSink{dst: dx[n*c.C*c.H*c.W:], c: part, height: height, tiles: tiles, scale: scale,
			finish: t.inStore()}
		q.run()
	}
	tensors.put(transformed)
	t.unpack(&q.engine)
	q.release()
}
