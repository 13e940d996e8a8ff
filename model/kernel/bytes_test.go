package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func randomBytes(r *rand.Rand, n int) []uint8 {
	x := make([]uint8, n)
	for i := range x {
		x[i] = uint8(r.Uint32())
		if i%5 == 0 {
			x[i] = []uint8{0, 127, 128, 255}[r.IntN(4)]
		}
	}
	return x
}

// guardInts makes n values amid guard cells.
func guardInts(n int) (x []int32, check func(t *testing.T)) {
	all := slices.Repeat([]int32{-12345}, n+2*guardSize)
	return all[guardSize : guardSize+n : guardSize+n], func(t *testing.T) {
		t.Helper()
		for i := range guardSize {
			if all[i] != -12345 || all[len(all)-1-i] != -12345 {
				t.Fatalf("a guard cell %d from the slice's ends was written", guardSize-i)
			}
		}
	}
}

// plainProducts is the definition of ByteRows.Products.
func plainProducts(a, b []uint8, m, n, k int) []int64 {
	out := make([]int64, m*n)
	for i := range m {
		for j := range n {
			for t := range k {
				out[i*n+j] += int64(a[i*k+t]) * int64(b[j*k+t])
			}
		}
	}
	return out
}

func checkProducts(t *testing.T, rows *ByteRows, a, b []uint8, m, n, k int) {
	t.Helper()
	want := plainProducts(a, b, m, n, k)
	defer SetThreads(0)
	for threads := 1; threads <= 3; threads++ {
		SetThreads(threads)
		got, check := guardInts(m * n)
		rows.Pack(a, m, k)
		if rows.Len() != m {
			t.Fatalf("%d rows are packed, want %d", rows.Len(), m)
		}
		rows.Products(got, b, n)
		check(t)
		for i := range want {
			if int64(got[i]) != want[i] {
				t.Fatalf("%dx%dx%d, %d threads: product %d is %d, want %d", m, n, k, threads, i, got[i], want[i])
			}
		}
	}
}

func TestByteProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(50, 51))
	onEach(t, paths(), func(t *testing.T) {
		var rows ByteRows // used again and again, as its memory is
		for k := 1; k <= 70; k++ {
			m, n := 1+r.IntN(40), 1+r.IntN(70)
			checkProducts(t, &rows, randomBytes(r, m*k), randomBytes(r, n*k), m, n, k)
		}
		for m := 1; m <= 30; m++ {
			checkProducts(t, &rows, randomBytes(r, m*36), randomBytes(r, 33*36), m, 33, 36)
		}
		for n := 1; n <= 66; n++ {
			checkProducts(t, &rows, randomBytes(r, 15*20), randomBytes(r, n*20), 15, n, 20)
		}
		for _, s := range [][3]int{{1030, 3, 8}, {3, 700, 12}, {530, 300, 40}, {17, 35, 4100}, {2, 2, 16384}, {0, 4, 9}, {4, 0, 9}} {
			checkProducts(t, &rows, randomBytes(r, s[0]*s[2]), randomBytes(r, s[1]*s[2]), s[0], s[1], s[2])
		}
	})
}

// TestByteProductsAtTheLimit has the largest sums that there can be.
func TestByteProductsAtTheLimit(t *testing.T) {
	const k = MaxByteDepth
	a, b := slices.Repeat([]uint8{255}, 2*k), slices.Repeat([]uint8{255}, 3*k)
	clear(a[k:]) // with VNNI, the other extreme of the sum
	onEach(t, paths(), func(t *testing.T) {
		checkProducts(t, new(ByteRows), a, b, 2, 3, k)
	})
	defer func() {
		if recover() == nil {
			t.Error("longer rows are taken")
		}
	}()
	new(ByteRows).Pack(make([]uint8, k+1), 1, k+1)
}

