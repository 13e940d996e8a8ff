//go:build !noasm

package kernel

// The assembly does multiples of four tiles, plain Go the rest.

func winograd3InputAVX(dst []float32, point int, src []float32, row, part, n int) {
	if n >= 4 {
		winograd3InputAVX2(&dst[0], uintptr(4*point), &src[0], uintptr(4*row), uintptr(4*part), n&^3)
	}
	if done := n &^ 3; done < n {
		winograd3InputGo(dst[done:], point, src[done:], row, part, n-done)
	}
}

func winograd3OutputAVX(dst []float32, row int, src []float32, point, n int, scale float32) {
	if n >= 4 {
		winograd3OutputAVX2(&dst[0], uintptr(4*row), &src[0], uintptr(4*point), n&^3, scale)
	}
	if done := n &^ 3; done < n {
		winograd3OutputGo(dst[4*done:], row, src[done:], point, n-done, scale)
	}
}

func winograd3PixelsAVX(dst []float32, point int, src []float32, row, part, n int) {
	if n >= 4 {
		winograd3PixelsAVX2(&dst[0], uintptr(4*point), &src[0], uintptr(4*row), uintptr(4*part), n&^3)
	}
	if done := n &^ 3; done < n {
		winograd3PixelsGo(dst[done:], point, src[done:], row, part, n-done)
	}
}

func winograd3WeightsAVX(dst []float32, point int, taps []float32, n int) {
	if n > 8 {
		winograd3Weights16AVX2(&dst[0], uintptr(4*point), &taps[0])
	} else {
		winograd3Weights8AVX2(&dst[0], uintptr(4*point), &taps[0])
	}
}

func winograd3TapsAVX(dst []float32, part int, src []float32, point, n int, scale float32) {
	if n >= 4 {
		winograd3TapsAVX2(&dst[0], uintptr(4*part), &src[0], uintptr(4*point), n&^3, scale)
	}
	if done := n &^ 3; done < n {
		winograd3TapsGo(dst[done:], part, src[done:], point, n-done, scale)
	}
}
