package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func vectors() {
	arithmetic()
	reductions()
	normalisation()
	adam()
	tanh()
	strided()
	zipLine()
}

func arithmetic() {
	l := begin("scaleAVX2", "is scaleInto.", "func(dst, src *float32, n int, scale float32)", "dst", "src")
	a := scalar("scale")
	l.run(func(g int) {
		v := YMM()
		VMULPS(l.at("src", g), a, v)
		VMOVUPS(v, l.at("dst", g))
	})
	end()

	l = begin("axpyAVX2", "is axpy.", "func(dst, x *float32, n int, a float32)", "dst", "x")
	a = scalar("a")
	l.runUnrolled(4, func(g int) {
		v := l.load("dst", g)
		VFMADD231PS(l.at("x", g), a, v)
		VMOVUPS(v, l.at("dst", g))
	})
	end()

	l = begin("addAVX2", "sets dst to a + b.", "func(dst, a, b *float32, n int)", "dst", "a", "b")
	l.run(func(g int) {
		v := l.load("a", g)
		VADDPS(l.at("b", g), v, v)
		VMOVUPS(v, l.at("dst", g))
	})
	end()
}

func reductions() {
	dot32()
	dot64()
	sum64()
	deviation64()
}

func dot32() {
	l := begin("dot32AVX2", "is dot32.", "func(a, b *float32, n int) (sum float32)", "a", "b")
	s := sums(4)
	l.runUnrolled(4, func(g int) {
		VFMADD231PS(l.at("b", g), l.load("a", g), s[g])
	})
	VADDPS(s[3], s[1], s[1])
	VADDPS(s[2], s[0], s[0])
	VADDPS(s[1], s[0], s[0])
	x, y := XMM(), XMM()
	VEXTRACTF128(Imm(1), s[0], x)
	VADDPS(s[0].AsX(), x, x)
	VMOVHLPS(x, x, y)
	VADDPS(y, x, x)
	VMOVSHDUP(x, y)
	VADDSS(y, x, x)
	VMOVSS(x, address(Return("sum")))
	end()
}

func dot64() {
	l := begin("dot64AVX2", "is dot64.", "func(a, b *float32, n int) (sum float64)", "a", "b")
	s := sums(4)
	l.runUnrolled(2, func(g int) {
		a, b := doubles(l.load("a", g)), doubles(l.load("b", g))
		VFMADD231PD(a[0], b[0], s[2*g])
		VFMADD231PD(a[1], b[1], s[2*g+1])
	})
	total64("sum", s...)
	end()
}

func sum64() {
	l := begin("sum64AVX2", "is sum64.", "func(x *float32, n int) (sum float64)", "x")
	s := sums(4)
	l.runUnrolled(2, func(g int) {
		for h, v := range doubles(l.load("x", g)) {
			VADDPD(v, s[2*g+h], s[2*g+h])
		}
	})
	total64("sum", s...)
	end()
}

func deviation64() {
	l := begin("deviation64AVX2", "is deviation64.", "func(x *float32, n int, mean float64) (sum float64)", "x")
	mean := scalar64("mean")
	s := sums(4)
	l.runUnrolled(2, func(g int) {
		for h, v := range doubles(l.load("x", g)) {
			VSUBPD(mean, v, v)
			VFMADD231PD(v, v, s[2*g+h])
		}
	})
	total64("sum", s...)
	end()
}

func normalisation() {
	lineLeaky()
	gatedSums()
	gatedLine()
}

func lineLeaky() {
	l := begin("lineLeakyAVX2", "is lineLeaky.", "func(y, x *float32, n int, a, d, slope float32)", "y", "x")
	a, d, slope, zero := scalar("a"), scalar("d"), scalar("slope"), zeroed()
	l.run(func(g int) {
		z := l.load("x", g)
		VFMADD213PS(d, a, z)
		VMOVUPS(gated(YMM, z, z, slope, zero), l.at("y", g))
	})
	end()
}

