package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// winograd3 writes the transforms of Winograd's F(4x4,3x3). Each is one of the
// lines below, applied to the columns of a square of vectors and then to its rows,
// with the values between kept on the stack.
func winograd3() {
	winograd3Input()
	winograd3Output()
	winograd3Pixels()
	winograd3Weights(1)
	winograd3Weights(2)
	winograd3Taps()
}

// line transforms some vectors.
type line func(vec vecFunc, x []reg.VecVirtual) []reg.VecVirtual

// constants32 are vectors of one float32 in the data section, by value.
var constants32 = map[float64]Mem{}

func constant32(x float64) Mem {
	m, ok := constants32[x]
	if !ok {
		m = GLOBL(fmt.Sprintf("factor%d", len(constants32)), RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(math.Float32bits(float32(x))))
		}
		constants32[x] = m
	}
	return m
}

// sum is the sum of factors times vectors. The first factor of 1 begins it.
func sum(vec vecFunc, x []reg.VecVirtual, factors ...float64) reg.VecVirtual {
	y, first := vec(), -1
	for i, f := range factors {
		if f == 1 {
			first = i
			break
		}
	}
	if first >= 0 {
		VMOVAPS(x[first], y)
	}
	begun := first >= 0
	for i, f := range factors {
		switch {
		case f == 0 || i == first:
		case !begun:
			VMULPS(constant32(f), x[i], y)
			begun = true
		case f == 1:
			VADDPS(x[i], y, y)
		case f == -1:
			VSUBPS(x[i], y, y)
		default:
			VFMADD231PS(constant32(f), x[i], y)
		}
	}
	return y
}

// pair gives e+o and e-o.
func pair(vec vecFunc, e, o reg.VecVirtual) (plus, minus reg.VecVirtual) {
	plus, minus = vec(), vec()
	VADDPS(o, e, plus)
	VSUBPS(o, e, minus)
	return plus, minus
}

// evaluated gives the six values at 0, 1, -1, 2, -2 and infinity: the first, two
// pairs of an even and an odd part, and the last.
func evaluated(parts [6][]float64) line {
	return func(vec vecFunc, x []reg.VecVirtual) []reg.VecVirtual {
		out := make([]reg.VecVirtual, 6)
		out[0] = sum(vec, x, parts[0]...)
		out[1], out[2] = pair(vec, sum(vec, x, parts[1]...), sum(vec, x, parts[2]...))
		out[3], out[4] = pair(vec, sum(vec, x, parts[3]...), sum(vec, x, parts[4]...))
		out[5] = sum(vec, x, parts[5]...)
		return out
	}
}

// collected sums the six values, with the sums and the differences of the pairs in
// place of these.
func collected(rows ...[]float64) line {
	return func(vec vecFunc, x []reg.VecVirtual) []reg.VecVirtual {
		s, d := pair(vec, x[1], x[2])
		t, e := pair(vec, x[3], x[4])
		var out []reg.VecVirtual
		for _, r := range rows {
			out = append(out, sum(vec, []reg.VecVirtual{x[0], s, d, t, e, x[5]}, r...))
		}
		return out
	}
}

var (
	spread3 = evaluated([6][]float64{
		{4, 0, -5, 0, 1, 0}, {0, 0, -4, 0, 1, 0}, {0, -4, 0, 1, 0, 0},
		{0, 0, -1, 0, 1, 0}, {0, -2, 0, 2, 0, 0}, {0, 4, 0, -5, 0, 1}})
	pixels3 = evaluated([6][]float64{
		{1, 0, 0, 0}, {1, 0, 1, 0}, {0, 1, 0, 1}, {1, 0, 4, 0}, {0, 2, 0, 8}, {0, 0, 0, 1}})
	taps3 = evaluated([6][]float64{
		{0.25, 0, 0}, {-1. / 6, 0, -1. / 6}, {0, -1. / 6, 0}, {1. / 24, 0, 1. / 6}, {0, 1. / 12, 0}, {0, 0, 1}})
	collect3 = collected([]float64{1, 1, 0, 1, 0, 0}, []float64{0, 0, 1, 0, 2, 0},
		[]float64{0, 1, 0, 4, 0, 0}, []float64{0, 0, 1, 0, 8, 1})
	sums3 = collected([]float64{0.25, -1. / 6, 0, 1. / 24, 0, 0}, []float64{0, 0, -1. / 6, 0, 1. / 12, 0},
		[]float64{0, -1. / 6, 0, 1. / 6, 0, 1})
)

