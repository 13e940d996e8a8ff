package kernel

// inputSquares is the right operand of a transformed input, as tilesRight is for the
// 4x4 convolutions: for each panel of tiles and each point one row per channel.
type inputSquares struct {
	c             Conv
	x             []float32
	to            panelRows
	height, tiles int  // rows of tiles, and tiles of a row
	zero          bool // fill the last panel's columns behind the last tile
}

func (r *inputSquares) panel(e *engine, s *scratch, g, n0, _, u0, units int) ([]float32, int, int, []int32) {
	at := ((n0/r.to.width*points3+g)*r.c.C + u0) * r.to.width
	return r.to.src, at, at + e.path.lanes, s.packed(units, e.path.lanes)
}

// do transforms one plane.
func (r *inputSquares) do(item int, s *scratch) {
	c := r.c
	image, ch := item/c.C, item%c.C
	pitch := r.tiles + 1
	s.b = grow(s.b, (c.H+2)*4*pitch)
	s.a = grow(s.a, c.W)
	for h := -1; h <= c.H; h++ {
		dst := s.b[(h+1)*4*pitch:][:4*pitch]
		if h < 0 || h == c.H {
			clear(dst)
		} else {
			splitByFour(dst, r.x[(item*c.H+h)*c.W:][:c.W], s.a)
		}
	}
	column := image * r.height * r.tiles
	for i := range r.height {
		from := s.b[4*i*4*pitch:]
		for j := 0; j < r.tiles; {
			lane := column % r.to.width
			n := min(r.tiles-j, r.to.width-lane)
			to := r.to.row(column/r.to.width, 0, ch)[lane:]
			active.winograd3Input(to, c.C*r.to.width, from[j:], 4*pitch, pitch, n)
			j += n
			column += n
		}
	}
	if r.zero && image == c.N-1 {
		r.to.zeroTail(column, ch)
	}
}

// weights3 is the transformed weights as a left operand. Rows lie row floats apart
// and units unit floats; turned weights are those of the gradient by the input.
type weights3 struct {
	src       []float32
	row, unit int
	turned    bool
}

func (l *weights3) pack(e *engine, s *scratch, dst []float32, m0, m, u0, units int) {
	tiles := e.tiles(m)
	point := units*m + e.slack
	s.taps = grow(s.taps, 9*16)
	for t := range tiles {
		r0, r1 := t*m/tiles, (t+1)*m/tiles
		h := r1 - r0
		for u := range units {
			from := l.src[(m0+r0)*l.row+(u0+u)*l.unit:]
			for i := range h {
				w := from[i*l.row:][:9]
				for tap, v := range w {
					if l.turned {
						tap = 8 - tap
					}
					s.taps[16*tap+i] = v
				}
			}
			e.path.winograd3Weights(dst[r0*units+u*h:], point, s.taps, h)
		}
	}
}

// squaresSink transforms the points' sums to output pixels.
type squaresSink struct {
	dst             []float32
	channels        int
	height, tiles   int
	scale           float32
	plane, rowWidth int // floats of an output's plane and row
}

func (w *squaresSink) store(e *engine, block []float32, ldc, m0, m, n0, n, _ int) {
	for j := 0; j < n; {
		column := n0 + j
		row, tile := column/w.tiles, column%w.tiles
		run := min(w.tiles-tile, n-j)
		image, h := row/w.height, 4*(row%w.height)
		for i := range m {
			at := (image*w.channels+m0+i)*w.plane + h*w.rowWidth + 4*tile
			e.path.winograd3Output(w.dst[at:], w.rowWidth, block[i*ldc+j:], m*ldc, run, w.scale)
		}
		j += run
	}
}

// convolve3 is Forward with the weights given as to weights3; BackwardInput is the
// same with its operands exchanged.
func (c Conv) convolve3(y, x []float32, weights weights3, scale float32) {
	height, tiles := c.H/4, c.W/4
	part := c.images(points3 * c.C)
	q := newConv(c, engine{m: c.O, n: part.N * height * tiles, units: c.C, groups: points3})
	for g := range points3 {
		q.factor[g] = 1
	}
	q.slack = 16
	width := 2 * q.path.lanes
	panels := (q.n + width - 1) / width
	transformed := tensors.get(panels * points3 * c.C * width)
	q.weights3 = weights
	q.engine.a, q.engine.b, q.engine.out = &q.weights3, &q.squares, &q.squaresS
	q.planGroups(64, 32)
	q.prepack()
	for n := 0; n < c.N; n += part.N {
		part.N = min(part.N, c.N-n)
		q.n = part.N * height * tiles
		q.squares = inputSquares{c: part, x: x[n*c.C*c.H*c.W:], height: height, tiles: tiles,
			to: panelRows{src: transformed, rows: c.C, width: width, points: points3}}
		parallel(&q.squares, part.N*c.C)
		q.squaresS = squaresSink{dst: y[n*c.O*c.H*c.W:], channels: c.O, height: height, tiles: tiles, scale: scale,
			plane: c.H * c.W, rowWidth: c.W}
		q.run()
	}
	tensors.put(transformed)
	q.unpack()
	q.release()
}

func (c Conv) forward3(y, x, w []float32, scale float32) {
	c.convolve3(y, x, weights3{src: w, row: 9 * c.C, unit: 9}, scale)
}

func (c Conv) backwardInput3(dx, dy, w []float32, scale float32) {
	back := c
	back.C, back.O = c.O, c.C
	back.convolve3(dx, dy, weights3{src: w, row: 9, unit: 9 * c.C, turned: true}, scale)
}
