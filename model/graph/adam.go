package graph

// Adam is the optimiser's state for a network: running means of the gradients
// and of their squares, in the order of Params and under their names.
type Adam struct {
	Params, Mean, MeanOfSquares []*Tensor
}

// NewAdam is the state before the first step.
func NewAdam(net *Net) *Adam {
	a := &Adam{Params: net.Params()}
	for _, p := range a.Params {
		a.Mean = append(a.Mean, newTensor(p.Name, p.Shape...))
		a.MeanOfSquares = append(a.MeanOfSquares, newTensor(p.Name, p.Shape...))
	}
	return a
}

func (a *Adam) update(ws *Workspace, gradients []Buffer, step AdamStep) {
	for i, g := range gradients {
		ws.backend.Adam(&step, ws.adopt(a.Params[i]), ws.adopt(a.Mean[i]), ws.adopt(a.MeanOfSquares[i]), g)
	}
}