// ladder gives the places of up to six values that lie a step apart.
type ladder struct{ step, triple, five reg.Register }

func newLadder(step reg.Register, count int) ladder {
	l := ladder{step: step}
	if count > 3 {
		l.triple = GP64()
		LEAQ(Mem{Base: step, Index: step, Scale: 2}, l.triple)
	}
	if count > 5 {
		l.five = GP64()
		LEAQ(Mem{Base: step, Index: step, Scale: 4}, l.five)
	}
	return l
}

func (l ladder) at(base reg.Register, i, disp int) Mem {
	m := Mem{Base: base, Disp: disp}
	switch i {
	case 1, 2, 4:
		m.Index, m.Scale = l.step, uint8(i)
	case 3:
		m.Index, m.Scale = l.triple, 1
	case 5:
		m.Index, m.Scale = l.five, 1
	}
	return m
}

// squared applies a line to count columns, whose values load gives, and then to the
// rows between, and hands the results of each to store.
func squared(vec vecFunc, l line, count, results int, stack Mem, load func(column int) []reg.VecVirtual,
	store func(row int, y []reg.VecVirtual)) {
	for c := range count {
		for r, y := range l(vec, load(c)) {
			VMOVUPS(y, stack.Offset(32*(count*r+c)))
		}
	}
	for r := range results {
		x := make([]reg.VecVirtual, count)
		for c := range x {
			x[c] = vec()
			VMOVUPS(stack.Offset(32*(count*r+c)), x[c])
		}
		store(r, l(vec, x))
	}
}

func winograd3Input() {
	l := beginLarge("winograd3InputAVX2", "is winograd3Input; distances are in bytes.",
		"func(dst *float32, point uintptr, src *float32, row, part uintptr, n int)", "dst", "src")
	to := newLadder(Load(Param("point"), GP64()), 6)
	from := newLadder(Load(Param("row"), GP64()), 6)
	part := Load(Param("part"), GP64())
	stack := AllocLocal(36 * 32)
	p := GP64()
	l.runHalves(func(vec vecFunc, _ int) {
		squared(vec, spread3, 6, 6, stack, func(c int) []reg.VecVirtual {
			if c%4 == 0 {
				MOVQ(l.ptr["src"], p)
			} else {
				ADDQ(part, p)
			}
			return loaded(vec, 6, func(r int) Mem { return from.at(p, r, c/4*4) })
		}, l.points(to, p))
	})
	end()
}

func loaded(vec vecFunc, n int, at func(i int) Mem) []reg.VecVirtual {
	x := make([]reg.VecVirtual, n)
	for i := range x {
		x[i] = vec()
		VMOVUPS(at(i), x[i])
	}
	return x
}

// points stores rows of six points each behind dst.
func (l *loop) points(to ladder, p reg.Register) func(row int, y []reg.VecVirtual) {
	return func(row int, y []reg.VecVirtual) {
		if row == 0 {
			MOVQ(l.ptr["dst"], p)
		} else {
			ADDQ(to.five, p)
			ADDQ(to.step, p)
		}
		for i, v := range y {
			VMOVUPS(v, to.at(p, i, 0))
		}
	}
}

// column loads a column of six points, of which row 0 lies behind src.
func (l *loop) column(vec vecFunc, from ladder, p, six reg.Register) func(c int) []reg.VecVirtual {
	return func(c int) []reg.VecVirtual {
		LEAQ(from.at(l.ptr["src"], c, 0), p)
		x := make([]reg.VecVirtual, 6)
		for r := range x {
			x[r] = vec()
			VMOVUPS(Mem{Base: p}, x[r])
			if r < 5 {
				ADDQ(six, p)
			}
		}
		return x
	}
}

