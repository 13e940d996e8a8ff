package kernel

// Winograd's F(4x4,3x3) computes four by four pixels of a 3x3 convolution of
// stride 1 with 36 multiplications in place of 144. In one dimension, a tile of
// four pixels y comes from six inputs d and three weights g as
//
//	y = A' ((G g) * (B' d))
//
// where * multiplies value by value, and the matrices are those of Lavin and Gray
// ("Fast algorithms for convolutional neural networks", 2016), whose points are 0,
// 1, -1, 2, -2 and infinity; below, six, four and three are the lines of B', A' and
// G. Two dimensions take the same of the same. The gradients need no others: by the
// input, it is the convolution of dy with the weights turned by a half turn; by the
// weights, it is G' ((A dy) * (B' d)), summed over the tiles.
//
// The rounding error is four to eleven times that of the direct sum: see NOTES.md.

const points3 = 36

// fits3 reports whether this way exists and is worth its while. Its tiles are as
// many as those of the 4x4 convolutions, the weights to be transformed fewer.
func (c Conv) fits3() bool {
	return c.K == 3 && c.Stride == 1 && c.Pad == 1 && c.H%4 == 0 && c.W%4 == 0 &&
		c.thin() >= winograd3Channels && c.tiles() >= winograd3Tiles
}

// Least numbers of channels and tiles, see NOTES.md. Tests lower both.
var winograd3Channels, winograd3Tiles = 16, 32

// spread3 is B' of six values.
func spread3(x0, x1, x2, x3, x4, x5 float32) (y0, y1, y2, y3, y4, y5 float32) {
	e, o := x4-4*x2, x3-4*x1
	f, p := x4-x2, 2*x3-2*x1
	return 4*x0 - 5*x2 + x4, e + o, e - o, f + p, f - p, 4*x1 - 5*x3 + x5
}

// collect3 is A' of six values.
func collect3(x0, x1, x2, x3, x4, x5 float32) (y0, y1, y2, y3 float32) {
	s, d, t, e := x1+x2, x1-x2, x3+x4, x3-x4
	return x0 + s + t, d + 2*e, s + 4*t, d + 8*e + x5
}

// taps3 is G of three values.
func taps3(x0, x1, x2 float32) (y0, y1, y2, y3, y4, y5 float32) {
	e, o := (x0+x2)*(-1.0/6), x1*(-1.0/6)
	f, p := x0*(1.0/24)+x2*(1.0/6), x1*(1.0/12)
	return x0 * 0.25, e + o, e - o, f + p, f - p, x2
}

// pixels3 is A of four values.
func pixels3(x0, x1, x2, x3 float32) (y0, y1, y2, y3, y4, y5 float32) {
	e, o := x0+x2, x1+x3
	f, p := x0+4*x2, 2*x1+8*x3
	return x0, e + o, e - o, f + p, f - p, x3
}

// sums3 is G' of six values.
func sums3(x0, x1, x2, x3, x4, x5 float32) (y0, y1, y2 float32) {
	s, d, t, e := x1+x2, x1-x2, x3+x4, x3-x4
	return x0*0.25 + s*(-1.0/6) + t*(1.0/24), d*(-1.0/6) + e*(1.0/12), s*(-1.0/6) + t*(1.0/6) + x5
}

// winograd3InputGo transforms n tiles of an input. Pixel (r,c) of a tile's six by
// six is src[r*row+c%4*part+c/4+j]; point p of the result goes to dst[p*point+j].
func winograd3InputGo(dst []float32, point int, src []float32, row, part, n int) {
	for j := range n {
		var t [6][6]float32 // [column][row]
		for c := range t {
			x := src[c%4*part+c/4+j:]
			t[c][0], t[c][1], t[c][2], t[c][3], t[c][4], t[c][5] =
				spread3(x[0], x[row], x[2*row], x[3*row], x[4*row], x[5*row])
		}
		for u := range 6 {
			to := dst[6*u*point+j:]
			to[0], to[point], to[2*point], to[3*point], to[4*point], to[5*point] =
				spread3(t[0][u], t[1][u], t[2][u], t[3][u], t[4][u], t[5][u])
		}
	}
}

// winograd3OutputGo transforms n tiles, whose points are src[p*point+j], to pixels
// (r,s) at dst[r*row+4*j+s], times scale.
func winograd3OutputGo(dst []float32, row int, src []float32, point, n int, scale float32) {
	for j := range n {
		var t [6][4]float32 // [column][row]
		for c := range t {
			x := src[c*point+j:]
			t[c][0], t[c][1], t[c][2], t[c][3] =
				collect3(x[0], x[6*point], x[12*point], x[18*point], x[24*point], x[30*point])
		}
		for r := range 4 {
			to := dst[r*row+4*j:][:4]
			to[0], to[1], to[2], to[3] = collect3(t[0][r], t[1][r], t[2][r], t[3][r], t[4][r], t[5][r])
			for i := range to {
				to[i] *= scale
			}
		}
	}
}

// winograd3PixelsGo transforms n tiles of dy, whose pixels (r,c) are
// src[r*row+c*part+j], to dst[p*point+j].
func winograd3PixelsGo(dst []float32, point int, src []float32, row, part, n int) {
	for j := range n {
		var t [4][6]float32 // [column][row]
		for c := range t {
			x := src[c*part+j:]
			t[c][0], t[c][1], t[c][2], t[c][3], t[c][4], t[c][5] = pixels3(x[0], x[row], x[2*row], x[3*row])
		}
		for u := range 6 {
			to := dst[6*u*point+j:]
			to[0], to[point], to[2*point], to[3*point], to[4*point], to[5*point] =
				pixels3(t[0][u], t[1][u], t[2][u], t[3][u])
		}
	}
}

// winograd3WeightsGo transforms n lanes of weights, taps[16*t+i] being tap t, to
// dst[p*point+i]. What lies behind the n values may be overwritten, up to 16 values
// from their start.
func winograd3WeightsGo(dst []float32, point int, taps []float32, n int) {
	for i := range n {
		var t [3][6]float32 // [column][row]
		for c := range t {
			x := taps[16*c+i:]
			t[c][0], t[c][1], t[c][2], t[c][3], t[c][4], t[c][5] = taps3(x[0], x[48], x[96])
		}
		for u := range 6 {
			to := dst[6*u*point+i:]
			to[0], to[point], to[2*point], to[3*point], to[4*point], to[5*point] = taps3(t[0][u], t[1][u], t[2][u])
		}
	}
}

// winograd3TapsGo transforms n lanes of points src[p*point+j] to taps
// dst[t*part+j], times scale.
func winograd3TapsGo(dst []float32, part int, src []float32, point, n int, scale float32) {
	for j := range n {
		var t [6][3]float32 // [column][row]
		for c := range t {
			x := src[c*point+j:]
			t[c][0], t[c][1], t[c][2] = sums3(x[0], x[6*point], x[12*point], x[18*point], x[24*point], x[30*point])
		}
		for r := range 3 {
			y0, y1, y2 := sums3(t[0][r], t[1][r], t[2][r], t[3][r], t[4][r], t[5][r])
			to := dst[3*r*part+j:]
			to[0], to[part], to[2*part] = scale*y0, scale*y1, scale*y2
		}
	}
}
