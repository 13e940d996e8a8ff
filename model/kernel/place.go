package kernel

// The parts of an Augmentation that move pixels and lose none but those shifted
// out.

// moves reports whether a moves pixels by any of these parts.
func (a *Augmentation) moves() bool {
	return a.Mirror || a.Upend || a.Turns != 0 || a.Down != 0 || a.Aside != 0
}

// more reports whether a does more than that.
func (a *Augmentation) more() bool {
	return a.colours() || a.Rows != 0 || a.Columns != 0 || a.Top < a.Bottom && a.Left < a.Right
}

// reflected is the place in 0..n-1 that stands for i, with mirrors in the middle
// of the first and the last pixel. It needs -n < i < 2*n-1.
func reflected(i, n int) int {
	switch {
	case i < 0:
		return -i
	case i >= n:
		return 2*(n-1) - i
	}
	return i
}

// place gives the source of a result's pixel (i,j), from+i*row+j*column, before
// the shift.
func (a *augment) place(by *Augmentation) (from, row, column int) {
	// A quarter turn takes the pixel (i,j) from (h-1-j,i).
	from, row, column = 0, a.w, 1
	if by.Upend {
		from, row = from+(a.h-1)*row, -row
	}
	if by.Mirror {
		from, column = from+(a.w-1)*column, -column
	}
	for range by.Turns {
		from, row, column = from+(a.h-1)*row, column, -row
	}
	return from, row, column
}

// places are the parts of the sources' places that rows and columns give.
func (a *augment) places(by *Augmentation, s *scratch) (rows, columns []int32) {
	if by.Turns != 0 && a.h != a.w {
		panic("kernel: quarter turn of an image that is not square")
	}
	from, row, column := a.place(by)
	s.off = growInts(s.off, a.h+a.w)
	rows, columns = s.off[:a.h], s.off[a.h:]
	for i := range rows {
		rows[i] = int32(from + row*reflected(i+by.Down, a.h))
	}
	for j := range columns {
		columns[j] = int32(column * reflected(j+by.Aside, a.w))
	}
	return rows, columns
}

func (a *augment) move(by *Augmentation, dst, src []float32, s *scratch) {
	rows, columns := a.places(by, s)
	plane := a.h * a.w
	for ch := range a.c {
		from := src[ch*plane:][:plane]
		for i, r := range rows {
			to := dst[ch*plane+i*a.w:][:a.w]
			for j, c := range columns {
				to[j] = from[r+c]
			}
		}
	}
}

// moveBack is move's adjoint.
func (a *augment) moveBack(by *Augmentation, dst, src []float32, s *scratch) {
	rows, columns := a.places(by, s)
	clear(dst)
	plane := a.h * a.w
	for ch := range a.c {
		to := dst[ch*plane:][:plane]
		for i, r := range rows {
			from := src[ch*plane+i*a.w:][:a.w]
			for j, c := range columns {
				to[r+c] += from[j]
			}
		}
	}
}
