package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestMatMul(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	for _, s := range [][3]int{{1, 1, 1}, {1, 33, 7}, {5, 3, 2}, {12, 64, 100}, {13, 31, 17}, {100, 96, 12}, {64, 1, 300},
		{15, 40, 9000}, {3, 5, 20000}, {70, 130, 257}, {300, 70, 40}} {
		m, n, k := s[0], s[1], s[2]
		a, b := noise(r, m*k), noise(r, k*n)
		for flags := range 4 {
			transA, transB := flags&1 != 0, flags&2 != 0
			want := make([]float64, m*n)
			for i := range m {
				for j := range n {
					for l := range k {
						p, q := i*k+l, l*n+j
						if transA {
							p = l*m + i
						}
						if transB {
							q = j*k + l
						}
						want[i*n+j] += float64(a[p]) * float64(b[q])
					}
				}
			}
			onPaths(t, func(t *testing.T) {
				got := onThreads(t, name(s), func() []float32 {
					g := guard(m * n)
					MatMul(g.x, a, b, m, n, k, transA, transB)
					g.check(t)
					return g.x
				})
				near(t, name(s), got, want, 2e-6)
			})
		}
	}
}

// TestTile checks every height of tile at every small depth against the loop in
// path's comment.
func TestTile(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	onPaths(t, func(t *testing.T) {
		p := active
		width := 2 * p.lanes
		for m := 1; m <= p.rows; m++ {
			for k := 1; k < 20; k++ {
				a, b := noise(r, m*k), noise(r, 400)
				off := make([]int32, k)
				for i := range off {
					off[i] = int32(r.IntN(300))
				}
				b0, b1 := r.IntN(50), r.IntN(50)
				ldc := width + 3
				c := guard(m * ldc)
				want := make([]float64, len(c.x))
				for i := range c.x {
					c.x[i] = float32(i)
					want[i] = float64(i)
				}
				for i := range m {
					for j := range width {
						base := b0 + j
						if j >= p.lanes {
							base = b1 + j - p.lanes
						}
						for l, o := range off {
							want[i*ldc+j] += float64(a[l*m+i]) * float64(b[base+int(o)])
						}
					}
				}
				p.tile(c.x, ldc, a, m, b, b0, b1, off)
				c.check(t)
				near(t, name([]int{m, k}), c.x, want, 1e-6)
				for i := range m { // between the tile's rows
					for j := width; j < ldc; j++ {
						if c.x[i*ldc+j] != float32(i*ldc+j) {
							t.Fatalf("tile of %d rows wrote beside row %d", m, i)
						}
					}
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	onPaths(t, func(t *testing.T) {
		for m := 1; m <= active.lanes; m++ {
			for blocks := 1; blocks <= 3; blocks++ {
				stride := 16*blocks + r.IntN(5)
				src := noise(r, (m-1)*stride+16*blocks)
				ld := m + r.IntN(3)
				var off [16]int32
				for i, o := range r.Perm(16) {
					off[i] = int32(o * ld)
				}
				dst := guard(blocks * 16 * ld)
				for i := range dst.x {
					dst.x[i] = -7
				}
				want := append([]float32{}, dst.x...)
				for tt := range 16 * blocks {
					for i := range m {
						want[tt/16*16*ld+int(off[tt%16])+i] = src[i*stride+tt]
					}
				}
				active.transpose(dst.x, &off, 16*ld, src, stride, m, blocks)
				dst.check(t)
				for i := range want {
					if dst.x[i] != want[i] {
						t.Fatalf("m %d, %d blocks: value %d is %g, want %g", m, blocks, i, dst.x[i], want[i])
					}
				}
			}
		}
	})
}

func TestMatVec(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for _, s := range [][2]int{{1, 1}, {3, 7}, {17, 33}, {9, 2500}, {130, 48}, {1, 5000}} {
		rows, cols := s[0], s[1]
		w, x, y := noise(r, rows*cols), noise(r, cols), noise(r, rows)
		forward, back := make([]float64, rows), make([]float64, cols)
		for i := range rows {
			for j := range cols {
				forward[i] += float64(w[i*cols+j]) * float64(x[j])
				back[j] += float64(w[i*cols+j]) * float64(y[i])
			}
		}
		onPaths(t, func(t *testing.T) {
			got := onThreads(t, name(s), func() []float32 {
				g := guard(rows)
				MatVec(g.x, w, x, rows, cols)
				g.check(t)
				return g.x
			})
			near(t, name(s), got, forward, 5e-6)
			got = onThreads(t, name(s), func() []float32 {
				g := guard(cols)
				MatTVec(g.x, w, y, rows, cols)
				g.check(t)
				return g.x
			})
			near(t, name(s), got, back, 5e-6)
		})
	}
}

func TestSquaredDistances(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	m, n, d := 7, 13, 300
	a, b := noise(r, m*d), noise(r, n*d)
	copy(b[5*d:6*d], a[2*d:3*d])
	want := make([]float64, m*n)
	for i := range m {
		for j := range n {
			for l := range d {
				want[i*n+j] += math.Pow(float64(a[i*d+l])-float64(b[j*d+l]), 2)
			}
		}
	}
	onPaths(t, func(t *testing.T) {
		got := make([]float32, m*n)
		SquaredDistances(got, a, b, m, n, d)
		near(t, "distances", got, want, 1e-6)
		if got[2*n+5] < 0 {
			t.Errorf("the distance of a copy is %g", got[2*n+5])
		}
	})
}

func TestChoosePath(t *testing.T) {
	for _, p := range paths() {
		if got := choosePath(p.variant); got != p {
			t.Errorf("asked for %q, got %q", p.variant, got.variant)
		}
	}
	for _, p := range sets() {
		if got := choosePath(p.name); got != p {
			t.Errorf("asked for %q, got %q, want its fastest variant", p.name, got.variant)
		}
	}
	for _, name := range []string{"", "mmx"} {
		if got := choosePath(name); got != paths()[0] {
			t.Errorf("asked for %q, got %q, want the fastest", name, got.name)
		}
	}
}
