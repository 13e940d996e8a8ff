package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The assembler knows no AVX512_BF16, so its instructions are written as bytes,
// with registers chosen by hand.

var zmm = [32]reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10,
	reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}

// evex writes a 512-bit instruction of map 0F38 with three registers: EVEX, the
// prefix pp (2 for F3, 3 for F2), opcode, registers.
func evex(pp, opcode byte, dst, first, second int) {
	inverse := func(x, bit, to int) byte { return byte(1&^(x>>bit)) << to }
	for _, b := range []byte{
		0x62,
		inverse(dst, 3, 7) | inverse(second, 4, 6) | inverse(second, 3, 5) | inverse(dst, 4, 4) | 2,
		byte(^first&15)<<3 | 4 | pp,
		0x40 | inverse(first, 4, 3),
		opcode,
		0xc0 | byte(dst&7)<<3 | byte(second&7),
	} {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(b)}})
	}
}

// multiplyPairs is VDPBF16PS: sum += a.low*b.low + a.high*b.high in each lane.
func multiplyPairs(a, b, sum int) { evex(2, 0x52, sum, a, b) }

// roundTwo is VCVTNE2PS2BF16: 16 values of low, then 16 of high.
func roundTwo(high, low, dst int) { evex(3, 0x72, dst, high, low) }

func bfloat16() {
	for m := 1; m <= avx512.rows; m++ {
		tilePairs(m)
	}
	roundPairs()
	roundNeighbours()
}

// tilePairs is tile for words of two bfloat16 values.
func tilePairs(m int) {
	o := beginTile(fmt.Sprintf("tileBF16_%d", m), fmt.Sprintf("path.tilePairs for %d rows", m))
	for _, z := range zmm[:2*m] {
		VPXORD(z, z, z)
	}
	at := GP64()

	Label("loop")
	MOVLQSX(Mem{Base: o.off}, at)
	VMOVUPS(Mem{Base: o.b0, Index: at, Scale: 4}, zmm[28])
	VMOVUPS(Mem{Base: o.b1, Index: at, Scale: 4}, zmm[29])
	for i := range m {
		x := 30 + i%2
		VBROADCASTSS(Mem{Base: o.a, Disp: 4 * i}, zmm[x])
		multiplyPairs(28, x, 2*i)
		multiplyPairs(29, x, 2*i+1)
	}
	o.next(m)

	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	for i := range m {
		for h := range 2 {
			to, v := Mem{Base: c, Disp: 64 * h}, zmm[2*i+h]
			VADDPS(to, v, v)
			VMOVUPS(v, to)
		}
		ADDQ(ldc, c)
	}
	VZEROUPPER()
	RET()
}

// roundPairs does 16 values at a time, n being a multiple of 16.
func roundPairs() {
	l := begin("roundPairsBF16", "is roundPairs for multiples of 16.", "func(dst, a, b *float32, n int)", "dst", "a", "b")
	order := GLOBL("pairOrder", RODATA|NOPTR)
	for j := range 16 {
		DATA(4*j, U32(uint32(16+j)<<16|uint32(j)))
	}
	VMOVUPS(order, zmm[3])
	l.sixteen(func() {
		VMOVUPS(Mem{Base: l.ptr["a"]}, zmm[0])
		VMOVUPS(Mem{Base: l.ptr["b"]}, zmm[1])
		roundTwo(1, 0, 2)
		VPERMW(zmm[2], zmm[3], zmm[2])
		VMOVUPS(zmm[2], Mem{Base: l.ptr["dst"]})
	}, "dst", "a", "b")
	end()
}

// roundNeighbours makes 16 words at a time of 32 values.
func roundNeighbours() {
	l := begin("roundNeighboursBF16", "is roundNeighbours for multiples of 16.", "func(dst, src *float32, n int)", "dst", "src")
	l.sixteen(func() {
		VMOVUPS(Mem{Base: l.ptr["src"]}, zmm[0])
		VMOVUPS(Mem{Base: l.ptr["src"], Disp: 64}, zmm[1])
		roundTwo(1, 0, 2)
		VMOVUPS(zmm[2], Mem{Base: l.ptr["dst"]})
		ADDQ(Imm(64), l.ptr["src"])
	}, "dst", "src")
	end()
}

// sixteen repeats body for every sixteen values.
func (l *loop) sixteen(body func(), pointers ...string) {
	Label("loop")
	CMPQ(l.n, Imm(16))
	JLT(LabelRef("done"))
	body()
	for _, p := range pointers {
		ADDQ(Imm(64), l.ptr[p])
	}
	SUBQ(Imm(16), l.n)
	JMP(LabelRef("loop"))
	Label("done")
}
