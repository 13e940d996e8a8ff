package kernel

// peakSums is how many independent sums a round of path.peak adds to.
const peakSums = 12

// peaking runs rounds of multiply-adds on each of some threads.
type peaking struct{ rounds int }

func (p *peaking) do(int, *scratch) { active.peak(p.rounds) }

// Peak does nothing but multiply-adds on registers, rounds (at least 1) times a
// few, on Threads() threads at once, by the instruction set in use. It returns
// how many floating-point operations these were, a multiply-add being two. The
// time it takes shows what the processor can do at best.
func Peak(rounds int) float64 {
	n := Threads()
	parallel(&peaking{max(rounds, 1)}, n)
	return 2 * peakSums * float64(active.peakLanes) * float64(max(rounds, 1)) * float64(n)
}

var peakSink float32

// peakGo multiplies and adds, without a fused instruction.
func peakGo(rounds int) {
	x := peakSink
	var s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11 float32
	for range rounds {
		s0 = s0*x + x
		s1 = s1*x + x
		s2 = s2*x + x
		s3 = s3*x + x
		s4 = s4*x + x
		s5 = s5*x + x
		s6 = s6*x + x
		s7 = s7*x + x
		s8 = s8*x + x
		s9 = s9*x + x
		s10 = s10*x + x
		s11 = s11*x + x
	}
	if s0+s1+s2+s3+s4+s5+s6+s7+s8+s9+s10+s11 != 0 { // never: without a use, nothing would be computed
		peakSink = s0
	}
}
