package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// AMX's instructions are written as bytes too. Tile registers: 0 and 1 hold the
// sums, 2 rows of a, 3 and 4 columns of b.

func raw(bytes ...byte) {
	for _, b := range bytes {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(b)}})
	}
}

// Numbers of the registers that the instructions below address memory by.
const (
	ax = 0 // the distance of b's rows
	cx = 1 // and of a's
	dx = 2 // a
	bx = 3 // b
	si = 6 // the distance of c's rows
	di = 7 // c
)

// move is TILELOADD (pp 3) or TILESTORED (pp 2) of rows that lie a register's
// distance apart.
func move(pp, tile, base, distance, displacement byte) {
	raw(0xc4, 0xe2, 0x78|pp, 0x4b, 0x44|tile<<3, distance<<3|base, displacement)
}

func loadTile(tile, base, distance, displacement byte)  { move(3, tile, base, distance, displacement) }
func storeTile(tile, base, distance, displacement byte) { move(2, tile, base, distance, displacement) }

// multiplyTiles is TDPBF16PS: sum += a*b.
func multiplyTiles(sum, a, b byte) { raw(0xc4, 0xe2, ^b&15<<3|2, 0x5c, 0xc0|sum<<3|a) }

// amx writes the product of up to 16 rows of pairs with 32 columns, a sixteen of
// pairs at a time.
func amx() {
	TEXT("tileAMX", NOSPLIT, "func(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, k uintptr, config *byte)")
	Doc("tileAMX adds a product to rows of 32 values of c, as many as config says: the sum over 16*k pairs",
		"of a's rows, which lie lda apart, with b's, of 32 words each; distances are in bytes, k is not 0.")
	Pragma("noescape")
	Load(Param("config"), reg.RAX)
	raw(0xc4, 0xe2, 0x78, 0x49, 0x00) // LDTILECFG (AX)
	Load(Param("c"), reg.RDI)
	Load(Param("ldc"), reg.RSI)
	Load(Param("a"), reg.RDX)
	Load(Param("lda"), reg.RCX)
	Load(Param("b"), reg.RBX)
	Load(Param("k"), reg.R8)
	MOVQ(U32(128), reg.RAX)
	loadTile(0, di, si, 0)
	loadTile(1, di, si, 64)

	Label("loop")
	loadTile(2, dx, cx, 0)
	loadTile(3, bx, ax, 0)
	multiplyTiles(0, 2, 3)
	loadTile(4, bx, ax, 64)
	multiplyTiles(1, 2, 4)
	ADDQ(Imm(64), reg.RDX)
	ADDQ(U32(16*128), reg.RBX)
	DECQ(reg.R8)
	JNZ(LabelRef("loop"))

	storeTile(0, di, si, 0)
	storeTile(1, di, si, 64)
	raw(0xc4, 0xe2, 0x78, 0x49, 0xc0) // TILERELEASE
	RET()
}
