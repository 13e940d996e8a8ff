package kernel

// A 4x4 convolution of stride 2 is the sum of four 2x2 convolutions of stride 1,
// one for each phase (r,s) of the padded input, the pixels (2i+r, 2j+s).
// Winograd's F(2x2,2x2) computes two by two pixels of such a convolution with 9
// multiplications in place of 16. In one dimension,
//
//	y0 = x0*w0 + x1*w1 = m0 + m1     m0 = (x0-x1)*w0
//	y1 = x1*w0 + x2*w1 = m1 + m2     m1 = x1*(w0+w1)
//	                                 m2 = (x2-x1)*w1
//
// and in two dimensions the same of the same. The nine points of two by two
// pixels, the tiles, are summed over channels and phases before the output
// transform, so that they are nine matrix products: the engine's groups.

const points = 9

// Winograd's way is worth its transforms with at least these channels on the
// thinner side, four times as many for the weights' gradients, which transform
// more, and with these tiles, see NOTES.md. Tests lower both.
var winogradChannels, winogradTiles = 32, 128

// thin is the number of channels on the thinner side, tiles that of all images'
// tiles.
func (c Conv) thin() int  { return min(c.C, c.O) }
func (c Conv) tiles() int { return c.N * c.H * c.W / 16 }

// fits reports whether Winograd's way exists and is worth its while with this
// least number of channels.
func (c Conv) fits(channels int) bool {
	return c.K == 4 && c.Stride == 2 && c.Pad == 1 && c.H%4 == 0 && c.W%4 == 0 &&
		c.thin() >= channels && c.tiles() >= winogradTiles
}

// winograd reports whether Forward and BackwardInput take Winograd's way.
func (c Conv) winograd() bool { return c.fits(winogradChannels) }

// winogradWeights reports whether BackwardWeights takes Winograd's way.
func (c Conv) winogradWeights() bool { return c.fits(4 * winogradChannels) }

// tilesRight is the right operand of transformed input. For each panel of
// columns and each point it holds a packed panel: the value at (panel, point,
// t, column) with t = 4*channel+phase. A column is a tile.
type tilesRight struct {
	c             Conv
	x             []float32
	dst           []float32
	width         int  // columns of a panel
	height, tiles int  // rows of tiles, and tiles of a row
	zero          bool // fill the last panel's columns behind the last tile
}

func (r *tilesRight) panel(e *engine, s *scratch, g, n0, _, u0, units int) ([]float32, int, int, []int32) {
	at := ((n0/r.width*points+g)*r.c.C + u0) * 4 * r.width
	return r.dst, at, at + e.path.lanes, s.packed(4*units, e.path.lanes)
}

// do transforms one plane of the input.
func (r *tilesRight) do(item int, s *scratch) {
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
	point := c.C * 4 * r.width
	for i := range r.height {
		for phase := range 4 {
			from := s.b[(4*i+phase/2)*4*pitch+phase%2*pitch:]
			for j := 0; j < r.tiles; {
				column := (image*r.height+i)*r.tiles + j
				lane := column % r.width
				n := min(r.tiles-j, r.width-lane)
				to := r.dst[(column/r.width*points*c.C*4+4*ch+phase)*r.width+lane:]
				active.winogradInput(to, point, from[j:], 8*pitch, 2*pitch, n)
				j += n
			}
		}
	}
	if r.zero && image == c.N-1 {
		p := panelRows{src: r.dst, rows: 4 * c.C, width: r.width, points: points}
		for phase := range 4 {
			p.zeroTail(c.N*r.height*r.tiles, 4*ch+phase)
		}
	}
}

// splitByFour splits a row, padded by a zero on either side, by its column modulo
// four: dst[q*pitch+j] = padded[4*j+q], with pitch = len(src)/4+1.
func splitByFour(dst, src, tmp []float32) {
	half, n := len(src)/2, len(src)/4
	even, odd := tmp[:half], tmp[half:2*half]
	active.pairs(even, odd, src)
	active.pairs(dst[n+1:][:n], dst[3*(n+1):][:n], even)
	active.pairs(dst[2*(n+1):][:n], dst[1:][:n], odd)
	dst[0], dst[n+1+n] = 0, 0
}

// winogradInputGo transforms n tiles of one phase. The tiles' columns are
// src[j], src[mid+j] and src[j+1] of each of three rows:
//
//	dst[(3*u+v)*point+j] = point (u,v) of the differences in both directions
func winogradInputGo(dst []float32, point int, src []float32, row, mid, n int) {
	for j := range n {
		var d [3][3]float32
		for v, at := range [3]int{j, mid + j, j + 1} {
			x0, x1, x2 := src[at], src[row+at], src[2*row+at]
			d[0][v], d[1][v], d[2][v] = x0-x1, x1, x2-x1
		}
		for u, x := range d {
			dst[3*u*point+j] = x[0] - x[1]
			dst[(3*u+1)*point+j] = x[1]
			dst[(3*u+2)*point+j] = x[2] - x[1]
		}
	}
}

// winogradLeft is the transformed weights, rows of which lie row floats apart,
// and units unit floats. The adjoint has each phase's taps in reverse.
type winogradLeft struct {
	src       []float32
	row, unit int
	adjoint   bool
}

