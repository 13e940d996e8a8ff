package kernel

import "math"

// loops are a path's vector loops. Slices are of equal length; a destination
// may be a source.
type loops struct {
	scale       func(dst, src []float32, scale float32)
	axpy        func(dst, x []float32, a float32)
	add         func(dst, a, b []float32)
	dot32       func(a, b []float32) float32
	dot64       func(a, b []float32) float64
	sum64       func(x []float32) float64
	deviation64 func(x []float32, mean float64) float64
	lineLeaky   func(y, x []float32, a, d, slope float32)
	gatedSums   func(dy, x []float32, a, d, slope float32) (plain, weighted float64)
	gatedLine   func(dx, dy, x []float32, f *[6]float32)
	adam        func(a *adam, p, m, v, g []float32)
	tanh        func(y, x []float32)
	pairs       func(even, odd, src []float32)
	zip         func(dst, even, odd []float32, scale float32)
	zipLine     func(dst, even, odd []float32, a, d, slope float32)

	squaredDifference func(a, b []uint8) int64

	roundPairs      func(dst, a, b []float32)
	roundNeighbours func(dst, src []float32)

	winogradInput   func(dst []float32, point int, src []float32, row, mid, n int)
	winogradAdjoint func(dst []float32, point int, src []float32, row, mid, n int)
	winogradPixels  func(dst []float32, point int, src []float32, part, n int)
	winogradWeights func(dst []float32, point, step int, taps []float32, h int)
	winogradOutput  func(dst []float32, row int, src []float32, point, n int, scale float32)
	winogradRows    func(dst []float32, row int, src []float32, point, n int, top, a, d, slope float32)

	winograd3Input   func(dst []float32, point int, src []float32, row, part, n int)
	winograd3Output  func(dst []float32, row int, src []float32, point, n int, scale float32)
	winograd3Pixels  func(dst []float32, point int, src []float32, row, part, n int)
	winograd3Weights func(dst []float32, point int, taps []float32, n int)
	winograd3Taps    func(dst []float32, part int, src []float32, point, n int, scale float32)
}

var goLoops = loops{
	scale: scaleGo, axpy: axpyGo, add: addGo, dot32: dot32Go, dot64: dot64Go, sum64: sum64Go,
	deviation64: deviation64Go, lineLeaky: lineLeakyGo, gatedSums: gatedSumsGo, gatedLine: gatedLineGo,
	adam: adamGo, tanh: tanhGo, pairs: pairsGo, zip: zipGo, zipLine: zipLineGo,
	roundPairs: roundPairsGo, roundNeighbours: roundNeighboursGo,
	winogradInput: winogradInputGo, winogradAdjoint: winogradAdjointGo, winogradWeights: winogradWeightsGo, winogradOutput: winogradOutputGo,
	winogradRows: winogradRowsGo, winogradPixels: winogradPixelsGo, squaredDifference: squaredDifferenceGo,
	winograd3Input: winograd3InputGo, winograd3Output: winograd3OutputGo, winograd3Pixels: winograd3PixelsGo,
	winograd3Weights: winograd3WeightsGo, winograd3Taps: winograd3TapsGo,
}

// scaleGo: dst[i] = scale * src[i].
func scaleGo(dst, src []float32, scale float32) {
	src = src[:len(dst)]
	for i, v := range src {
		dst[i] = scale * v
	}
}

// axpyGo: dst[i] += a * x[i].
func axpyGo(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += a * x[i]
	}
}

// addGo: dst[i] = a[i] + b[i].
func addGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