func TestByteProductsWantTheirShape(t *testing.T) {
	for what, call := range map[string]func(r *ByteRows){
		"rows":    func(r *ByteRows) { r.Pack(make([]uint8, 7), 2, 4) },
		"length":  func(r *ByteRows) { r.Pack(nil, 0, 0) },
		"others":  func(r *ByteRows) { r.Products(make([]int32, 4), make([]uint8, 7), 2) },
		"results": func(r *ByteRows) { r.Products(make([]int32, 3), make([]uint8, 8), 2) },
		"squares": func(*ByteRows) { ByteSquares(make([]int64, 2), make([]uint8, 7), 4) },
		"pair":    func(*ByteRows) { SquaredDifference(make([]uint8, 2), make([]uint8, 3)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: nothing panics", what)
				}
			}()
			var r ByteRows
			r.Pack(make([]uint8, 8), 2, 4)
			call(&r)
		}()
	}
}

func TestSquaredDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(52, 53))
	onPaths(t, func(t *testing.T) {
		for _, n := range append(rangeOf(100), 16384, 32752, 40000, 70001) {
			a, b := randomBytes(r, n), randomBytes(r, n)
			if n > 30000 { // the largest sums
				a, b = slices.Repeat([]uint8{255}, n), make([]uint8, n)
			}
			if got, want := SquaredDifference(a, b), squaredDifferenceGo(a, b); got != want {
				t.Fatalf("%d bytes: %d, want %d", n, got, want)
			}
			if n == 0 {
				continue
			}
			got := []int64{-1, -1}
			ByteSquares(got, append(slices.Clone(a), b...), n)
			if zero := make([]uint8, n); got[0] != squaredDifferenceGo(a, zero) || got[1] != squaredDifferenceGo(b, zero) {
				t.Fatalf("squares of %d bytes: %v", n, got)
			}
		}
	})
}

func rangeOf(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// TestTileWhole checks every height of tile at every small depth.
func TestTileWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(54, 55))
	onEach(t, paths(), func(t *testing.T) {
		p := active
		if p.tileWhole == nil {
			return
		}
		width := 2 * p.lanes
		for m := 1; m <= p.rows; m++ {
			for k := 1; k < 20; k++ {
				a, b := randomWords(r, m*k, p.wordBytes), randomWords(r, 400, p.wordBytes)
				off := make([]int32, k)
				for i := range off {
					off[i] = int32(r.IntN(300))
				}
				b0, b1 := r.IntN(50), r.IntN(50)
				ldc := width + 3
				c := guard(m * ldc)
				sums, left, right := ints(c.x), ints(a), ints(b)
				for i := range sums {
					sums[i] = int32(i)
				}
				want := slices.Clone(sums)
				for i := range m {
					for j := range width {
						base := b0 + j
						if j >= p.lanes {
							base = b1 + j - p.lanes
						}
						for l, o := range off {
							want[i*ldc+j] += wordProduct(left[l*m+i], right[base+int(o)], p.wordBytes)
						}
					}
				}
				p.tileWhole(c.x, ldc, a, m, b, b0, b1, off)
				c.check(t)
				if !slices.Equal(sums, want) {
					t.Fatalf("%d rows, depth %d: other sums than the loop's", m, k)
				}
			}
		}
	})
}

// wordProduct is the sum of products in two words.
func wordProduct(a, b int32, wordBytes int) (sum int32) {
	if wordBytes == 2 {
		return int32(int16(a))*int32(int16(b)) + (a>>16)*(b>>16)
	}
	for s := 0; s < 32; s += 8 {
		sum += int32(uint8(a>>s)) * int32(int8(b>>s))
	}
	return sum
}

// randomWords are of bytes of all values, or of 16-bit values of a byte's.
func randomWords(r *rand.Rand, n, wordBytes int) []float32 {
	x := make([]float32, n)
	for i := range x {
		w := int32(r.Uint32())
		if wordBytes == 2 {
			w &= 0x00ff00ff
		}
		ints(x)[i] = w
	}
	return x
}

func BenchmarkByteProducts(b *testing.B) {
	const m, n, k = 1000, 512, 128 * 128
	r := rand.New(rand.NewPCG(56, 57))
	left, right, dst := randomBytes(r, m*k), randomBytes(r, n*k), make([]int32, m*n)
	for _, p := range paths() {
		b.Run(p.variant, func(b *testing.B) {
			defer func(before *path) { active = before }(active)
			active = p
			var rows ByteRows
			rows.Pack(left, m, k)
			for b.Loop() {
				rows.Products(dst, right, n)
			}
			b.ReportMetric(float64(m*n*k)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "products/ns")
		})
	}
}
