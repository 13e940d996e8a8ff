package graph

import (
	"github.com/defectforge/defectforge/model/kernel"
)

const tinyNorm = 1e-12

// spectral estimates the largest singular value of a weight, seen as a matrix
// (out, rest), by one power iteration per training forward pass. It follows
// torch.nn.utils.spectral_norm.
type spectral struct {
	u, v       *Tensor
	rows, cols int
	sigma      float64 // of the last forward pass
	product    []float32
}

func newSpectral(prefix string, w *Tensor) *spectral {
	rows := w.Shape[0]
	cols := len(w.Data) / rows
	return &spectral{
		u: newTensor(prefix+".weight_u", rows), v: newTensor(prefix+".weight_v", cols),
		rows: rows, cols: cols, product: make([]float32, rows),
	}
}

// iterate moves u and v on by one step, v = norm(W'u) and u = norm(Wv), and
// sets sigma = u'Wv.
func (s *spectral) iterate(w []float32) {
	kernel.MatTVec(s.v.Data, w, s.u.Data, s.rows, s.cols)
	normalize(s.v.Data, s.v.Data)
	kernel.MatVec(s.product, w, s.v.Data, s.rows, s.cols)
	normalize(s.u.Data, s.product)
	s.sigma = kernel.Dot(s.u.Data, s.product)
}

// scale is the factor that makes the weight's spectral norm one; 1 without
// spectral norm.
func (s *spectral) scale() float32 {
	if s == nil {
		return 1
	}
	return float32(1 / s.sigma)
}

// correct turns G = dL/d(W/sigma) into dL/dW = (G - <G, W/sigma> u v')/sigma,
// in place. u, v and sigma are those of the forward pass.
func (s *spectral) correct(g, w []float32) {
	inner := kernel.Dot(g, w) / s.sigma
	for i := range s.rows {
		row := g[i*s.cols : (i+1)*s.cols]
		kernel.Axpy(row, s.v.Data, float32(-inner*float64(s.u.Data[i])))
	}
	kernel.Scale(g, g, s.scale())
}

// normalize sets dst = x / max(|x|, 1e-12). dst may be x.
func normalize(dst, x []float32) {
	f := 1 / max(kernel.Norm(x), tinyNorm)
	for i, v := range x {
		dst[i] = float32(float64(v) * f)
	}
}
