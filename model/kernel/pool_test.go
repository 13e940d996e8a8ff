package kernel

import (
	"sync"
	"testing"
)

// TestConcurrentCalls lets several goroutines use the package at once.
func TestConcurrentCalls(t *testing.T) {
	c := Conv{N: 3, C: 7, H: 16, W: 16, O: 9, K: 4, Stride: 2, Pad: 1}
	x, w, y := convData(c)
	want := make([]float32, len(y))
	c.Forward(want, x, w, 1)
	dot := Dot(x, x)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			got := make([]float32, len(y))
			for range 20 {
				c.Forward(got, x, w, 1)
				sameBits(t, "concurrent call", got, want)
				if d := Dot(x, x); d != dot {
					t.Errorf("a concurrent sum is %g, want %g", d, dot)
				}
			}
		})
	}
	all.Wait()
}

func TestScratchIsAligned(t *testing.T) {
	for n := range 40 {
		x := aligned(n + 1)
		if len(x) != n+1 || cap(x) != n+1 {
			t.Fatalf("%d floats asked, %d given", n+1, len(x))
		}
	}
}

// TestArenaKeepsFewBuffers sees that growing demands do not pile up memory.
func TestArenaKeepsFewBuffers(t *testing.T) {
	var a arena
	for n := 1; n < 100; n++ {
		b := a.get(n)
		if len(b) != n {
			t.Fatalf("%d floats asked, %d given", n, len(b))
		}
		a.put(b)
	}
	if len(a.free) != 1 {
		t.Errorf("one buffer at a time was in use, %d are kept", len(a.free))
	}
}
