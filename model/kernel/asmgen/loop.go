package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// loop is the frame of a vector kernel: pointers that advance together, n
// values at a time, n being a multiple of 8. The Go wrappers do the rest.
type loop struct {
	ptr map[string]reg.GPVirtual
	n   reg.Register
}

func begin(name, doc, signature string, pointers ...string) *loop {
	TEXT(name, NOSPLIT, signature)
	return beginBody(name, doc, pointers...)
}

// beginLarge is begin of a function with more on the stack than those may have that
// do not check it.
func beginLarge(name, doc, signature string, pointers ...string) *loop {
	TEXT(name, 0, signature)
	return beginBody(name, doc, pointers...)
}

func beginBody(name, doc string, pointers ...string) *loop {
	Doc(name + " " + doc)
	Pragma("noescape")
	l := &loop{ptr: map[string]reg.GPVirtual{}}
	for _, p := range pointers {
		l.ptr[p] = GP64()
		Load(Param(p), l.ptr[p])
	}
	l.n = Load(Param("n"), GP64())
	return l
}

// address is where a parameter or a result lies. Load and Store would move floats
// by instructions of the older encoding, which cost hundreds of cycles where the
// upper halves of vector registers are in use.
func address(c gotypes.Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// scalar broadcasts a float32 parameter.
func scalar(name string) reg.VecVirtual {
	v := YMM()
	VBROADCASTSS(address(Param(name)), v)
	return v
}

// scalar64 broadcasts a float64 parameter.
func scalar64(name string) reg.VecVirtual {
	v := YMM()
	VBROADCASTSD(address(Param(name)), v)
	return v
}

func (l *loop) load(p string, group int) reg.VecVirtual {
	v := YMM()
	VMOVUPS(l.at(p, group), v)
	return v
}

func (l *loop) at(p string, group int) Mem { return Mem{Base: l.ptr[p], Disp: 32 * group} }

// run repeats body for every eight values.
func (l *loop) run(body func(group int)) {
	l.repeat("loop", 1, body)
}

// runUnrolled does groups of eight values, unroll at a time while there are as
// many, then one at a time. Body is told which.
func (l *loop) runUnrolled(unroll int, body func(group int)) {
	l.repeat("wide", unroll, body)
	l.repeat("loop", 1, body)
}

func (l *loop) repeat(label string, unroll int, body func(group int)) {
	Label(label)
	CMPQ(l.n, Imm(uint64(8*unroll)))
	JLT(LabelRef(label + "done"))
	for g := range unroll {
		body(g)
	}
	for _, p := range sortedPointers(l.ptr) {
		ADDQ(Imm(uint64(32*unroll)), p)
	}
	SUBQ(Imm(uint64(8*unroll)), l.n)
	JMP(LabelRef(label))
	Label(label + "done")
}

// runHalves repeats body for every eight values, and for four that may remain.
func (l *loop) runHalves(body func(vec func() reg.VecVirtual, bytes int)) {
	l.run(func(int) { body(YMM, 32) })
	CMPQ(l.n, Imm(4))
	JLT(LabelRef("end"))
	body(XMM, 16)
	Label("end")
}

func end() {
	VZEROUPPER()
	RET()
}

func zeroed() reg.VecVirtual {
	v := YMM()
	VXORPS(v, v, v)
	return v
}

// gated gives v where z > 0, else slope*v.
func gated(vec vecFunc, v, z, slope, zero reg.VecVirtual) reg.VecVirtual {
	mask, low := vec(), vec()
	VCMPPS(Imm(0x1e), zero, z, mask) // greater than, quiet
	VMULPS(slope, v, low)
	VBLENDVPS(mask, v, low, low)
	return low
}

// doubles widens eight floats.
func doubles(v reg.VecVirtual) [2]reg.VecVirtual {
	lo, hi, x := YMM(), YMM(), XMM()
	VCVTPS2PD(v.AsX(), lo)
	VEXTRACTF128(Imm(1), v, x)
	VCVTPS2PD(x, hi)
	return [2]reg.VecVirtual{lo, hi}
}

// total64 adds up four accumulators of doubles and stores the sum.
func total64(result string, s ...reg.VecVirtual) {
	for len(s) > 1 {
		for i := range len(s) / 2 {
			VADDPD(s[len(s)-1-i], s[i], s[i])
		}
		s = s[:(len(s)+1)/2]
	}
	x := XMM()
	VEXTRACTF128(Imm(1), s[0], x)
	VADDPD(x, s[0].AsX(), x)
	y := XMM()
	VUNPCKHPD(x, x, y)
	VADDSD(y, x, x)
	VMOVSD(x, address(Return(result)))
}

func sums(n int) []reg.VecVirtual {
	s := make([]reg.VecVirtual, n)
	for i := range s {
		s[i] = zeroed()
	}
	return s
}

func sortedPointers(m map[string]reg.GPVirtual) []reg.GPVirtual {
	var all []reg.GPVirtual
	for _, name := range []string{"a", "b", "dst", "dx", "dy", "even", "grad", "m", "odd", "p", "src", "v", "x", "y"} {
		if p, ok := m[name]; ok {
			all = append(all, p)
		}
	}
	if len(all) != len(m) {
		panic("pointer of unknown name")
	}
	return all
}
