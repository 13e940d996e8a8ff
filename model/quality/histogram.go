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

// chroma is the share of each level of the images' blue and red difference (Cb and Cr
// of ITU-R BT.601, in full range; 128 for grey).
func chroma(images []uint8) (shares [2][256]float64) {
	n := countImages(images)
	for i := range n {
		chw := pixelsOf(images, i)
		for k := range PlaneLen {
			r, g, b := float64(chw[k]), float64(chw[PlaneLen+k]), float64(chw[2*PlaneLen+k])
			cb := 128 - 0.168736*r - 0.331264*g + 0.5*b
			cr := 128 + 0.5*r - 0.418688*g - 0.081312*b
			for channel, v := range [2]float64{cb, cr} {
				shares[channel][min(int(v+0.5), 255)] += 1 / float64(n*PlaneLen)
			}
		}
	}
	return shares
}

// colourDistance is the larger Wasserstein distance of both channels, in levels.
func colourDistance(a, b [2][256]float64) float64 {
	return max(levelDistance(a[0], b[0]), levelDistance(a[1], b[1]))
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
