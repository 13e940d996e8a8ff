package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// peakSums is how many sums a round of the peak loops adds to: more than the
// multiply-adds that any processor has under way at once.
const peakSums = 12

// peak writes loops of independent multiply-adds on registers alone.
func peak(set isa) {
	name := "peak" + set.name
	TEXT(name, NOSPLIT, "func(rounds int)")
	Doc(name + " is path.peak; rounds is not 0.")
	n := Load(Param("rounds"), GP64())
	x := set.vec()
	zero(set, x)
	sums := make([]reg.VecVirtual, peakSums)
	for i := range sums {
		sums[i] = set.vec()
		zero(set, sums[i])
	}
	Label("loop")
	for _, s := range sums {
		VFMADD231PS(x, x, s)
	}
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
