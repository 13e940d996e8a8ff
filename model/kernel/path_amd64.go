//go:build !noasm

package kernel

import "github.com/klauspost/cpuid/v2"

var avx512Path = path{name: "avx512", variant: "avx512-plain", rows: 14, lanes: 16, tile: tileAVX512,
	tilePairs: tilePairsGo(16), tileWhole: tilePairs512, wordBytes: 2, transpose: transpose512, gather: gather512,
	peak: peakAVX512, peakLanes: 16, loops: &avxLoops}
var avx2Path = path{name: "avx2", variant: "avx2", rows: 6, lanes: 8, tile: tileAVX2, tilePairs: tilePairsGo(8),
	tileWhole: tilePairs256, wordBytes: 2, transpose: transpose256, gather: gather256,
	peak: peakAVX2, peakLanes: 8, loops: &avxLoops}

// avx512VNNIPath is avx512Path where the processor multiplies bytes.
var avx512VNNIPath = withVNNI(avx512Path)

func withVNNI(p path) path {
	p.variant, p.tileWhole, p.wordBytes = "avx512-vnni", tileVNNI, 4
	return p
}

// avx512BF16Path is avx512VNNIPath where the processor multiplies bfloat16 too.
var avx512BF16Path = withBF16(avx512VNNIPath)

func withBF16(p path) path {
	l := *p.loops
	l.roundPairs, l.roundNeighbours = roundPairsAVX, roundNeighboursAVX
	p.variant, p.tilePairs, p.loops, p.bf16 = "avx512-bf16", tileBF16, &l, true
	return p
}

// avx512AMXPath multiplies bfloat16 on tile registers.
var avx512AMXPath = withAMX(avx512BF16Path)

func withAMX(p path) path {
	p.variant, p.tileAMX = "avx512-amx", tileOfAMX
	return p
}

// amxConfigs says for each number of rows how large the tile registers are.
var amxConfigs = func() (all [amxRows + 1][64]byte) {
	for rows := range all {
		c := &all[rows]
		c[0] = 1 // palette
		for tile := range 5 {
			c[16+2*tile] = 64 // bytes of a row
			c[48+tile] = amxRows
			if tile < 3 { // the sums and a
				c[48+tile] = byte(rows)
			}
		}
	}
	return all
}()

func tileOfAMX(c []float32, ldc int, a []float32, lda, m int, b []float32, k int) {
	tileAMX(&c[0], uintptr(4*ldc), &a[0], uintptr(4*lda), &b[0], uintptr(k), &amxConfigs[m][0])
}

// paths lists what this machine can run, the fastest first. Those of one name
// differ in how they multiply bfloat16 and bytes only.
func paths() []*path {
	var all []*path
	if cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512BW, cpuid.BMI2, cpuid.AVX2, cpuid.FMA3) {
		if cpuid.CPU.Supports(cpuid.AVX512VNNI) {
			if cpuid.CPU.Supports(cpuid.AVX512BF16) {
				if hasAMX() {
					all = append(all, &avx512AMXPath)
				}
				all = append(all, &avx512BF16Path)
			}
			all = append(all, &avx512VNNIPath)
		}
		all = append(all, &avx512Path)
	}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		all = append(all, &avx2Path)
	}
	return append(all, &goPath)
}

type tileFunc = func(c *float32, ldc uintptr, a, b0, b1 *float32, off *int32, k uintptr)

var tiles512 = [...]tileFunc{nil, tileAVX512_1, tileAVX512_2, tileAVX512_3, tileAVX512_4, tileAVX512_5, tileAVX512_6,
	tileAVX512_7, tileAVX512_8, tileAVX512_9, tileAVX512_10, tileAVX512_11, tileAVX512_12, tileAVX512_13, tileAVX512_14}

var tiles256 = [...]tileFunc{nil, tileAVX2_1, tileAVX2_2, tileAVX2_3, tileAVX2_4, tileAVX2_5, tileAVX2_6}

var tilesBF16 = [...]tileFunc{nil, tileBF16_1, tileBF16_2, tileBF16_3, tileBF16_4, tileBF16_5, tileBF16_6,
	tileBF16_7, tileBF16_8, tileBF16_9, tileBF16_10, tileBF16_11, tileBF16_12, tileBF16_13, tileBF16_14}