// dot32Go: sum of a[i]*b[i] in float32.
func dot32Go(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// dot64Go: sum of a[i]*b[i] in float64.
func dot64Go(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += float64(x[0]) * float64(y[0])
		s1 += float64(x[1]) * float64(y[1])
		s2 += float64(x[2]) * float64(y[2])
		s3 += float64(x[3]) * float64(y[3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// sum64Go: sum of x[i] in float64.
func sum64Go(x []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(x) >= 4; x = x[4:] {
		s0 += float64(x[0])
		s1 += float64(x[1])
		s2 += float64(x[2])
		s3 += float64(x[3])
	}
	for _, v := range x {
		s0 += float64(v)
	}
	return (s0 + s1) + (s2 + s3)
}

// deviation64Go: sum of (x[i]-mean)^2 in float64.
func deviation64Go(x []float32, mean float64) float64 {
	var s0, s1, s2, s3 float64
	for ; len(x) >= 4; x = x[4:] {
		d0, d1 := float64(x[0])-mean, float64(x[1])-mean
		d2, d3 := float64(x[2])-mean, float64(x[3])-mean
		s0 += d0 * d0
		s1 += d1 * d1
		s2 += d2 * d2
		s3 += d3 * d3
	}
	for _, v := range x {
		d := float64(v) - mean
		s0 += d * d
	}
	return (s0 + s1) + (s2 + s3)
}

// gate is the derivative of the leaky ReLU at z.
func gate(z, slope float32) float32 {
	if z > 0 {
		return 1
	}
	return slope
}

// lineLeakyGo: z = a*x[i] + d; y[i] = z where z > 0, else slope*z.
func lineLeakyGo(y, x []float32, a, d, slope float32) {
	x = x[:len(y)]
	for i, v := range x {
		z := a*v + d
		y[i] = z * gate(z, slope)
	}
}

// gatedSumsGo: sums of dz and dz*x in float64, with dz = dy[i] where
// a*x[i]+d > 0, else slope*dy[i].
func gatedSumsGo(dy, x []float32, a, d, slope float32) (plain, weighted float64) {
	x = x[:len(dy)]
	for i, g := range dy {
		dz := float64(g * gate(a*x[i]+d, slope))
		plain += dz
		weighted += dz * float64(x[i])
	}
	return plain, weighted
}

// gatedLineGo: dx[i] = k*dz + q*x[i] + r for f = {a, d, slope, k, q, r}, dz as
// in gatedSumsGo.
func gatedLineGo(dx, dy, x []float32, f *[6]float32) {
	dy, x = dy[:len(dx)], x[:len(dx)]
	a, d, slope, k, q, r := f[0], f[1], f[2], f[3], f[4], f[5]
	for i, g := range dy {
		dz := g * gate(a*x[i]+d, slope)
		dx[i] = k*dz + q*x[i] + r
	}
}

// adamGo is Adam's loop, see there.
func adamGo(a *adam, p, m, v, g []float32) {
	m, v, g = m[:len(p)], v[:len(p)], g[:len(p)]
	keep1, new1, keep2, new2 := a.keep1, a.new1, a.keep2, a.new2
	for i, d := range g {
		mi := keep1*m[i] + new1*d
		vi := keep2*v[i] + new2*d*d
		m[i], v[i] = mi, vi
		p[i] -= a.step * mi / (float32(math.Sqrt(float64(vi)))/a.root + a.eps)
	}
}

// tanhGo: y[i] = tanh(x[i]), by way of float64.
func tanhGo(y, x []float32) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] = float32(math.Tanh(float64(v)))
	}
}

// pairsGo: even[i] = src[2*i], odd[i] = src[2*i+1].
func pairsGo(even, odd, src []float32) {
	odd, src = odd[:len(even)], src[:2*len(even)]
	for i := range even {
		even[i], odd[i] = src[2*i], src[2*i+1]
	}
}

// zipGo: dst[2*i] = scale*even[i], dst[2*i+1] = scale*odd[i].
func zipGo(dst, even, odd []float32, scale float32) {
	odd, dst = odd[:len(even)], dst[:2*len(even)]
	for i := range even {
		dst[2*i], dst[2*i+1] = scale*even[i], scale*odd[i]
	}
}

// zipLineGo is zipGo of what lineLeakyGo makes of even and odd.
func zipLineGo(dst, even, odd []float32, a, d, slope float32) {
	odd, dst = odd[:len(even)], dst[:2*len(even)]
	for i := range even {
		e, o := a*even[i]+d, a*odd[i]+d
		dst[2*i], dst[2*i+1] = e*gate(e, slope), o*gate(o, slope)
	}
}
