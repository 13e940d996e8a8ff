package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const transposeSignature = "func(dst *float32, off *int32, step uintptr, src *float32, stride, m, blocks uintptr)"

// transpose512 transposes blocks of m rows by 16 columns, see path.transpose.
func transpose512() {
	TEXT("transposeAVX512", NOSPLIT, transposeSignature)
	Doc("transposeAVX512 is path.transpose; step and stride are in bytes.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	off := Load(Param("off"), GP64())
	step := Load(Param("step"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	m := Load(Param("m"), GP64())
	blocks := Load(Param("blocks"), GP64())
	mask := maskOf(m)
	rows := make([]reg.VecVirtual, 16)
	for i := range rows {
		rows[i] = ZMM()
	}

	Label("block")
	row, last := firstAndLast(src, stride, m)
	for i, r := range rows {
		VMOVUPS(Mem{Base: row}, r)
		if i < 15 {
			nextRow(row, last, stride)
		}
	}
	for t, v := range transposed(rows) {
		at := GP64()
		MOVLQSX(Mem{Base: off, Disp: 4 * t}, at)
		VMOVUPS(v, mask, Mem{Base: dst, Index: at, Scale: 4})
	}
	ADDQ(step, dst)
	ADDQ(Imm(64), src)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// maskOf has the first m of 16 bits set.
func maskOf(m reg.Register) reg.OpmaskVirtual {
	mask := K()
	ones, bits := GP64(), GP64()
	MOVQ(U32(0xffff), ones)
	BZHIQ(m, ones, bits)
	KMOVW(bits.As32(), mask)
	return mask
}

// firstAndLast are the addresses of the first and the last of m rows.
func firstAndLast(src, stride, m reg.Register) (row, last reg.GPVirtual) {
	row, last = GP64(), GP64()
	MOVQ(src, row)
	MOVQ(m, last)
	DECQ(last)
	IMULQ(stride, last)
	ADDQ(src, last)
	return row, last
}

// nextRow moves on to the next row, but not beyond the last one.
func nextRow(row, last reg.GPVirtual, stride reg.Register) {
	CMPQ(row, last)
	next := GP64()
	LEAQ(Mem{Base: row, Index: stride, Scale: 1}, next)
	CMOVQCS(next, row)
}

// transposed turns sixteen rows of sixteen into columns: pairs, fours, and then
// quarters of registers are exchanged.
func transposed(r []reg.VecVirtual) []reg.VecVirtual {
	t := make([]reg.VecVirtual, 16)
	for i := range t {
		t[i] = ZMM()
	}
	for i := 0; i < 16; i += 2 {
		VUNPCKLPS(r[i+1], r[i], t[i])
		VUNPCKHPS(r[i+1], r[i], t[i+1])
	}
	for i := 0; i < 16; i += 4 {
		VUNPCKLPD(t[i+2], t[i], r[i])
		VUNPCKHPD(t[i+2], t[i], r[i+1])
		VUNPCKLPD(t[i+3], t[i+1], r[i+2])
		VUNPCKHPD(t[i+3], t[i+1], r[i+3])
	}
	// r[4q+p] now holds, in each quarter h, column 4h+p of rows 4q..4q+3.
	for p := range 4 {
		VSHUFF32X4(Imm(0x88), r[4+p], r[p], t[p])
		VSHUFF32X4(Imm(0xdd), r[4+p], r[p], t[4+p])
		VSHUFF32X4(Imm(0x88), r[12+p], r[8+p], t[8+p])
		VSHUFF32X4(Imm(0xdd), r[12+p], r[8+p], t[12+p])
	}
	for p := range 4 {
		VSHUFF32X4(Imm(0x88), t[8+p], t[p], r[p])
		VSHUFF32X4(Imm(0x88), t[12+p], t[4+p], r[4+p])
		VSHUFF32X4(Imm(0xdd), t[8+p], t[p], r[8+p])
		VSHUFF32X4(Imm(0xdd), t[12+p], t[4+p], r[12+p])
	}
	return r
}

// transpose256 does two halves of eight columns per block.
func transpose256() {
	TEXT("transposeAVX2", NOSPLIT, transposeSignature)
	Doc("transposeAVX2 is path.transpose; step and stride are in bytes.")
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	off := Load(Param("off"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	m := Load(Param("m"), GP64())
	blocks := Load(Param("blocks"), GP64())
	mask := YMM()
	loadMask(mask, m)

	Label("block")
	for half := range 2 {
		row, last := firstAndLast(src, stride, m)
		rows := make([]reg.VecVirtual, 8)
		for i := range rows {
			rows[i] = YMM()
			VMOVUPS(Mem{Base: row, Disp: 32 * half}, rows[i])
			if i < 7 {
				nextRow(row, last, stride)
			}
		}
		at := GP64()
		for t, v := range transposed8(rows) {
			MOVLQSX(Mem{Base: off, Disp: 4 * (8*half + t)}, at)
			VMASKMOVPS(v, mask, Mem{Base: dst, Index: at, Scale: 4})
		}
	}
	step := Load(Param("step"), GP64())
	ADDQ(step, dst)
	ADDQ(Imm(64), src)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

func transposed8(r []reg.VecVirtual) []reg.VecVirtual {
	t := make([]reg.VecVirtual, 8)
	for i := 0; i < 8; i += 2 {
		lo, hi := YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], lo)
		VUNPCKHPS(r[i+1], r[i], hi)
		t[i], t[i+1] = lo, hi
	}
	q := make([]reg.VecVirtual, 8)
	for i := 0; i < 8; i += 4 {
		for j := range 2 {
			lo, hi := YMM(), YMM()
			VUNPCKLPD(t[i+2+j], t[i+j], lo)
			VUNPCKHPD(t[i+2+j], t[i+j], hi)
			q[i+2*j], q[i+2*j+1] = lo, hi
		}
	}
	out := make([]reg.VecVirtual, 8)
	for p := range 4 {
		lo, hi := YMM(), YMM()
		VPERM2F128(Imm(0x20), q[4+p], q[p], lo)
		VPERM2F128(Imm(0x31), q[4+p], q[p], hi)
		out[p], out[4+p] = lo, hi
	}
	return out
}

// loadMask sets the first m of mask's eight lanes.
func loadMask(mask reg.VecVirtual, m reg.Register) {
	table := GLOBL("transposeMask", RODATA|NOPTR)
	for i := range 16 {
		on := int32(-1)
		if i >= 8 {
			on = 0
		}
		DATA(4*i, I32(on))
	}
	base, at := GP64(), GP64()
	LEAQ(table, base)
	MOVQ(U32(8), at)
	SUBQ(m, at)
	VMOVUPS(Mem{Base: base, Index: at, Scale: 4}, mask)
}

// gather writes the packing of panels from runs of 4 or 8 floats: each row of a
// panel is bases runs, read at the same offset from as many bases.
func gather(bases, run int) {
	TEXT(fmt.Sprintf("gather%dx%d", bases, run), NOSPLIT, "func(dst, src *float32, base *int, off *int32, k int)")
	Doc(fmt.Sprintf("gather%dx%d copies, for t < k and j < %d, %d floats from src+base[j]+off[t] to dst+%d*t+%d*j.",
		bases, run, bases, run, bases*run, run))
	Pragma("noescape")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	table := Load(Param("base"), GP64())
	off := Load(Param("off"), GP64())
	k := Load(Param("k"), GP64())
	from := make([]reg.GPVirtual, bases)
	for j := range from {
		from[j] = GP64()
		MOVQ(Mem{Base: table, Disp: 8 * j}, from[j])
		LEAQ(Mem{Base: src, Index: from[j], Scale: 4}, from[j])
	}
	at := src // no longer needed

	Label("loop")
	MOVLQSX(Mem{Base: off}, at)
	for j := 0; j < bases; {
		v := YMM()
		to := Mem{Base: dst, Disp: 4 * run * j}
		if run == 8 {
			VMOVUPS(Mem{Base: from[j], Index: at, Scale: 4}, v)
			j++
		} else {
			VMOVUPS(Mem{Base: from[j], Index: at, Scale: 4}, v.AsX())
			VINSERTF128(Imm(1), Mem{Base: from[j+1], Index: at, Scale: 4}, v, v)
			j += 2
		}
		VMOVUPS(v, to)
	}
	ADDQ(Imm(uint64(4*bases*run)), dst)
	ADDQ(Imm(4), off)
	DECQ(k)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