var tilesVNNI = [...]tileFunc{nil, tileVNNI_1, tileVNNI_2, tileVNNI_3, tileVNNI_4, tileVNNI_5, tileVNNI_6,
	tileVNNI_7, tileVNNI_8, tileVNNI_9, tileVNNI_10, tileVNNI_11, tileVNNI_12, tileVNNI_13, tileVNNI_14}

var tilesPairs512 = [...]tileFunc{nil, tilePairs512_1, tilePairs512_2, tilePairs512_3, tilePairs512_4, tilePairs512_5, tilePairs512_6,
	tilePairs512_7, tilePairs512_8, tilePairs512_9, tilePairs512_10, tilePairs512_11, tilePairs512_12, tilePairs512_13, tilePairs512_14}

var tilesPairs256 = [...]tileFunc{nil, tilePairs256_1, tilePairs256_2, tilePairs256_3, tilePairs256_4, tilePairs256_5, tilePairs256_6}

func tileVNNI(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32) {
	tilesVNNI[m](&c[0], uintptr(4*ldc), &a[0], &b[b0], &b[b1], &off[0], uintptr(len(off)))
}

func tilePairs512(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32) {
	tilesPairs512[m](&c[0], uintptr(4*ldc), &a[0], &b[b0], &b[b1], &off[0], uintptr(len(off)))
}

func tilePairs256(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32) {
	tilesPairs256[m](&c[0], uintptr(4*ldc), &a[0], &b[b0], &b[b1], &off[0], uintptr(len(off)))
}

func tileBF16(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32) {
	tilesBF16[m](&c[0], uintptr(4*ldc), &a[0], &b[b0], &b[b1], &off[0], uintptr(len(off)))
}

func roundPairsAVX(dst, a, b []float32) {
	n := len(dst) &^ 15
	a, b = a[:len(dst)], b[:len(dst)]
	if n > 0 {
		roundPairsBF16(&dst[0], &a[0], &b[0], n)
	}
	roundPairsGo(dst[n:], a[n:], b[n:])
}

func roundNeighboursAVX(dst, src []float32) {
	n := len(dst) &^ 15
	src = src[:2*len(dst)]
	if n > 0 {
		roundNeighboursBF16(&dst[0], &src[0], n)
	}
	roundNeighboursGo(dst[n:], src[2*n:])
}

func tileAVX512(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32) {
	tiles512[m](&c[0], uintptr(4*ldc), &a[0], &b[b0], &b[b1], &off[0], uintptr(len(off)))
}

func tileAVX2(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32) {
	tiles256[m](&c[0], uintptr(4*ldc), &a[0], &b[b0], &b[b1], &off[0], uintptr(len(off)))
}

func transpose512(dst []float32, off *[16]int32, step int, src []float32, stride, m, blocks int) {
	transposeAVX512(&dst[0], &off[0], uintptr(4*step), &src[0], uintptr(4*stride), uintptr(m), uintptr(blocks))
}

func transpose256(dst []float32, off *[16]int32, step int, src []float32, stride, m, blocks int) {
	transposeAVX2(&dst[0], &off[0], uintptr(4*step), &src[0], uintptr(4*stride), uintptr(m), uintptr(blocks))
}

func gather512(dst, src []float32, base *[8]int, run int, off []int32) {
	if run == 4 {
		gather8x4(&dst[0], &src[0], &base[0], &off[0], len(off))
	} else {
		gather4x8(&dst[0], &src[0], &base[0], &off[0], len(off))
	}
}

func gather256(dst, src []float32, base *[8]int, run int, off []int32) {
	if run == 4 {
		gather4x4(&dst[0], &src[0], &base[0], &off[0], len(off))
	} else {
		gather2x8(&dst[0], &src[0], &base[0], &off[0], len(off))
	}
}

