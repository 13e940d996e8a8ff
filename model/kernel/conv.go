package kernel

import (
	"fmt"
	"math"
)

// Conv is the shape of a convolution: x (N,C,H,W) by weights w (O,C,K,K) gives
// y (N,O,OutH,OutW), with the stride and zero padding the same on both axes.
// It needs Pad < K, Stride <= 4 and an output of at least one pixel.
//
// With BF16 the values that are multiplied are rounded to bfloat16, to nearest and
// ties to even, and their products summed in float32. Where HasBF16 is false this
// is emulated, slowly. Convolutions that are plain matrix products, the kernel
// being as large as the input, stay in float32, and so do the weights' gradients
// where the output is of odd width.
type Conv struct {
	N, C, H, W, O, K, Stride, Pad int
	BF16                          bool
}

// OutH is the output's height.
func (c Conv) OutH() int { return (c.H+2*c.Pad-c.K)/c.Stride + 1 }

// OutW is the output's width.
func (c Conv) OutW() int { return (c.W+2*c.Pad-c.K)/c.Stride + 1 }

func (c Conv) check(x, w, y []float32) {
	if c.N < 1 || c.C < 1 || c.O < 1 || c.K < 1 || c.Stride < 1 || c.Stride > 4 || c.Pad < 0 || c.Pad >= c.K ||
		c.H+2*c.Pad < c.K || c.W+2*c.Pad < c.K {
		panic(fmt.Sprintf("kernel: convolution %+v is not possible", c))
	}
	if len(x) != c.N*c.C*c.H*c.W || len(w) != c.O*c.C*c.K*c.K || len(y) != c.N*c.O*c.OutH()*c.OutW() {
		panic(fmt.Sprintf("kernel: convolution %+v with slices of %d, %d and %d values", c, len(x), len(w), len(y)))
	}
}

// full reports whether the kernel covers the whole input, so that the
// convolution is a matrix product.
func (c Conv) full() bool { return c.Pad == 0 && c.H == c.K && c.W == c.K }

// taps is how many steps of Stride a kernel's side reaches beyond its first.
func (c Conv) taps() int { return (c.K - 1) / c.Stride }

// conv is a convolution being computed.
type conv struct {
	Conv
	engine
	weights weightsLeft
	rows    rowsLeft
	cells   cellsRight
	patches patchesRight
	plain   plainSink
	planes  planesSink
	phases  phasesSink
	pad     padding

	winogradL winogradLeft
	tilesR    tilesRight
	winogradS winogradSink
	adjointR  adjointTiles
	adjointS  adjointSink
	pixels    pixelTiles
	inputs    panelRows
	tapsS     tapsSink

	weights3 weights3
	squares  inputSquares
	squaresS squaresSink
	pixelS   pixelSquares
	taps3    taps3Sink

	off []int32 // offsets of the summed index, or of the taps
}

var convs freelist[conv]

func newConv(c Conv, e engine) *conv {
	q := convs.get()
	*q = conv{Conv: c, engine: e, off: q.off}
	q.path, q.pairs = active, c.BF16
	return q
}

func (q *conv) release() {
	*q = conv{off: q.off}
	convs.put(q)
}

// Forward computes y = scale * conv(x, w):
//
//	y[n,o,i,j] = scale * sum over c, kh, kw of
//		w[o,c,kh,kw] * x[n,c,Stride*i+kh-Pad,Stride*j+kw-Pad]
//
// with x zero outside its bounds.
func (c Conv) Forward(y, x, w []float32, scale float32) {
	c.check(x, w, y)
	if c.full() {
		scaledMatMul(y, x, w, c.N, c.O, c.C*c.K*c.K, false, true, scale)
		return
	}
	switch {
	case c.BF16:
		c.forwardBF16(y, x, w, scale)
	case c.winograd():
		c.forwardWinograd(y, x, w, scale)
	case c.fits3():
		c.forward3(y, x, w, scale)
	default:
		c.forwardDirect(y, x, w, scale)
	}
}

func (c Conv) forwardDirect(y, x, w []float32, scale float32) {
	oh, ow, kk := c.OutH(), c.OutW(), c.K*c.K
	q := newConv(c, engine{m: c.O, n: c.N * oh * ow, units: c.C, groups: 1})
	q.factor[0] = kk
	split := q.splitPhases(x)
	q.off = growInts(q.off, c.C*kk)
	q.pad.offsets(q.off, c)
	q.rows = rowsLeft{src: w, stride: c.C * kk, image: c.C * kk, factor: kk}
	q.cells = cellsRight{src: split, height: oh, width: ow, row: q.pad.pitch, image: c.C * q.pad.plane}
	q.cells.groups[0] = cells{off: q.off}
	q.planes = planesSink{dst: y, channels: c.O, plane: oh * ow, scale: scale}
	q.engine.a, q.engine.b, q.engine.out = &q.rows, &q.cells, &q.planes
	q.plan(false)
	q.run()
	tensors.put(split)
	q.release()
}

