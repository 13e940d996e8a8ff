package kernel

import "math"

// matvec is a product of a row-major matrix with a vector.
type matvec struct {
	dst, w, x  []float32
	rows, cols int
	part       int // rows or columns of one item
}

type (
	rowProduct    struct{ matvec }
	columnProduct struct{ matvec }
)

var (
	rowProducts    freelist[rowProduct]
	columnProducts freelist[columnProduct]
)

func checkMatVec(w []float32, rows, cols, nRows, nCols int) {
	if len(w) != rows*cols || nRows != rows || nCols != cols {
		panic(badMatMul)
	}
}

// MatVec: dst[i] = sum over j of w[i*cols+j] * x[j], summed in float32 in a
// fixed order.
func MatVec(dst, w, x []float32, rows, cols int) {
	checkMatVec(w, rows, cols, len(dst), len(x))
	j := rowProducts.get()
	j.matvec = matvec{dst: dst, w: w, x: x, rows: rows, cols: cols, part: 8}
	parallel(j, (rows+7)/8)
	j.matvec = matvec{}
	rowProducts.put(j)
}

func (p *rowProduct) do(item int, _ *scratch) {
	for i := item * p.part; i < min((item+1)*p.part, p.rows); i++ {
		p.dst[i] = active.dot32(p.w[i*p.cols:][:p.cols], p.x)
	}
}

// MatTVec: dst[j] = sum over i of w[i*cols+j] * x[i], summed in float32 in the
// order of i.
func MatTVec(dst, w, x []float32, rows, cols int) {
	checkMatVec(w, rows, cols, len(x), len(dst))
	const part = 1024
	j := columnProducts.get()
	j.matvec = matvec{dst: dst, w: w, x: x, rows: rows, cols: cols, part: part}
	parallel(j, (cols+part-1)/part)
	j.matvec = matvec{}
	columnProducts.put(j)
}

func (p *columnProduct) do(item int, _ *scratch) {
	lo, hi := item*p.part, min((item+1)*p.part, p.cols)
	dst := p.dst[lo:hi]
	clear(dst)
	for i, x := range p.x {
		active.axpy(dst, p.w[i*p.cols+lo:][:len(dst)], x)
	}
}

// SquaredDistances computes dst[i*n+j] = |a_i - b_j|^2 for the rows of a (m,d)
// and b (n,d) as |a_i|^2 + |b_j|^2 - 2 a_i.b_j, never below zero. The product is
// in float32, so small distances between long rows are lost to cancellation:
// the absolute error is a few times 1e-7 * (|a_i|^2 + |b_j|^2). Candidates are to be
// ranked again exactly.
func SquaredDistances(dst, a, b []float32, m, n, d int) {
	MatMul(dst, a, b, m, n, d, false, true)
	aa, bb := tensors.get(m), tensors.get(n)
	squares(aa, a, d)
	squares(bb, b, d)
	for i := range m {
		row := dst[i*n : (i+1)*n]
		for j, p := range row {
			row[j] = float32(math.Max(0, float64(aa[i])+float64(bb[j])-2*float64(p)))
		}
	}
	tensors.put(aa)
	tensors.put(bb)
}

func squares(dst, x []float32, d int) {
	for i := range dst {
		row := x[i*d : (i+1)*d]
		dst[i] = float32(active.dot64(row, row))
	}
}
