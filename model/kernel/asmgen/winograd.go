package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type vecFunc = func() reg.VecVirtual

// differences is Winograd's input transform of three: x0-x1, x1, x2-x1.
func differences(vec vecFunc, x [3]reg.VecVirtual) [3]reg.VecVirtual {
	a, c := vec(), vec()
	VSUBPS(x[1], x[0], a)
	VSUBPS(x[1], x[2], c)
	return [3]reg.VecVirtual{a, x[1], c}
}

// neighbours is the output transform: m0+m1, m1+m2.
func neighbours(vec vecFunc, m [3]reg.VecVirtual) [2]reg.VecVirtual {
	a, b := vec(), vec()
	VADDPS(m[1], m[0], a)
	VADDPS(m[2], m[1], b)
	return [2]reg.VecVirtual{a, b}
}

// three gives pointers to rows 0, 3 and 6 of nine that lie step apart.
func three(base, step reg.Register) [3]reg.Register {
	triple, p1, p2 := GP64(), GP64(), GP64()
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, triple)
	LEAQ(Mem{Base: base, Index: triple, Scale: 1}, p1)
	LEAQ(Mem{Base: base, Index: triple, Scale: 2}, p2)
	return [3]reg.Register{base, p1, p2}
}

func winograd() {
	winogradInput()
	winogradAdjoint()
	winogradWeights(1)
	winogradWeights(2)
	winogradOutput()
	winogradRows()
	winogradPixels()
}

func winogradInput() {
	l := begin("winogradInputAVX2", "is winogradInput; distances are in bytes.",
		"func(dst *float32, point uintptr, src *float32, row, mid uintptr, n int)", "dst", "src")
	point := Load(Param("point"), GP64())
	row := Load(Param("row"), GP64())
	mid := Load(Param("mid"), GP64())
	l.runHalves(func(vec vecFunc, bytes int) {
		src := l.ptr["src"]
		middle := GP64()
		LEAQ(Mem{Base: src, Index: mid, Scale: 1}, middle)
		var rows [3][3]reg.VecVirtual // [column][row]
		for r := range 3 {
			for c, at := range []Mem{{Base: src}, {Base: middle}, {Base: src, Disp: 4}} {
				rows[c][r] = vec()
				if r > 0 {
					at.Index, at.Scale = row, uint8(r)
				}
				VMOVUPS(at, rows[c][r])
			}
		}
		for c := range rows {
			rows[c] = differences(vec, rows[c])
		}
		to := three(l.ptr["dst"], point)
		for u := range 3 {
			for v, x := range differences(vec, [3]reg.VecVirtual{rows[0][u], rows[1][u], rows[2][u]}) {
				at := Mem{Base: to[u]}
				if v > 0 {
					at.Index, at.Scale = point, uint8(v)
				}
				VMOVUPS(x, at)
			}
		}
	})
	end()
}

// five is the adjoint's input transform of four: x0-x1, x1, x2-x1, x2, x3-x2.
func five(vec vecFunc, x [4]reg.VecVirtual) [5]reg.VecVirtual {
	var d [3]reg.VecVirtual
	for i, from := range [3]int{0, 2, 3} {
		d[i] = vec()
		VSUBPS(x[max(1, from-1)], x[from], d[i])
	}
	return [5]reg.VecVirtual{d[0], x[1], d[1], x[2], d[2]}
}

func winogradAdjoint() {
	l := begin("winogradAdjointAVX2", "is winogradAdjoint; distances are in bytes.",
		"func(dst *float32, point uintptr, src *float32, row, mid uintptr, n int)", "dst", "src")
	point := Load(Param("point"), GP64())
	row := Load(Param("row"), GP64())
	mid := Load(Param("mid"), GP64())
	five5, triple, middle, to := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: point, Index: point, Scale: 4}, five5)
	LEAQ(Mem{Base: row, Index: row, Scale: 2}, triple)
	l.runHalves(func(vec vecFunc, bytes int) {
		src := l.ptr["src"]
		LEAQ(Mem{Base: src, Index: mid, Scale: 1}, middle)
		columns := [4]Mem{{Base: src}, {Base: middle}, {Base: src, Disp: 4}, {Base: middle, Disp: 4}}
		for v, pair := range [5][2]int{{0, 1}, {1, 1}, {2, 1}, {2, 2}, {3, 2}} {
			x := fourRows(vec, columns[pair[0]], columns[pair[1]], pair[0] != pair[1], row, triple)
			MOVQ(l.ptr["dst"], to)
			if v > 0 {
				LEAQ(Mem{Base: to, Index: point, Scale: uint8(min(v, 2))}, to)
			}
			if v > 2 {
				LEAQ(Mem{Base: to, Index: point, Scale: uint8(v - 2)}, to)
			}
			for _, y := range five(vec, x) {
				VMOVUPS(y, Mem{Base: to})
				ADDQ(five5, to)
			}
		}
	})
	end()
}

