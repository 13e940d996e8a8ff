package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// whole is what differs between the ways to multiply whole numbers.
type whole struct {
	isa
	name, words string
	// add is sum += a*b in each 32-bit lane, a broadcast.
	add func(a, b, sum, spare reg.VecVirtual)
}

var wholes = []whole{
	{avx512, "VNNI", "four bytes, unsigned in a and signed in b", func(a, b, sum, _ reg.VecVirtual) { VPDPBUSD(b, a, sum) }},
	{avx512, "Pairs512", "two 16-bit values", multiplyAdd},
	{avx2, "Pairs256", "two 16-bit values", multiplyAdd},
}

func multiplyAdd(a, b, sum, spare reg.VecVirtual) {
	VPMADDWD(b, a, spare)
	VPADDD(spare, sum, sum)
}

func bytes() {
	for _, w := range wholes {
		for m := 1; m <= w.rows; m++ {
			tileWhole(w, m)
		}
	}
	squaredDifference()
}

// tileWhole is tile for 32-bit words of whole numbers, the sums being 32-bit
// whole numbers too.
func tileWhole(w whole, m int) {
	o := beginTile(fmt.Sprintf("tile%s_%d", w.name, m), fmt.Sprintf("path.tileWhole for %d rows and words of %s", m, w.words))
	sums := make([][2]reg.VecVirtual, m)
	for i := range sums {
		sums[i] = [2]reg.VecVirtual{w.vec(), w.vec()}
		for _, s := range sums[i] {
			zero(w.isa, s)
		}
	}
	v0, v1, x, spare := w.vec(), w.vec(), w.vec(), w.vec()
	at := GP64()

	Label("loop")
	MOVLQSX(Mem{Base: o.off}, at)
	VMOVUPS(Mem{Base: o.b0, Index: at, Scale: 4}, v0)
	VMOVUPS(Mem{Base: o.b1, Index: at, Scale: 4}, v1)
	for i, s := range sums {
		VPBROADCASTD(Mem{Base: o.a, Disp: 4 * i}, x)
		w.add(x, v0, s[0], spare)
		w.add(x, v1, s[1], spare)
	}
	o.next(m)

	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	for _, s := range sums {
		for h, v := range s {
			to := Mem{Base: c, Disp: h * 4 * w.lanes}
			VPADDD(to, v, v)
			VMOVUPS(v, to)
		}
		ADDQ(ldc, c)
	}
	VZEROUPPER()
	RET()
}

// squaredDifference does sixteen bytes at a time, in 32-bit lanes, which hold the
// sum of that many.
func squaredDifference() {
	l := begin("squaredDifferenceAVX2", "is squaredDifference for multiples of 16 up to 32752.",
		"func(a, b *uint8, n int) (sum int64)", "a", "b")
	s := sums(2)
	step := func(g int) {
		x, y := YMM(), YMM()
		VPMOVZXBW(Mem{Base: l.ptr["a"], Disp: 16 * g}, x)
		VPMOVZXBW(Mem{Base: l.ptr["b"], Disp: 16 * g}, y)
		VPSUBW(y, x, x)
		VPMADDWD(x, x, x)
		VPADDD(x, s[g], s[g])
	}
	for _, part := range []struct {
		label string
		steps int
	}{{"wide", 2}, {"loop", 1}} {
		Label(part.label)
		CMPQ(l.n, Imm(uint64(16*part.steps)))
		JLT(LabelRef(part.label + "done"))
		for g := range part.steps {
			step(g)
		}
		for _, p := range []string{"a", "b"} {
			ADDQ(Imm(uint64(16*part.steps)), l.ptr[p])
		}
		SUBQ(Imm(uint64(16*part.steps)), l.n)
		JMP(LabelRef(part.label))
		Label(part.label + "done")
	}
	VPADDD(s[1], s[0], s[0])
	total32("sum", s[0])
	end()
}

// total32 returns the sum of a vector's 32-bit lanes.
func total32(result string, v reg.VecVirtual) {
	x, y := XMM(), XMM()
	VEXTRACTI128(Imm(1), v, x)
	VPADDD(v.AsX(), x, x)
	VPSHUFD(Imm(0xee), x, y)
	VPADDD(y, x, x)
	VPSHUFD(Imm(0x55), x, y)
	VPADDD(y, x, x)
	sum := GP64()
	VMOVD(x, sum.As32())
	Store(sum, Return(result))
}
