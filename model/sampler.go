package model

import (
	"fmt"
	"io"
	"slices"

	"github.com/defectforge/defectforge/model/graph"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// sampleGroup is the batch that images are always made in, aligned to their
// numbers: image i has the same neighbours in every call, so its bytes do not
// depend on how it was asked for.
const sampleGroup = 8

// Sampler makes images with a generator in evaluation mode.
type Sampler struct {
	recipe     spec.Recipe
	net        *graph.Net
	generation *graph.Generation
	draws      *draws
}

// NewSampler takes a copy of g's generator, of its average where the recipe keeps
// one. With recipe.Sample.StatisticsBatches
// above zero, batch norm's statistics are estimated anew: the averages, over
// that many training batches of latents, of batch means and unbiased variances. An
// average needs that: the running statistics are those of the weights in training.
func NewSampler(g *GAN, recipe spec.Recipe) (*Sampler, error) {
	if err := checkNetworks(recipe); err != nil {
		return nil, err
	}
	if a, b := g.recipe.TrainingFingerprint(), recipe.TrainingFingerprint(); a != b {
		return nil, fmt.Errorf("make sampler: %w: the training fingerprint is %q, the recipe's %q", ErrForeign, a, b)
	}
	if err := g.fetch(); err != nil {
		return nil, fmt.Errorf("make sampler: %w", err)
	}
	net := graph.NewGenerator(recipe.Model)
	net.CopyFrom(g.sampled())
	return newSampler(net, recipe)
}

// LoadSampler makes a sampler of the generator in a checkpoint of size bytes, as
// NewSampler does, without holding the rest of it.
func LoadSampler(r io.Reader, size int64, recipe spec.Recipe) (*Sampler, error) {
	if err := checkNetworks(recipe); err != nil {
		return nil, err
	}
	net := graph.NewGenerator(recipe.Model)
	prefix := net.Name() + "."
	if recipe.Train.AverageImages > 0 {
		prefix = averagePrefix
	}
	if _, err := load(r, size, recipe, state(net, prefix), true); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	return newSampler(net, recipe)
}

func newSampler(net *graph.Net, r spec.Recipe) (*Sampler, error) {
	if err := estimate(net, r); err != nil {
		return nil, fmt.Errorf("estimate batch statistics: %w", err)
	}
	s := &Sampler{recipe: r, net: net, draws: newDraws(r, net)}
	var err error
	if s.generation, err = graph.NewGeneration(graph.NewWorkspace(graph.CPU{}), net, sampleGroup, true); err != nil {
		return nil, fmt.Errorf("make sampler: %w", err)
	}
	return s, nil
}

// estimate sets the running statistics from fresh batches.
func estimate(net *graph.Net, r spec.Recipe) error {
	if r.Sample.StatisticsBatches <= 0 {
		return nil
	}
	net.ForgetStatistics()
	ws := graph.NewWorkspace(graph.CPU{})
	gen, err := graph.NewGeneration(ws, net, r.Train.Batch, false)
	if err != nil {
		return err
	}
	defer gen.Close()
	draws := newDraws(r, net)
	for i := range r.Sample.StatisticsBatches {
		if _, err := gen.Run(draws.batch("statistics", uint64(i), r.Train.Batch)); err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
	}
	return ws.Fetch(net.Buffers())
}

// Images makes images first to first+count-1 of the recipe's seed, as bytes
// (count,c,h,w) of the model's shape. Image i depends on the generator, seed and i
// alone.
func (s *Sampler) Images(first, count int) ([]uint8, error) {
	if first < 0 || count < 0 {
		panic(fmt.Sprintf("model: images %d to %d", first, first+count))
	}
	size := s.recipe.Model.ImageLen()
	out := make([]uint8, count*size)
	for group := first / sampleGroup; group*sampleGroup < first+count; group++ {
		start := group * sampleGroup
		images, err := s.generation.Run(s.draws.each("sample", start, sampleGroup))
		if err != nil {
			return nil, fmt.Errorf("make images from %d: %w", start, err)
		}
		from, to := max(start, first), min(start+sampleGroup, first+count)
		ToUint8(out[(from-first)*size:(to-first)*size], images[(from-start)*size:(to-start)*size])
	}
	if s.recipe.Sample.Mirror {
		for i := range count {
			s.mirror(out[i*size:(i+1)*size], first+i)
		}
	}
	return out, nil
}

// mirror mirrors image i, (c,h,w), along either axis, as chance says.
func (s *Sampler) mirror(image []uint8, i int) {
	side := s.recipe.Model.ImageSide()
	way := kernel.NewStream(s.recipe.Seed, "mirror", uint64(i)).Perm(4)[0]
	for plane := range slices.Chunk(image, side*side) {
		if way&1 != 0 {
			for row := range slices.Chunk(plane, side) {
				slices.Reverse(row)
			}
		}
		if way&2 != 0 {
			for y := range side / 2 {
				top, bottom := plane[y*side:(y+1)*side], plane[(side-1-y)*side:(side-y)*side]
				for x := range top {
					top[x], bottom[x] = bottom[x], top[x]
				}
			}
		}
	}
}

// Close frees what the graph holds.
func (s *Sampler) Close() { s.generation.Close() }