func gatedSums() {
	l := begin("gatedSumsAVX2", "is gatedSums.",
		"func(dy, x *float32, n int, a, d, slope float32) (plain, weighted float64)", "dy", "x")
	a, d, slope, zero := scalar("a"), scalar("d"), scalar("slope"), zeroed()
	p, w := sums(2), sums(2)
	l.run(func(g int) {
		x, z := l.load("x", g), YMM()
		VMOVAPS(x, z)
		VFMADD213PS(d, a, z)
		dz := doubles(gated(YMM, l.load("dy", g), z, slope, zero))
		for h, v := range doubles(x) {
			VADDPD(dz[h], p[h], p[h])
			VFMADD231PD(dz[h], v, w[h])
		}
	})
	total64("plain", p...)
	total64("weighted", w...)
	end()
}

func gatedLine() {
	l := begin("gatedLineAVX2", "is gatedLine.",
		"func(dx, dy, x *float32, n int, a, d, slope, k, q, r float32)", "dx", "dy", "x")
	a, d, slope, zero := scalar("a"), scalar("d"), scalar("slope"), zeroed()
	k, q, r := scalar("k"), scalar("q"), scalar("r")
	l.run(func(g int) {
		x, z := l.load("x", g), YMM()
		VMOVAPS(x, z)
		VFMADD213PS(d, a, z)
		VFMADD213PS(r, q, x)
		VFMADD231PS(gated(YMM, l.load("dy", g), z, slope, zero), k, x)
		VMOVUPS(x, l.at("dx", g))
	})
	end()
}

func adam() {
	l := begin("adamAVX2", "is adam.update.",
		"func(p, m, v, grad *float32, n int, keep1, new1, keep2, new2, step, root, eps float32)", "p", "m", "v", "grad")
	keep1, new1, keep2, new2 := scalar("keep1"), scalar("new1"), scalar("keep2"), scalar("new2")
	step, root, eps := scalar("step"), scalar("root"), scalar("eps")
	l.run(func(g int) {
		d, m, v, t := l.load("grad", g), l.load("m", g), l.load("v", g), YMM()
		VMULPS(keep1, m, m)
		VFMADD231PS(new1, d, m)
		VMOVUPS(m, l.at("m", g))
		VMULPS(new2, d, t)
		VMULPS(keep2, v, v)
		VFMADD231PS(t, d, v)
		VMOVUPS(v, l.at("v", g))
		VSQRTPS(v, v)
		VDIVPS(root, v, v)
		VADDPS(eps, v, v)
		VMULPS(step, m, m)
		VDIVPS(v, m, m)
		p := l.load("p", g)
		VSUBPS(m, p, p)
		VMOVUPS(p, l.at("p", g))
	})
	end()
}

// constant64 is a vector of one double in the data section.
func constant64(name string, x float64) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, F64(x))
	}
	return m
}

// tanh is m/(m+2) with m = exp(2x)-1, in float64. With 2x = n*ln2 + r,
// m = 2^n*expm1(r) + 2^n-1, so that it keeps its relative precision near 0;
// expm1's series to r^11 is good to 1e-14 for |r| <= ln2/2.
func tanh() {
	limit := constant64("tanhLimit", 20)
	lower := constant64("tanhLower", -20)
	c := tanhTable()
	l := begin("tanhAVX2", "sets y to tanh(x).", "func(y, x *float32, n int)", "y", "x")
	high, low := YMM(), YMM()
	VMOVUPD(limit, high)
	VMOVUPD(lower, low)
	l.run(func(g int) {
		for h, x := range doubles(l.load("x", g)) {
			VMINPD(x, high, x) // in this order a NaN stays one
			VMAXPD(x, low, x)
			y := c.tanh(x)
			VCVTPD2PSY(y, y.AsX())
			VMOVUPS(y.AsX(), Mem{Base: l.ptr["y"], Disp: 16 * h})
		}
	})
	end()
}

// tanhConstants are those that tanh is computed with; series begins at 1.
type tanhConstants struct {
	scale, ln2, two, one, bias Mem
	series                     [12]Mem
}

