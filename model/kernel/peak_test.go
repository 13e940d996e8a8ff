package kernel

import "testing"

func TestPeakCountsWhatAllThreadsDo(t *testing.T) {
	defer SetThreads(0)
	onPaths(t, func(t *testing.T) {
		SetThreads(3)
		if got, want := Peak(1000), 3*1000*2*12*float64(active.peakLanes); got != want {
			t.Errorf("%g operations, want %g", got, want)
		}
		if Peak(0) <= 0 {
			t.Error("no round at all")
		}
	})
}
