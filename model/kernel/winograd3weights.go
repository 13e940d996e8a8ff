package kernel

// pixelSquares transforms dy to panels of consecutive tiles.
type pixelSquares struct {
	c             Conv
	dy            []float32
	to            panelRows
	height, tiles int
}

// do transforms one plane of dy.
func (r *pixelSquares) do(item int, s *scratch) {
	c := r.c
	image, o := item/c.O, item%c.O
	s.a = grow(s.a, c.W)
	s.b = grow(s.b, 4*c.W)
	column := image * r.height * r.tiles
	for i := range r.height {
		for h := range 4 {
			row := r.dy[(item*c.H+4*i+h)*c.W:][:c.W]
			quarter(s.b[h*c.W:][:c.W], row, s.a)
		}
		for j := 0; j < r.tiles; {
			lane := column % r.to.width
			n := min(r.tiles-j, r.to.width-lane)
			to := r.to.row(column/r.to.width, 0, o)[lane:]
			active.winograd3Pixels(to, c.O*r.to.width, s.b[j:], c.W, r.tiles, n)
			j += n
			column += n
		}
	}
	if image == c.N-1 {
		r.to.zeroTail(column, o)
	}
}

// quarter splits a row by its column modulo four: dst[q*len(src)/4+j] = src[4*j+q].
func quarter(dst, src, tmp []float32) {
	half, n := len(src)/2, len(src)/4
	even, odd := tmp[:half], tmp[half:2*half]
	active.pairs(even, odd, src)
	active.pairs(dst[:n], dst[2*n:][:n], even)
	active.pairs(dst[n:][:n], dst[3*n:][:n], odd)
}

// taps3Sink transforms the points' sums to weights' gradients.
type taps3Sink struct {
	dst   []float32
	c     Conv
	scale float32
}

func (w *taps3Sink) store(e *engine, block []float32, ldc, m0, m, n0, n, _ int) {
	s := scratchPool.get()
	s.rows = grow(s.rows, 9*n)
	for i := range m {
		e.path.winograd3Taps(s.rows, n, block[i*ldc:], m*ldc, n, w.scale)
		out := w.dst[((m0+i)*w.c.C+n0)*9:][:9*n]
		for tap := range 9 {
			at := tap
			for _, v := range s.rows[tap*n:][:n] {
				out[at] = v
				at += 9
			}
		}
	}
	scratchPool.put(s)
}

func (c Conv) backwardWeights3(dw, x, dy []float32, scale float32) {
	height, tiles := c.H/4, c.W/4
	q := newConv(c, engine{m: c.O, n: c.C, groups: points3})
	for g := range points3 {
		q.factor[g] = 1
	}
	width := 2 * q.path.lanes
	panels := (c.N*height*tiles + width - 1) / width
	q.units = panels * width
	q.squares = inputSquares{c: c, x: x, height: height, tiles: tiles, zero: true,
		to: panelRows{src: tensors.get(panels * points3 * c.C * width), rows: c.C, width: width, points: points3}}
	parallel(&q.squares, c.N*c.C)
	q.pixelS = pixelSquares{c: c, dy: dy, height: height, tiles: tiles,
		to: panelRows{src: tensors.get(panels * points3 * c.O * width), rows: c.O, width: width, points: points3}}
	parallel(&q.pixelS, c.N*c.O)
	q.taps3 = taps3Sink{dst: dw, c: c, scale: scale}
	q.engine.a, q.engine.b, q.engine.out = &q.pixelS.to, &q.squares.to, &q.taps3
	q.planGroups(64, 32)
	q.prepack()
	q.run()
	tensors.put(q.squares.to.src)
	tensors.put(q.pixelS.to.src)
	q.unpack()
	q.release()
}