func tanhTable() tanhConstants {
	c := tanhConstants{
		scale: constant64("tanhScale", 2/math.Ln2), ln2: constant64("tanhLn2", math.Ln2),
		two: constant64("tanhTwo", 2), one: constant64("tanhOne", 1), bias: GLOBL("tanhBias", RODATA|NOPTR),
	}
	for i := range 4 {
		DATA(8*i, U64(1023))
	}
	factorial := 1.0
	for i := 1; i < len(c.series); i++ {
		factorial *= float64(i)
		c.series[i] = constant64("tanhSeries"+string(rune('a'+i)), 1/factorial)
	}
	return c
}

// tanh is that of x, which is within the limits.
func (c tanhConstants) tanh(x reg.VecVirtual) reg.VecVirtual {
	n, r, p, power := YMM(), YMM(), YMM(), YMM()
	VMULPD(c.scale, x, n)
	VROUNDPD(Imm(0), n, n)
	VADDPD(x, x, r)
	VFNMADD231PD(c.ln2, n, r)
	VMOVUPD(c.series[11], p)
	for i := 10; i >= 1; i-- {
		VFMADD213PD(c.series[i], r, p)
	}
	VMULPD(r, p, p) // expm1(r)
	VCVTPD2DQY(n, n.AsX())
	VPMOVSXDQ(n.AsX(), power)
	VPADDQ(c.bias, power, power)
	VPSLLQ(Imm(52), power, power) // 2^n
	m := YMM()
	VMOVAPD(power, m)
	VSUBPD(c.one, m, m)
	VFMADD231PD(power, p, m)
	VADDPD(c.two, m, p)
	VDIVPD(p, m, m)
	return m
}

// strided is the reading and writing of every second value.
func strided() {
	l := begin("pairsAVX2", "splits 2n values: even[i] = src[2*i], odd[i] = src[2*i+1].",
		"func(even, odd, src *float32, n int)", "even", "odd", "src")
	l.run(func(int) {
		a, b, e, o := l.load("src", 0), l.load("src", 1), YMM(), YMM()
		VSHUFPS(Imm(0x88), b, a, e)
		VSHUFPS(Imm(0xdd), b, a, o)
		VPERMPD(Imm(0xd8), e, e)
		VPERMPD(Imm(0xd8), o, o)
		VMOVUPS(e, l.at("even", 0))
		VMOVUPS(o, l.at("odd", 0))
		ADDQ(Imm(32), l.ptr["src"])
	})
	end()

	l = begin("zipAVX2", "is dst[2*i] = scale*even[i], dst[2*i+1] = scale*odd[i].",
		"func(dst, even, odd *float32, n int, scale float32)", "dst", "even", "odd")
	scale := scalar("scale")
	l.run(func(int) {
		e, o, lo, hi := YMM(), YMM(), YMM(), YMM()
		VMULPS(l.at("even", 0), scale, e)
		VMULPS(l.at("odd", 0), scale, o)
		VUNPCKLPS(o, e, lo)
		VUNPCKHPS(o, e, hi)
		VPERM2F128(Imm(0x20), hi, lo, e)
		VPERM2F128(Imm(0x31), hi, lo, o)
		VMOVUPS(e, l.at("dst", 0))
		VMOVUPS(o, l.at("dst", 1))
		ADDQ(Imm(32), l.ptr["dst"])
	})
	end()
}

// zipLine is zip with lineLeaky in place of the factor.
func zipLine() {
	l := begin("zipLineAVX2", "is zipLine.", "func(dst, even, odd *float32, n int, a, d, slope float32)", "dst", "even", "odd")
	a, d, slope, zero := scalar("a"), scalar("d"), scalar("slope"), zeroed()
	l.run(func(int) {
		var z [2]reg.VecVirtual
		for i, from := range []string{"even", "odd"} {
			v := l.load(from, 0)
			VFMADD213PS(d, a, v)
			z[i] = gated(YMM, v, v, slope, zero)
		}
		lo, hi, first, second := YMM(), YMM(), YMM(), YMM()
		VUNPCKLPS(z[1], z[0], lo)
		VUNPCKHPS(z[1], z[0], hi)
		VPERM2F128(Imm(0x20), hi, lo, first)
		VPERM2F128(Imm(0x31), hi, lo, second)
		VMOVUPS(first, l.at("dst", 0))
		VMOVUPS(second, l.at("dst", 1))
		ADDQ(Imm(32), l.ptr["dst"])
	})
	end()
}