// BackwardInput computes dx = scale times the adjoint of Forward in x:
//
//	dx[n,c,h,w] = scale * sum over o, kh, kw, i, j with
//		Stride*i+kh-Pad = h and Stride*j+kw-Pad = w of w[o,c,kh,kw] * dy[n,o,i,j]
//
// It is the forward pass of a transposed convolution from O to C channels
// whose weights are stored (in, out, K, K).
func (c Conv) BackwardInput(dx, dy, w []float32, scale float32) {
	c.backwardInput(dx, dy, w, scale, nil)
}

// backwardInput is BackwardInput, with packed weights and a finish where t is
// not nil.
func (c Conv) backwardInput(dx, dy, w []float32, scale float32, t *Transposed) {
	c.check(dx, w, dy)
	if c.full() {
		scaledMatMul(dx, dy, w, c.N, c.C*c.K*c.K, c.O, false, false, scale)
		return
	}
	switch {
	case c.BF16 && t == nil:
		c.backwardInputBF16(dx, dy, w, scale)
	case c.winograd():
		c.backwardInputWinograd(dx, dy, w, scale, t)
	case c.fits3() && t == nil:
		c.backwardInput3(dx, dy, w, scale)
	default:
		c.backwardInputDirect(dx, dy, w, scale, t)
	}
}

func (c Conv) backwardInputDirect(dx, dy, w []float32, scale float32, t *Transposed) {
	q := newConv(c, engine{m: c.C, units: c.O, groups: c.Stride * c.Stride})
	height, width := (c.H+c.Stride-1)/c.Stride, (c.W+c.Stride-1)/c.Stride
	q.n = c.N * height * width
	padded := q.padOutput(dy, height, width)
	q.cells = cellsRight{src: padded, height: height, width: width, row: q.pad.pitch, image: c.O * q.pad.plane}
	q.adjointOffsets()
	q.weights = weightsLeft{src: w, c: c}
	q.phases = phasesSink{dst: dx, c: c, height: height, width: width, scale: scale, finish: t.inStore()}
	q.engine.a, q.engine.b, q.engine.out = &q.weights, &q.cells, &q.phases
	q.plan(false)
	if t != nil {
		t.prepack(&q.engine)
	}
	q.run()
	q.engine.packed = nil
	tensors.put(padded)
	q.release()
}

// BackwardWeights computes dw = scale times the adjoint of Forward in w:
//
//	dw[o,c,kh,kw] = scale * sum over n, i, j of
//		dy[n,o,i,j] * x[n,c,Stride*i+kh-Pad,Stride*j+kw-Pad]
func (c Conv) BackwardWeights(dw, x, dy []float32, scale float32) {
	c.check(x, dw, dy)
	ow := c.OutW()
	if c.full() {
		scaledMatMul(dw, dy, x, c.O, c.C*c.K*c.K, c.N, true, false, scale)
		return
	}
	switch {
	case c.BF16 && ow%2 == 0:
		c.backwardWeightsDirect(dw, x, dy, scale, 2)
	case c.winogradWeights():
		c.backwardWeightsWinograd(dw, x, dy, scale)
	case c.fits3():
		c.backwardWeights3(dw, x, dy, scale)
	case c.exchanges():
		c.backwardWeightsExchanged(dw, x, dy, scale)
	default:
		c.backwardWeightsDirect(dw, x, dy, scale, 1)
	}
}

// backwardWeightsDirect takes pair output pixels, 1 or 2, in a value of the summed
// index.
func (c Conv) backwardWeightsDirect(dw, x, dy []float32, scale float32, pair int) {
	oh, ow, kk := c.OutH(), c.OutW(), c.K*c.K
	plane := oh * ow / pair
	q := newConv(c, engine{m: c.O, n: c.C * kk, units: c.N * plane, groups: 1})
	q.factor[0] = 1
	padded := q.padInput(x)
	q.pairs = pair == 2
	if q.pairs {
		single := padded
		padded = pairDistant(single, q.pad.plane, c.Stride)
		tensors.put(single)
		dy = neighbourWords(dy)
	}
	q.rows = rowsLeft{src: dy, stride: plane, image: plane, step: c.O * plane, factor: 1}
	q.patches = patchesRight{src: padded, c: c, pad: &q.pad, width: ow / pair, plane: plane, step: c.Stride * pair}
	q.plain = plainSink{dst: dw, stride: c.C * kk, scale: scale}
	q.engine.a, q.engine.b, q.engine.out = &q.rows, &q.patches, &q.plain
	q.plan(true)
	q.runSplit(&q.plain)
	tensors.put(padded)
	if q.pairs {
		tensors.put(dy)
	}
	q.release()
}

func offset(n int) int32 {
	if n > math.MaxInt32 {
		panic("kernel: tensor of more than 2^31 values")
	}
	return int32(n)
}
