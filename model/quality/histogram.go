package quality

import "math"

// histogram is the share of each grey level of the images' luminance.
func histogram(images []uint8) (shares [256]float64) {
	n := countImages(images)
	for i := range n {
		for _, v := range grey(pixelsOf(images, i)) {
			shares[int(v+0.5)] += 1 / float64(n*PlaneLen)
		}
	}
	return shares
}

// levelDistance is the Wasserstein distance of two histograms, in grey levels:
// how far pixels must change on average to turn one into the other.
func levelDistance(a, b [256]float64) float64 {
	sum, carried := 0.0, 0.0
	for i := range a {
		carried += a[i] - b[i]
		sum += math.Abs(carried)
	}
	return sum
}