func (l *winogradLeft) pack(e *engine, s *scratch, dst []float32, m0, m, u0, units int) {
	tiles, f := e.tiles(m), e.factor[0]
	point := f*units*m + e.slack
	s.taps = grow(s.taps, 16*16)
	off := s.every(16)
	if l.adjoint {
		for t := range off {
			off[t] = int32(16 * (t ^ 10)) // rows and columns 0, 1, 2, 3 to 2, 3, 0, 1
		}
	}
	for t := range tiles {
		r0, r1 := t*m/tiles, (t+1)*m/tiles
		h := r1 - r0
		step := h // phases are neighbours in Forward's summed index
		if l.adjoint {
			step = points * point // and products of their own in BackwardInput
		}
		for u := range units {
			e.path.transpose(s.taps, off, 0, l.src[(m0+r0)*l.row+(u0+u)*l.unit:], l.row, h, 1)
			e.path.winogradWeights(dst[f*(r0*units+u*h):], point, step, s.taps, h)
		}
	}
}

// winogradWeightsGo transforms h lanes of weights, taps[16*t+i] being tap t:
//
//	for phase < 4: dst[point*p+step*phase+i] = point p of the phase's four taps
//
// What lies behind a phase's h values may be overwritten, up to 16 values from
// their start.
func winogradWeightsGo(dst []float32, point, step int, taps []float32, h int) {
	for phase := range 4 {
		tap := func(a, b, i int) float32 { return taps[16*((2*a+phase/2)*4+2*b+phase%2)+i] }
		for i := range h {
			w00, w01, w10, w11 := tap(0, 0, i), tap(0, 1, i), tap(1, 0, i), tap(1, 1, i)
			for u, r := range [3][2]float32{{w00, w01}, {w00 + w10, w01 + w11}, {w10, w11}} {
				at := 3*u*point + step*phase + i
				dst[at], dst[at+point], dst[at+2*point] = r[0], r[0]+r[1], r[1]
			}
		}
	}
}

// winogradSink transforms the points' sums to output pixels.
type winogradSink struct {
	dst           []float32
	c             Conv
	height, tiles int
	scale         float32
}

func (w *winogradSink) store(e *engine, block []float32, ldc, m0, m, n0, n, _ int) {
	ow := w.c.OutW()
	for j := 0; j < n; {
		column := n0 + j
		row, tile := column/w.tiles, column%w.tiles
		run := min(w.tiles-tile, n-j)
		image, h := row/w.height, 2*(row%w.height)
		for i := range m {
			at := ((image*w.c.O+m0+i)*w.c.OutH()+h)*ow + 2*tile
			e.path.winogradOutput(w.dst[at:], ow, block[i*ldc+j:], m*ldc, run, w.scale)
		}
		j += run
	}
}

// winogradOutputGo transforms n tiles, whose points are src[p*point+j], to pixels
// (r,s) at dst[r*row+2*j+s], times scale.
func winogradOutputGo(dst []float32, row int, src []float32, point, n int, scale float32) {
	for j := range n {
		m := func(p int) float32 { return src[p*point+j] }
		top := [3]float32{m(0) + m(3), m(1) + m(4), m(2) + m(5)}
		bottom := [3]float32{m(3) + m(6), m(4) + m(7), m(5) + m(8)}
		dst[2*j], dst[2*j+1] = scale*(top[0]+top[1]), scale*(top[1]+top[2])
		dst[row+2*j], dst[row+2*j+1] = scale*(bottom[0]+bottom[1]), scale*(bottom[1]+bottom[2])
	}
}

// What is transformed is used while the caches still hold it: as many images at a
// time as make about winogradFloats values. But all weights are read for each
// such part, so the larger they are, the more tiles it has to have.
const (
	winogradFloats  = 1 << 19
	winogradReading = 2 << 10 // weights for each of a part's tiles
)

// images is c with as many images as are transformed at a time; values is what
// becomes of a tile in all channels.
func (c Conv) images(values int) Conv {
	tiles := c.H * c.W / 16
	c.N = even(c.N, clamp(max(winogradFloats/(values*tiles), c.C*c.O/winogradReading/tiles), 1, c.N))
	return c
}

func (c Conv) forwardWinograd(y, x, w []float32, scale float32) {
	height, tiles := c.H/4, c.W/4
	part := c.images(points * 4 * c.C)
	q := newConv(c, engine{m: c.O, n: part.N * height * tiles, units: c.C, groups: points})
	for g := range points {
		q.factor[g] = 4
	}
	q.slack = 16
	width := 2 * q.path.lanes
	panels := (q.n + width - 1) / width
	transformed := tensors.get(panels * points * c.C * 4 * width)
	q.winogradL = winogradLeft{src: w, row: c.C * 16, unit: 16}
	q.engine.a, q.engine.b, q.engine.out = &q.winogradL, &q.tilesR, &q.winogradS
	q.planGroups(128, 64)
	q.prepack()
	for n := 0; n < c.N; n += part.N {
		part.N = min(part.N, c.N-n)
		q.n = part.N * height * tiles
		q.tilesR = tilesRight{c: part, x: x[n*c.C*c.H*c.W:], dst: transformed, width: width, height: height, tiles: tiles}
		parallel(&q.tilesR, part.N*c.C)
		q.winogradS = winogradSink{dst: y[n*c.O*c.OutH()*c.OutW():], c: part, height: height, tiles: tiles, scale: scale}
		q.run()
	}
	tensors.put(transformed)
	q.unpack()
	q.release()
}
