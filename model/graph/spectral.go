package graph

// spectral is the state of a weight's spectral norm: the singular vectors of the
// weight, seen as a matrix (out, rest). One power iteration per training forward
// pass moves them on.
type spectral struct {
	u, v       *Tensor
	rows, cols int
}

func newSpectral(prefix string, w *Tensor) *spectral {
	rows := w.Shape[0]
	cols := len(w.Data) / rows
	return &spectral{
		u: newTensor(prefix+".weight_u", rows), v: newTensor(prefix+".weight_v", cols),
		rows: rows, cols: cols,
	}
}

func (s *spectral) prepare(ws *Workspace) Handle {
	return ws.backend.Spectral(s.rows, s.cols, ws.adopt(s.u), ws.adopt(s.v))
}
