package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is what differs between the two instruction sets.
type isa struct {
	name  string
	rows  int // of the largest tile: 2*rows sums, two columns, two broadcasts fill the registers
	lanes int
	vec   func() reg.VecVirtual
}

var (
	avx512 = isa{"AVX512", 14, 16, ZMM}
	avx2   = isa{"AVX2", 6, 8, YMM}
)

// tile writes the product of an m-row panel with two lane groups, see path.tile.
// One step of the summed index needs 2m multiply-adds and m+2 vector loads, so
// the arithmetic is the limit.
func tile(set isa, m int) {
	o := beginTile(fmt.Sprintf("tile%s_%d", set.name, m), fmt.Sprintf("path.tile for %d rows", m))
	sums := make([][2]reg.VecVirtual, m)
	for i := range sums {
		sums[i] = [2]reg.VecVirtual{set.vec(), set.vec()}
		for _, s := range sums[i] {
			zero(set, s)
		}
	}
	v0, v1 := set.vec(), set.vec()
	x := [2]reg.VecVirtual{set.vec(), set.vec()}
	at := GP64()

	Label("loop")
	MOVLQSX(Mem{Base: o.off}, at)
	VMOVUPS(Mem{Base: o.b0, Index: at, Scale: 4}, v0)
	VMOVUPS(Mem{Base: o.b1, Index: at, Scale: 4}, v1)
	for i, s := range sums {
		VBROADCASTSS(Mem{Base: o.a, Disp: 4 * i}, x[i%2])
		VFMADD231PS(v0, x[i%2], s[0])
		VFMADD231PS(v1, x[i%2], s[1])
	}
	o.next(m)

	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	for _, s := range sums {
		for h, v := range s {
			to := Mem{Base: c, Disp: h * 4 * set.lanes}
			VADDPS(to, v, v)
			VMOVUPS(v, to)
		}
		ADDQ(ldc, c)
	}
	VZEROUPPER()
	RET()
}

// operands are what a tile is made of: a panel of rows, two lane groups, and k
// offsets of the latter.
type operands struct{ a, b0, b1, off, k reg.Register }

// beginTile begins a function of a tile, which is what of says.
func beginTile(name, of string) operands {
	TEXT(name, NOSPLIT, "func(c *float32, ldc uintptr, a, b0, b1 *float32, off *int32, k uintptr)")
	Doc(fmt.Sprintf("%s is %s; ldc is in bytes, k is not 0.", name, of))
	Pragma("noescape")
	load := func(param string) reg.Register { return Load(Param(param), GP64()) }
	return operands{a: load("a"), b0: load("b0"), b1: load("b1"), off: load("off"), k: load("k")}
}

// next ends a step of the summed index, for m rows, and begins the next.
func (o operands) next(m int) {
	ADDQ(Imm(uint64(4*m)), o.a)
	ADDQ(Imm(4), o.off)
	DECQ(o.k)
	JNZ(LabelRef("loop"))
}

func zero(set isa, v reg.VecVirtual) {
	if set.lanes == 16 {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}