func winograd3Output() {
	l := beginLarge("winograd3OutputAVX2", "is winograd3Output; distances are in bytes.",
		"func(dst *float32, row uintptr, src *float32, point uintptr, n int, scale float32)", "dst", "src")
	to := newLadder(Load(Param("row"), GP64()), 4)
	from, six := pointLadder()
	scale := scalar("scale")
	stack := AllocLocal(24 * 32)
	p := GP64()
	l.runHalves(func(vec vecFunc, bytes int) {
		factor := half(scale, bytes)
		squared(vec, collect3, 6, 4, stack, l.column(vec, from, p, six), func(row int, y []reg.VecVirtual) {
			for _, v := range y {
				VMULPS(factor, v, v)
			}
			for i, v := range zippedFour(vec, [4]reg.VecVirtual(y), bytes) {
				VMOVUPS(v, to.at(l.ptr["dst"], row, i*bytes))
			}
		})
		ADDQ(Imm(uint64(3*bytes)), l.ptr["dst"])
	})
	end()
}

// pointLadder is that of src's points, with six times the step.
func pointLadder() (ladder, reg.Register) {
	from := newLadder(Load(Param("point"), GP64()), 6)
	six := GP64()
	LEAQ(Mem{Base: from.five, Index: from.step, Scale: 1}, six)
	return from, six
}

// half is v, or its lower half for four values.
func half(v reg.VecVirtual, bytes int) reg.VecVirtual {
	if bytes == 16 {
		return v.AsX().(reg.VecVirtual)
	}
	return v
}

func winograd3Pixels() {
	l := beginLarge("winograd3PixelsAVX2", "is winograd3Pixels; distances are in bytes.",
		"func(dst *float32, point uintptr, src *float32, row, part uintptr, n int)", "dst", "src")
	to := newLadder(Load(Param("point"), GP64()), 6)
	from := newLadder(Load(Param("row"), GP64()), 4)
	part := Load(Param("part"), GP64())
	stack := AllocLocal(24 * 32)
	p := GP64()
	l.runHalves(func(vec vecFunc, _ int) {
		squared(vec, pixels3, 4, 6, stack, func(c int) []reg.VecVirtual {
			if c == 0 {
				MOVQ(l.ptr["src"], p)
			} else {
				ADDQ(part, p)
			}
			return loaded(vec, 4, func(r int) Mem { return from.at(p, r, 0) })
		}, l.points(to, p))
	})
	end()
}

// winograd3Weights does eight lanes, or sixteen in two halves.
func winograd3Weights(halves int) {
	name := fmt.Sprintf("winograd3Weights%dAVX2", 8*halves)
	TEXT(name, 0, "func(dst *float32, point uintptr, taps *float32)")
	Doc(name + " is winograd3Weights; distances are in bytes.")
	Pragma("noescape")
	l := &loop{ptr: map[string]reg.GPVirtual{"dst": GP64()}}
	Load(Param("dst"), l.ptr["dst"])
	to := newLadder(Load(Param("point"), GP64()), 6)
	taps := Load(Param("taps"), GP64())
	stack := AllocLocal(18 * 32)
	p := GP64()
	for h := range halves {
		squared(YMM, taps3, 3, 6, stack, func(c int) []reg.VecVirtual {
			return loaded(YMM, 3, func(r int) Mem { return Mem{Base: taps, Disp: 64*(3*r+c) + 32*h} })
		}, l.points(to, p))
		ADDQ(Imm(32), l.ptr["dst"])
	}
	end()
}

func winograd3Taps() {
	l := beginLarge("winograd3TapsAVX2", "is winograd3Taps; distances are in bytes.",
		"func(dst *float32, part uintptr, src *float32, point uintptr, n int, scale float32)", "dst", "src")
	part := Load(Param("part"), GP64())
	from, six := pointLadder()
	scale := scalar("scale")
	stack := AllocLocal(18 * 32)
	p := GP64()
	l.runHalves(func(vec vecFunc, bytes int) {
		factor := half(scale, bytes)
		squared(vec, sums3, 6, 3, stack, l.column(vec, from, p, six), func(row int, y []reg.VecVirtual) {
			if row == 0 {
				MOVQ(l.ptr["dst"], p)
			}
			for _, v := range y {
				VMULPS(factor, v, v)
				VMOVUPS(v, Mem{Base: p})
				ADDQ(part, p)
			}
		})
	})
	end()
}
