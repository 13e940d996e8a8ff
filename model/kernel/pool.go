package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// job is work that falls into independent items.
type job interface {
	// do runs one item; s is the running worker's own scratch memory.
	do(item int, s *scratch)
}

// call is one job being run.
type call struct {
	job     job
	items   int64
	next    atomic.Int64
	helpers sync.WaitGroup
}

var (
	threads atomic.Int64
	calls   freelist[call]

	scratchPool freelist[scratch]

	helperLock sync.Mutex
	helpers    int
	work       = make(chan *call, 256)
)

// SetThreads sets how many threads run one call, the caller's included. Below
// 1 it means GOMAXPROCS, which is the default. Results do not depend on it.
func SetThreads(n int) { threads.Store(int64(max(n, 0))) }

// Threads is the number of threads that run one call.
func Threads() int {
	if n := int(threads.Load()); n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}

// parallel runs all items of j and returns when they are done.
func parallel(j job, items int) {
	want := min(Threads(), items) - 1
	c := calls.get()
	c.job, c.items = j, int64(items)
	c.next.Store(0)
	if want > 0 {
		startHelpers(want)
	}
	for range want {
		c.helpers.Add(1)
		select {
		case work <- c:
		default: // all helpers have plenty to do
			c.helpers.Done()
		}
	}
	c.run()
	c.helpers.Wait()
	c.job = nil
	calls.put(c)
}

func (c *call) run() {
	var s *scratch
	for {
		i := c.next.Add(1) - 1
		if i >= c.items {
			break
		}
		if s == nil {
			s = scratchPool.get()
		}
		c.job.do(int(i), s)
	}
	if s != nil {
		scratchPool.put(s)
	}
}

func startHelpers(n int) {
	helperLock.Lock()
	defer helperLock.Unlock()
	for ; helpers < n; helpers++ {
		go func() {
			for c := range work {
				c.run()
				c.helpers.Done()
			}
		}()
	}
}

// freelist keeps objects for reuse. Unlike sync.Pool it never drops them, so
// that a warm call allocates nothing.
type freelist[T any] struct {
	lock sync.Mutex
	free []*T
}

func (f *freelist[T]) get() *T {
	f.lock.Lock()
	defer f.lock.Unlock()
	if n := len(f.free); n > 0 {
		x := f.free[n-1]
		f.free = f.free[:n-1]
		return x
	}
	return new(T)
}

func (f *freelist[T]) put(x *T) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.free = append(f.free, x)
}

// scratch is the memory of one worker.
type scratch struct {
	a, b, c []float32
	off     []int32
	steps   []int32   // the offsets of packed panels
	stepsOf int       // the lanes that steps are for
	columns [16]int32 // path.transpose's offsets
	runs    []span
	base    [8]int // path.gather's bases
	factors [6]float32
	taps    []float32
	rows    []float32
	lanes   []uint64
}

// grow returns a slice of n floats at a cache line's start, reusing b's memory
// where it suffices. Its contents are arbitrary.
func grow(b []float32, n int) []float32 {
	if cap(b) >= n {
		return b[:n]
	}
	return aligned(n)
}

func growInts(b []int32, n int) []int32 {
	if cap(b) >= n {
		return b[:n]
	}
	return make([]int32, n)
}

// aligned allocates n floats beginning at a 64-byte boundary.
func aligned(n int) []float32 {
	const line = 64 / 4
	raw := make([]float32, n+line)
	skip := 0
	if r := uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % 64; r != 0 {
		skip = int(64-r) / 4
	}
	return raw[skip : skip+n : skip+n]
}

// arena keeps tensor-sized buffers between calls.
type arena struct {
	lock sync.Mutex
	free [][]float32
}

var tensors arena

// get returns n floats of arbitrary contents.
func (a *arena) get(n int) []float32 {
	a.lock.Lock()
	defer a.lock.Unlock()
	best := -1
	for i, b := range a.free {
		if cap(b) >= n && (best < 0 || cap(b) < cap(a.free[best])) {
			best = i
		}
	}
	if best < 0 {
		if len(a.free) == 0 {
			return aligned(n)
		}
		best = len(a.free) - 1 // too small for this: give it up, do not pile up
		for i, b := range a.free {
			if cap(b) > cap(a.free[best]) {
				best = i
			}
		}
		a.drop(best)
		return aligned(n)
	}
	b := a.free[best]
	a.drop(best)
	return b[:n]
}

func (a *arena) drop(i int) {
	last := len(a.free) - 1
	a.free[i] = a.free[last]
	a.free[last] = nil
	a.free = a.free[:last]
}

func (a *arena) put(b []float32) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.free = append(a.free, b)
}

// ReleaseMemory gives pooled tensor-sized scratch memory back to the collector.
func ReleaseMemory() {
	tensors.lock.Lock()
	defer tensors.lock.Unlock()
	tensors.free = nil
}