// The assembly does multiples of eight values, plain Go the rest.
var avxLoops = loops{
	scale: scaleAVX, axpy: axpyAVX, add: addAVX, dot32: dot32AVX, dot64: dot64AVX, sum64: sum64AVX,
	deviation64: deviation64AVX, lineLeaky: lineLeakyAVX, gatedSums: gatedSumsAVX, gatedLine: gatedLineAVX,
	adam: adamAVX, tanh: tanhAVX, pairs: pairsAVX, zip: zipAVX, zipLine: zipLineAVX,
	winogradInput: winogradInputAVX, winogradAdjoint: winogradAdjointAVX,
	winogradWeights: winogradWeightsAVX, winogradOutput: winogradOutputAVX,
	winogradRows: winogradRowsAVX, winogradPixels: winogradPixelsAVX, roundPairs: roundPairsGo, roundNeighbours: roundNeighboursGo,
	squaredDifference: squaredDifferenceAVX,
	winograd3Input:    winograd3InputAVX, winograd3Output: winograd3OutputAVX, winograd3Pixels: winograd3PixelsAVX,
	winograd3Weights: winograd3WeightsAVX, winograd3Taps: winograd3TapsAVX,
}

func scaleAVX(dst, src []float32, scale float32) {
	n := len(dst) &^ 7
	src = src[:len(dst)]
	if n > 0 {
		scaleAVX2(&dst[0], &src[0], n, scale)
	}
	scaleGo(dst[n:], src[n:], scale)
}

func squaredDifferenceAVX(a, b []uint8) (sum int64) {
	b = b[:len(a)]
	for len(a) >= 16 {
		n := min(len(a), 32752) &^ 15
		sum += squaredDifferenceAVX2(&a[0], &b[0], n)
		a, b = a[n:], b[n:]
	}
	return sum + squaredDifferenceGo(a, b)
}

func axpyAVX(dst, x []float32, a float32) {
	n := len(dst) &^ 7
	x = x[:len(dst)]
	if n > 0 {
		axpyAVX2(&dst[0], &x[0], n, a)
	}
	axpyGo(dst[n:], x[n:], a)
}

func addAVX(dst, a, b []float32) {
	n := len(dst) &^ 7
	a, b = a[:len(dst)], b[:len(dst)]
	if n > 0 {
		addAVX2(&dst[0], &a[0], &b[0], n)
	}
	addGo(dst[n:], a[n:], b[n:])
}

func dot32AVX(a, b []float32) (sum float32) {
	n := len(a) &^ 7
	b = b[:len(a)]
	if n > 0 {
		sum = dot32AVX2(&a[0], &b[0], n)
	}
	return sum + dot32Go(a[n:], b[n:])
}

func dot64AVX(a, b []float32) (sum float64) {
	n := len(a) &^ 7
	b = b[:len(a)]
	if n > 0 {
		sum = dot64AVX2(&a[0], &b[0], n)
	}
	return sum + dot64Go(a[n:], b[n:])
}

func sum64AVX(x []float32) (sum float64) {
	n := len(x) &^ 7
	if n > 0 {
		sum = sum64AVX2(&x[0], n)
	}
	return sum + sum64Go(x[n:])
}

func deviation64AVX(x []float32, mean float64) (sum float64) {
	n := len(x) &^ 7
	if n > 0 {
		sum = deviation64AVX2(&x[0], n, mean)
	}
	return sum + deviation64Go(x[n:], mean)
}

func lineLeakyAVX(y, x []float32, a, d, slope float32) {
	n := len(y) &^ 7
	x = x[:len(y)]
	if n > 0 {
		lineLeakyAVX2(&y[0], &x[0], n, a, d, slope)
	}
	lineLeakyGo(y[n:], x[n:], a, d, slope)
}

func gatedSumsAVX(dy, x []float32, a, d, slope float32) (plain, weighted float64) {
	n := len(dy) &^ 7
	x = x[:len(dy)]
	if n > 0 {
		plain, weighted = gatedSumsAVX2(&dy[0], &x[0], n, a, d, slope)
	}
	p, w := gatedSumsGo(dy[n:], x[n:], a, d, slope)
	return plain + p, weighted + w
}

func gatedLineAVX(dx, dy, x []float32, f *[6]float32) {
	n := len(dx) &^ 7
	dy, x = dy[:len(dx)], x[:len(dx)]
	if n > 0 {
		gatedLineAVX2(&dx[0], &dy[0], &x[0], n, f[0], f[1], f[2], f[3], f[4], f[5])
	}
	gatedLineGo(dx[n:], dy[n:], x[n:], f)
}

