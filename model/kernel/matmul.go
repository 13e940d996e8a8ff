package kernel

const (
	badMatMul = "kernel: matrix product with slices that do not match its shape"
	badVector = "kernel: vectors of different lengths"
)

type matmul struct {
	engine
	rowsL rowsLeft
	colsL columnsLeft
	rowsR rowsRight
	colsR columnsRight
	plain plainSink
}

var matmuls freelist[matmul]

// MatMul computes the matrix product dst = op(a) op(b), all row-major:
//
//	for i < m, j < n:
//		dst[i*n+j] = sum over t < k of A(i,t) * B(t,j)
//
// A(i,t) is a[i*k+t], or a[t*m+i] with transA; B(t,j) is b[t*n+j], or b[j*k+t]
// with transB.
func MatMul(dst, a, b []float32, m, n, k int, transA, transB bool) {
	scaledMatMul(dst, a, b, m, n, k, transA, transB, 1)
}

func scaledMatMul(dst, a, b []float32, m, n, k int, transA, transB bool, scale float32) {
	if m < 0 || n < 0 || k < 0 || len(dst) != m*n || len(a) != m*k || len(b) != k*n {
		panic(badMatMul)
	}
	q := matmuls.get()
	e := &q.engine
	*e = engine{path: active, m: m, n: n, units: k, groups: 1}
	e.factor[0] = 1
	q.rowsL = rowsLeft{src: a, stride: k, image: max(k, 1), factor: 1}
	q.colsL = columnsLeft{src: a, stride: m}
	q.rowsR = rowsRight{src: b, stride: n}
	q.colsR = columnsRight{src: b, stride: k}
	q.plain = plainSink{dst: dst, stride: n, scale: scale}
	e.a, e.b, e.out = &q.rowsL, &q.rowsR, &q.plain
	if transA {
		e.a = &q.colsL
	}
	if transB {
		e.b = &q.colsR
	}
	e.plan(true)
	e.runSplit(&q.plain)
	*q = matmul{}
	matmuls.put(q)
}

// runSplit runs the product into p, adding up the splits in their order.
func (e *engine) runSplit(p *plainSink) {
	if e.splits == 1 {
		e.run()
		return
	}
	p.parts = tensors.get(e.splits * e.m * e.n)
	e.run()
	r := reductions.get()
	*r = reduction{dst: p.dst, parts: p.parts, splits: e.splits, scale: p.scale}
	parallel(r, chunks(len(p.dst)))
	*r = reduction{}
	reductions.put(r)
	tensors.put(p.parts)
}

// reduction: dst[i] = scale * (parts[0][i] + parts[1][i] + ...).
type reduction struct {
	dst, parts []float32
	splits     int
	scale      float32
}

var reductions freelist[reduction]

func (r *reduction) do(item int, _ *scratch) {
	lo, hi := chunk(item, len(r.dst))
	dst := r.dst[lo:hi]
	copy(dst, r.parts[lo:])
	for s := 1; s < r.splits; s++ {
		part := r.parts[s*len(r.dst)+lo:][:len(dst)]
		active.add(dst, dst, part)
	}
	active.scale(dst, dst, r.scale)
}

// chunkSize is the length of vector that one thread takes at a time.
const chunkSize = 8 << 10

func chunks(n int) int { return (n + chunkSize - 1) / chunkSize }

func chunk(i, n int) (lo, hi int) { return i * chunkSize, min((i+1)*chunkSize, n) }
