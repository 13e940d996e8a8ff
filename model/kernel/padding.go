package kernel

// padding copies planes into a layout with their zero padding in it, which
// makes every tap of a patch an in-bounds read at a fixed distance. A plane is
// split into step*step phases: phase (r,s) holds the padded plane's pixels
// (step*i+r, step*j+s), so that neighbours in a phase are neighbours in memory.
type padding struct {
	dst, src      []float32
	height, width int // of a source plane
	top           int // rows and columns of padding before the source
	step          int
	rows, pitch   int // of a phase
	phase, plane  int // floats of a phase, and of all phases of a plane
}

// do pads one plane.
func (p *padding) do(item int, _ *scratch) {
	src := p.src[item*p.height*p.width:][:p.height*p.width]
	dst := p.dst[item*p.plane:][:p.plane]
	for r := range p.step {
		for i := range p.rows {
			h := p.step*i + r - p.top
			to := dst[r*p.step*p.phase+i*p.pitch:]
			if h < 0 || h >= p.height {
				for s := range p.step {
					clear(to[s*p.phase:][:p.pitch])
				}
				continue
			}
			p.row(to, src[h*p.width:][:p.width])
		}
	}
}

// row splits a source row among the phases, which lie p.phase apart in dst.
func (p *padding) row(dst, src []float32) {
	if p.step != 2 {
		for s := range p.step {
			everyNth(dst[s*p.phase:][:p.pitch], src, s-p.top, p.step)
		}
		return
	}
	// The phase that begins with the source's first value has its even ones.
	even, odd := dst[:p.pitch], dst[p.phase:][:p.pitch]
	if p.top%2 == 1 {
		even, odd = odd, even
	}
	e, o := p.top/2, (p.top+1)/2 // zeros before them
	n := max(min(len(src)/2, p.pitch-e, p.pitch-o), 0)
	clear(even[:e])
	clear(odd[:o])
	active.pairs(even[e:e+n], odd[o:o+n], src[:2*n])
	everyNth(even[e+n:], src, 2*n, 2)
	everyNth(odd[o+n:], src, 2*n+1, 2)
}

// everyNth: dst[j] = src[first+step*j], zero outside src.
func everyNth(dst, src []float32, first, step int) {
	j := 0
	for ; first < 0 && j < len(dst); j++ {
		dst[j] = 0
		first += step
	}
	n := 0
	if first < len(src) {
		n = min((len(src)-first+step-1)/step, len(dst)-j)
	}
	mid := dst[j : j+n]
	switch {
	case step == 1:
		copy(mid, src[first:])
	default:
		for i := range mid {
			mid[i] = src[first]
			first += step
		}
	}
	clear(dst[j+n:])
}

// splitPhases pads and splits x for Forward.
func (q *conv) splitPhases(x []float32) []float32 {
	p := &q.pad
	*p = padding{src: x, height: q.H, width: q.W, top: q.Pad, step: q.Stride,
		rows: q.OutH() + q.taps(), pitch: q.OutW() + q.taps()}
	return p.run(q.N * q.C)
}

// padInput pads x for BackwardWeights: one phase, read at the stride.
func (q *conv) padInput(x []float32) []float32 {
	p := &q.pad
	*p = padding{src: x, height: q.H, width: q.W, top: q.Pad, step: 1,
		rows: q.Stride*(q.OutH()-1) + q.K, pitch: q.Stride*(q.OutW()-1) + q.K}
	return p.run(q.N * q.C)
}

// padOutput pads dy for BackwardInput, whose phases have height by width pixels
// and begin at firstCell at the latest.
func (q *conv) padOutput(dy []float32, height, width int) []float32 {
	p := &q.pad
	last := firstCell(0, q.Pad, q.Stride)
	*p = padding{src: dy, height: q.OutH(), width: q.OutW(), top: q.taps(), step: 1,
		rows: max(last+height, q.OutH()) + q.taps(), pitch: max(last+width, q.OutW()) + q.taps()}
	return p.run(q.N * q.O)
}

func (p *padding) run(planes int) []float32 {
	p.phase = p.rows * p.pitch
	p.plane = p.step * p.step * p.phase
	p.dst = tensors.get(planes * p.plane)
	parallel(p, planes)
	return p.dst
}

// offsets gives the distance of each (channel, kh, kw) in the split layout.
func (p *padding) offsets(off []int32, c Conv) {
	t := 0
	for ch := range c.C {
		for kh := range c.K {
			for kw := range c.K {
				phase := kh%c.Stride*c.Stride + kw%c.Stride
				off[t] = offset(ch*p.plane + phase*p.phase + kh/c.Stride*p.pitch + kw/c.Stride)
				t++
			}
		}
	}
}

// firstCell is the smallest i for which stride*i+r-pad is not negative.
func firstCell(r, pad, stride int) int { return (max(pad-r, 0) + stride - 1) / stride }

// adjointOffsets sets up each phase's taps for BackwardInput. Phase (r,s) holds
// the pixels (Stride*i+r-Pad, Stride*j+s-Pad) of dx, which the taps
// (r+Stride*a, s+Stride*b) reach from the pixels (i-a, j-b) of dy.
func (q *conv) adjointOffsets() {
	p, reach := &q.pad, q.taps()
	q.off = growInts(q.off, q.O*q.K*q.K)
	at := 0
	for r := range q.Stride {
		for s := range q.Stride {
			g := r*q.Stride + s
			begin := at
			for o := range q.O {
				for a := 0; r+q.Stride*a < q.K; a++ {
					for b := 0; s+q.Stride*b < q.K; b++ {
						q.off[at] = offset(o*p.plane + (reach-a)*p.pitch + reach - b)
						at++
					}
				}
			}
			q.factor[g] = (at - begin) / q.O
			q.cells.groups[g] = cells{off: q.off[begin:at],
				base: firstCell(r, q.Pad, q.Stride)*p.pitch + firstCell(s, q.Pad, q.Stride)}
		}
	}
}