func adamAVX(a *adam, p, m, v, g []float32) {
	n := len(p) &^ 7
	m, v, g = m[:len(p)], v[:len(p)], g[:len(p)]
	if n > 0 {
		adamAVX2(&p[0], &m[0], &v[0], &g[0], n, a.keep1, a.new1, a.keep2, a.new2, a.step, a.root, a.eps)
	}
	adamGo(a, p[n:], m[n:], v[n:], g[n:])
}

func tanhAVX(y, x []float32) {
	n := len(y) &^ 7
	x = x[:len(y)]
	if n > 0 {
		tanhAVX2(&y[0], &x[0], n)
	}
	tanhGo(y[n:], x[n:])
}

func pairsAVX(even, odd, src []float32) {
	n := len(even) &^ 7
	odd, src = odd[:len(even)], src[:2*len(even)]
	if n > 0 {
		pairsAVX2(&even[0], &odd[0], &src[0], n)
	}
	pairsGo(even[n:], odd[n:], src[2*n:])
}

func zipAVX(dst, even, odd []float32, scale float32) {
	n := len(even) &^ 7
	odd, dst = odd[:len(even)], dst[:2*len(even)]
	if n > 0 {
		zipAVX2(&dst[0], &even[0], &odd[0], n, scale)
	}
	zipGo(dst[2*n:], even[n:], odd[n:], scale)
}

func zipLineAVX(dst, even, odd []float32, a, d, slope float32) {
	n := len(even) &^ 7
	odd, dst = odd[:len(even)], dst[:2*len(even)]
	if n > 0 {
		zipLineAVX2(&dst[0], &even[0], &odd[0], n, a, d, slope)
	}
	zipLineGo(dst[2*n:], even[n:], odd[n:], a, d, slope)
}

func winogradInputAVX(dst []float32, point int, src []float32, row, mid, n int) {
	if n >= 4 {
		winogradInputAVX2(&dst[0], uintptr(4*point), &src[0], uintptr(4*row), uintptr(4*mid), n&^3)
	}
	if done := n &^ 3; done < n {
		winogradInputGo(dst[done:], point, src[done:], row, mid, n-done)
	}
}

func winogradAdjointAVX(dst []float32, point int, src []float32, row, mid, n int) {
	if n >= 4 {
		winogradAdjointAVX2(&dst[0], uintptr(4*point), &src[0], uintptr(4*row), uintptr(4*mid), n&^3)
	}
	if done := n &^ 3; done < n {
		winogradAdjointGo(dst[done:], point, src[done:], row, mid, n-done)
	}
}

func winogradPixelsAVX(dst []float32, point int, src []float32, part, n int) {
	if n >= 4 {
		winogradPixelsAVX2(&dst[0], uintptr(4*point), &src[0], uintptr(4*part), n&^3)
	}
	if done := n &^ 3; done < n {
		winogradPixelsGo(dst[done:], point, src[done:], part, n-done)
	}
}

func winogradWeightsAVX(dst []float32, point, step int, taps []float32, h int) {
	if h > 8 {
		winogradWeights16AVX2(&dst[0], uintptr(4*point), uintptr(4*step), &taps[0])
	} else {
		winogradWeights8AVX2(&dst[0], uintptr(4*point), uintptr(4*step), &taps[0])
	}
}

func winogradOutputAVX(dst []float32, row int, src []float32, point, n int, scale float32) {
	if n >= 4 {
		winogradOutputAVX2(&dst[0], uintptr(4*row), &src[0], uintptr(4*point), n&^3, scale)
	}
	if done := n &^ 3; done < n {
		winogradOutputGo(dst[2*done:], row, src[done:], point, n-done, scale)
	}
}

func winogradRowsAVX(dst []float32, row int, src []float32, point, n int, top, a, d, slope float32) {
	if n >= 4 {
		winogradRowsAVX2(&dst[0], uintptr(4*row), &src[0], uintptr(4*point), n&^3, top, a, d, slope)
	}
	if done := n &^ 3; done < n {
		winogradRowsGo(dst[4*done:], row, src[done:], point, n-done, top, a, d, slope)
	}
}
