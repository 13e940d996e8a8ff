package kernel

import "fmt"

// AddNoise adds one map per image to all its channels, in each channel's strength:
//
//	y[i,ch,p] += strength[ch] * noise[i,p]
//
// with y (n,c,area), noise (n,area) and strength (c).
func AddNoise(y, noise, strength []float32, n, c, area int) {
	runNoise(noiseJob{op: (*noiseJob).add, y: y, noise: noise, strength: strength, n: n, c: c, area: area})
}

// NoiseBackward computes the gradient by the strengths of dy, the gradient by y:
//
//	dstrength[ch] = sum over i, p of dy[i,ch,p] * noise[i,p]
//
// accumulated in float64.
func NoiseBackward(dstrength, dy, noise []float32, n, c, area int) {
	runNoise(noiseJob{op: (*noiseJob).differentiate, y: dy, noise: noise, strength: dstrength, n: n, c: c, area: area})
}

type noiseJob struct {
	op                 func(j *noiseJob, channel int)
	y, noise, strength []float32
	n, c, area         int
}

var noiseJobs freelist[noiseJob]

func runNoise(v noiseJob) {
	if v.n < 1 || v.c < 1 || v.area < 1 || len(v.y) != v.n*v.c*v.area || len(v.noise) != v.n*v.area || len(v.strength) != v.c {
		panic(fmt.Sprintf("kernel: noise (%d,%d) for %d channels with slices of %d, %d and %d values",
			v.n, v.area, v.c, len(v.noise), len(v.y), len(v.strength)))
	}
	j := noiseJobs.get()
	*j = v
	parallel(j, v.c)
	*j = noiseJob{}
	noiseJobs.put(j)
}

func (j *noiseJob) do(item int, _ *scratch) { j.op(j, item) }

// maps are image i's noise, and a channel's values in it.
func (j *noiseJob) maps(i, channel int) (noise, y []float32) {
	return j.noise[i*j.area:][:j.area], j.y[(i*j.c+channel)*j.area:][:j.area]
}

func (j *noiseJob) add(channel int) {
	for i := range j.n {
		noise, y := j.maps(i, channel)
		active.axpy(y, noise, j.strength[channel])
	}
}

func (j *noiseJob) differentiate(channel int) {
	sum := 0.0
	for i := range j.n {
		noise, y := j.maps(i, channel)
		sum += active.dot64(y, noise)
	}
	j.strength[channel] = float32(sum)
}
