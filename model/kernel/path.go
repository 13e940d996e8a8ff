package kernel

import "os"

// path is one instruction set's inner loops.
type path struct {
	name    string
	variant string // the name, or a longer one that says how bfloat16 and bytes are multiplied too
	// A tile is at most rows high and 2*lanes wide.
	rows, lanes int
	bf16        bool // tilePairs is no emulation

	// tile adds a product to a tile of c:
	//
	//	for i < m, j < 2*lanes:
	//		for t < len(off):
	//			c[i*ldc+j] += a[t*m+i] * b[base(j)+off[t]+j%lanes]
	//
	// where base(j) is b0 for j < lanes and b1 otherwise, 1 <= m <= rows, and off is not empty.
	// All sums of a tile are formed before they are added to c.
	tile func(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32)

	// tilePairs is tile for words of two bfloat16 values, see bf16.go: a product is
	// that of the low halves plus that of the high halves.
	tilePairs func(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32)

	// tileAMX is tilePairs for up to 16 rows that lie lda apart in a, by b's rows of
	// 2*lanes words, over 16*k words; nil where there are no tile registers.
	tileAMX func(c []float32, ldc int, a []float32, lda, m int, b []float32, k int)

	// tileWhole is tile for 32-bit words of whole numbers, in c as well: a product
	// is that of wordBytes pairs of numbers, added up. With 4, words are of bytes,
	// unsigned in a and signed in b, with 2 of 16-bit values. Nil in plain Go, see
	// bytelanes.go.
	tileWhole func(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32)
	wordBytes int // bytes of a row that a word holds

	// transpose writes rows of src as columns of dst:
	//
	//	for i < m, t < 16*blocks:
	//		dst[t/16*step + off[t%16] + i] = src[i*stride+t]
	//
	// with 1 <= m <= lanes. Exactly m values of each column are written.
	transpose func(dst []float32, off *[16]int32, step int, src []float32, stride, m, blocks int)

	// gather packs a panel from runs of 4 or 8 values:
	//
	//	for t < len(off), j < 2*lanes/run, i < run:
	//		dst[t*2*lanes+j*run+i] = src[base[j]+off[t]+i]
	gather func(dst, src []float32, base *[8]int, run int, off []int32)

	// peak does rounds of peakSums multiply-adds of peakLanes values each.
	peak      func(rounds int)
	peakLanes int

	*loops
}

// active is the path in use; tests change it.
var active = choosePath(os.Getenv("DEFECTFORGE_KERNEL"))

// Features names the instruction set in use: "avx512", "avx2" or "go". It is the
// fastest that the machine has, or the one that the environment variable
// DEFECTFORGE_KERNEL names, if the machine has that. There, "avx512-amx",
// "avx512-bf16" and "avx512-vnni" choose among the ways to multiply bfloat16 as
// well: on tile registers, by AVX512_BF16, or emulated; "avx512-plain" multiplies
// bytes without AVX512_VNNI, too. The build tag noasm leaves "go" only.
func Features() string { return active.name }

// HasBF16 reports whether Conv.BF16 is fast: whether the path in use has the
// processor's instructions for it.
func HasBF16() bool { return active.bf16 }

// choosePath gives the path of that name, or the fastest where there is none.
func choosePath(name string) *path {
	all := paths()
	for _, p := range all {
		if p.name == name || p.variant == name {
			return p
		}
	}
	return all[0]
}

var goPath = path{
	name: "go", variant: "go", rows: 4, lanes: 4, tile: tileGo, tilePairs: tilePairsGo(4), transpose: transposeGo, gather: gatherGo,
	peak: peakGo, peakLanes: 1, loops: &goLoops,
}

func tileGo(c []float32, ldc int, a []float32, m int, b []float32, b0, b1 int, off []int32) {
	for i := 0; i < m; i += 2 {
		for h, base := range [2]int{b0, b1} {
			if i+1 < m {
				pairGo(c[i*ldc+4*h:], ldc, a[i:], m, b[base:], off)
			} else {
				rowGo(c[i*ldc+4*h:], a[i:], m, b[base:], off)
			}
		}
	}
}

// pairGo is tileGo's two rows by four columns.
func pairGo(c []float32, ldc int, a []float32, m int, b []float32, off []int32) {
	var s00, s01, s02, s03, s10, s11, s12, s13 float32
	for t, o := range off {
		x0, x1 := a[t*m], a[t*m+1]
		v := b[o : o+4 : o+4]
		s00 += x0 * v[0]
		s01 += x0 * v[1]
		s02 += x0 * v[2]
		s03 += x0 * v[3]
		s10 += x1 * v[0]
		s11 += x1 * v[1]
		s12 += x1 * v[2]
		s13 += x1 * v[3]
	}
	d := c[:4]
	d[0] += s00
	d[1] += s01
	d[2] += s02
	d[3] += s03
	d = c[ldc : ldc+4]
	d[0] += s10
	d[1] += s11
	d[2] += s12
	d[3] += s13
}

// rowGo is tileGo's one row by four columns.
func rowGo(c, a []float32, m int, b []float32, off []int32) {
	var s0, s1, s2, s3 float32
	for t, o := range off {
		x := a[t*m]
		v := b[o : o+4 : o+4]
		s0 += x * v[0]
		s1 += x * v[1]
		s2 += x * v[2]
		s3 += x * v[3]
	}
	d := c[:4]
	d[0] += s0
	d[1] += s1
	d[2] += s2
	d[3] += s3
}

func transposeGo(dst []float32, off *[16]int32, step int, src []float32, stride, m, blocks int) {
	for k := range blocks {
		for i := range m {
			row := src[i*stride+16*k:][:16]
			for t, v := range row {
				dst[k*step+int(off[t])+i] = v
			}
		}
	}
}

func gatherGo(dst, src []float32, base *[8]int, run int, off []int32) {
	for j := 0; j < 8; j += run {
		from := src[base[j/run]:]
		for t, o := range off {
			*(*[4]float32)(dst[8*t+j:]) = *(*[4]float32)(from[o:])
			if run == 8 {
				*(*[4]float32)(dst[8*t+4:]) = *(*[4]float32)(from[o+4:])
			}
		}
	}
}