// fourRows loads four rows of column a, less those of b if they differ.
func fourRows(vec vecFunc, a, b Mem, differ bool, row, triple reg.Register) (x [4]reg.VecVirtual) {
	for r := range x {
		x[r] = vec()
		switch r {
		case 1, 2:
			a.Index, a.Scale = row, uint8(r)
		case 3:
			a.Index, a.Scale = triple, 1
		}
		b.Index, b.Scale = a.Index, a.Scale
		VMOVUPS(a, x[r])
		if differ {
			VSUBPS(b, x[r], x[r])
		}
	}
	return x
}

// winogradWeights does eight lanes, or sixteen in two halves.
func winogradWeights(halves int) {
	name := fmt.Sprintf("winogradWeights%dAVX2", 8*halves)
	TEXT(name, NOSPLIT, "func(dst *float32, point, step uintptr, taps *float32)")
	Doc(name + " is winogradWeights; distances are in bytes.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	point := Load(Param("point"), GP64())
	step := Load(Param("step"), GP64())
	taps := Load(Param("taps"), GP64())
	for phase := range 4 {
		to := three(dst, point)
		for half := range halves {
			var w [2][2]reg.VecVirtual
			for a := range 2 {
				for b := range 2 {
					w[a][b] = YMM()
					tap := (2*a+phase/2)*4 + 2*b + phase%2
					VMOVUPS(Mem{Base: taps, Disp: 64*tap + 32*half}, w[a][b])
				}
			}
			sum := [2]reg.VecVirtual{YMM(), YMM()}
			VADDPS(w[1][0], w[0][0], sum[0])
			VADDPS(w[1][1], w[0][1], sum[1])
			for u, r := range [3][2]reg.VecVirtual{w[0], sum, w[1]} {
				both := YMM()
				VADDPS(r[1], r[0], both)
				for v, x := range []reg.VecVirtual{r[0], both, r[1]} {
					at := Mem{Base: to[u], Disp: 32 * half}
					if v > 0 {
						at.Index, at.Scale = point, uint8(v)
					}
					VMOVUPS(x, at)
				}
			}
		}
		ADDQ(step, dst)
	}
	VZEROUPPER()
	RET()
}

func winogradOutput() {
	l := begin("winogradOutputAVX2", "is winogradOutput; distances are in bytes.",
		"func(dst *float32, row uintptr, src *float32, point uintptr, n int, scale float32)", "dst", "src")
	row := Load(Param("row"), GP64())
	point := Load(Param("point"), GP64())
	scale := scalar("scale")
	l.runHalves(func(vec vecFunc, bytes int) {
		columns := ninePoints(vec, l.ptr["src"], point)
		var rows [3][2]reg.VecVirtual
		for v := range columns {
			rows[v] = neighbours(vec, columns[v])
		}
		for r := range 2 {
			y := neighbours(vec, [3]reg.VecVirtual{rows[0][r], rows[1][r], rows[2][r]})
			factor := scale
			if bytes == 16 {
				factor = scale.AsX().(reg.VecVirtual)
			}
			VMULPS(factor, y[0], y[0])
			VMULPS(factor, y[1], y[1])
			lo, hi := zippedTwo(vec, y, bytes)
			at := Mem{Base: l.ptr["dst"]}
			if r > 0 {
				at.Index, at.Scale = row, 1
			}
			VMOVUPS(lo, at)
			at.Disp = bytes
			VMOVUPS(hi, at)
		}
		ADDQ(Imm(uint64(bytes)), l.ptr["dst"])
	})
	end()
}

// asWide are vectors of eight equal values as those of that many bytes, 16 or 32.
func asWide(bytes int, vectors []reg.VecVirtual) []reg.VecVirtual {
	out := slices.Clone(vectors)
	if bytes == 16 {
		for i, v := range vectors {
			out[i] = v.AsX().(reg.VecVirtual)
		}
	}
	return out
}

// ninePoints loads a value of each of nine points, as columns of three.
func ninePoints(vec vecFunc, src, point reg.Register) (columns [3][3]reg.VecVirtual) {
	from := three(src, point)
	for u := range 3 {
		for v := range 3 {
			at := Mem{Base: from[u]}
			if v > 0 {
				at.Index, at.Scale = point, uint8(v)
			}
			columns[v][u] = vec()
			VMOVUPS(at, columns[v][u])
		}
	}
	return columns
}

// zippedTwo gives the values of two vectors in turns. It may write to y.
func zippedTwo(vec vecFunc, y [2]reg.VecVirtual, bytes int) (lo, hi reg.VecVirtual) {
	lo, hi = vec(), vec()
	VUNPCKLPS(y[1], y[0], lo)
	VUNPCKHPS(y[1], y[0], hi)
	if bytes == 32 {
		VPERM2F128(Imm(0x20), hi, lo, y[0])
		VPERM2F128(Imm(0x31), hi, lo, y[1])
		lo, hi = y[0], y[1]
	}
	return lo, hi
}

// winogradRows is the output transform of two column phases and what follows it.
func winogradRows() {
	l := begin("winogradRowsAVX2", "is winogradRows; distances are in bytes.",
		"func(dst *float32, row uintptr, src *float32, point uintptr, n int, top, a, d, slope float32)", "dst", "src")
	row := Load(Param("row"), GP64())
	point := Load(Param("point"), GP64())
	factors := []reg.VecVirtual{scalar("top"), scalar("a"), scalar("d"), scalar("slope"), zeroed()}
	second := GP64()
	l.runHalves(func(vec vecFunc, bytes int) {
		f := asWide(bytes, factors)
		LEAQ(Mem{Base: l.ptr["src"], Index: point, Scale: 8}, second)
		ADDQ(point, second)
		from := [2][3]reg.Register{three(l.ptr["src"], point), three(second, point)}
		at := func(phase, u, v int) Mem {
			m := Mem{Base: from[phase][u]}
			if v > 0 {
				m.Index, m.Scale = point, uint8(v)
			}
			return m
		}
		for r := range 2 {
			pixels := pixelsOf(vec, r, f[0], at)
			for i, v := range pixels {
				VFMADD213PS(f[2], f[1], v)
				pixels[i] = gated(vec, v, v, f[3], f[4])
			}
			to := Mem{Base: l.ptr["dst"]}
			if r > 0 {
				to.Index, to.Scale = row, 1
			}
			for _, v := range zippedFour(vec, pixels, bytes) {
				VMOVUPS(v, to)
				to.Disp += bytes
			}
		}
		ADDQ(Imm(uint64(3*bytes)), l.ptr["dst"])
	})
	end()
}

// pixelsOf are those of row r in the order in which they lie. The values at three
// points of a phase are summed over its rows, of which the upper counts top times.
func pixelsOf(vec vecFunc, r int, top reg.VecVirtual, at func(phase, u, v int) Mem) (pixels [4]reg.VecVirtual) {
	for phase := range 2 {
		var sums [3]reg.VecVirtual
		for v := range sums {
			sums[v] = vec()
			VMOVUPS(at(phase, 1, v), sums[v])
			if r == 0 {
				VFMADD231PS(at(phase, 0, v), top, sums[v])
			} else {
				VADDPS(at(phase, 2, v), sums[v], sums[v])
			}
		}
		first, next := vec(), vec()
		if phase == 0 {
			VSUBPS(sums[0], sums[1], first)
		} else {
			VADDPS(sums[0], sums[1], first)
		}
		VADDPS(sums[2], sums[1], next)
		pixels[1-phase], pixels[3-phase] = first, next
	}
	return pixels
}

// zippedFour gives the values 0 of four vectors, their values 1, and so on.
func zippedFour(vec vecFunc, x [4]reg.VecVirtual, bytes int) [4]reg.VecVirtual {
	var t, y [4]reg.VecVirtual
	for i := range 4 {
		t[i], y[i] = vec(), vec()
	}
	VUNPCKLPS(x[1], x[0], t[0])
	VUNPCKHPS(x[1], x[0], t[1])
	VUNPCKLPS(x[3], x[2], t[2])
	VUNPCKHPS(x[3], x[2], t[3])
	for i := range 2 {
		VUNPCKLPD(t[2+i], t[i], y[2*i])
		VUNPCKHPD(t[2+i], t[i], y[2*i+1])
	}
	if bytes == 16 {
		return y
	}
	for i := range 2 {
		VPERM2F128(Imm(0x20), y[2*i+1], y[2*i], t[i])
		VPERM2F128(Imm(0x31), y[2*i+1], y[2*i], t[2+i])
	}
	return t
}

// winogradPixels is the transform of a tile of the output's gradient, which takes
// the place of the weights where those are the result.
func winogradPixels() {
	l := begin("winogradPixelsAVX2", "is winogradPixels; distances are in bytes.",
		"func(dst *float32, point uintptr, src *float32, part uintptr, n int)", "dst", "src")
	point := Load(Param("point"), GP64())
	part := Load(Param("part"), GP64())
	second := GP64()
	l.runHalves(func(vec vecFunc, bytes int) {
		LEAQ(Mem{Base: l.ptr["src"], Index: part, Scale: 2}, second)
		var w [2][2]reg.VecVirtual
		for a, base := range []reg.Register{l.ptr["src"], second} {
			w[a] = [2]reg.VecVirtual{vec(), vec()}
			VMOVUPS(Mem{Base: base}, w[a][0])
			VMOVUPS(Mem{Base: base, Index: part, Scale: 1}, w[a][1])
		}
		sum := [2]reg.VecVirtual{vec(), vec()}
		VADDPS(w[1][0], w[0][0], sum[0])
		VADDPS(w[1][1], w[0][1], sum[1])
		to := three(l.ptr["dst"], point)
		for u, r := range [3][2]reg.VecVirtual{w[0], sum, w[1]} {
			both := vec()
			VADDPS(r[1], r[0], both)
			for v, x := range []reg.VecVirtual{r[0], both, r[1]} {
				at := Mem{Base: to[u]}
				if v > 0 {
					at.Index, at.Scale = point, uint8(v)
				}
				VMOVUPS(x, at)
			}
		}
	})
	end()
}
