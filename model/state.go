package model

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/graph"
	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/model/spec"
)

// Metadata of a checkpoint, beside what package checkpoint adds.
const (
	keyKind        = "kind"
	keyStep        = "step"
	keyFingerprint = "fingerprint"

	kindCheckpoint = "defectforge.checkpoint.v1"
	kindGenerator  = "defectforge.generator.v1"

	averagePrefix = "average.generator."
)

// state lists a network's tensors under PyTorch's names, after prefix. The data
// is the network's own.
func state(net *graph.Net, prefix string) []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, t := range append(net.Params(), net.Buffers()...) {
		out = append(out, checkpoint.Tensor{Name: prefix + t.Name, Shape: t.Shape, Data: t.Data})
	}
	for _, c := range net.Counters() {
		out = append(out, checkpoint.Tensor{Name: prefix + c.Name, Data: c.Value})
	}
	return out
}

// tensors lists everything that a resume needs.
func (g *GAN) tensors() []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, l := range g.learners() {
		out = append(out, state(l.net, l.net.Name()+".")...)
		for i, p := range l.adam.Params {
			name := "optimizer." + l.net.Name() + "." + p.Name
			out = append(out,
				checkpoint.Tensor{Name: name + ".exp_avg", Shape: p.Shape, Data: l.adam.Mean[i].Data},
				checkpoint.Tensor{Name: name + ".exp_avg_sq", Shape: p.Shape, Data: l.adam.MeanOfSquares[i].Data})
		}
	}
	return slices.Concat(out, g.anchors.tensors(), g.adaptation.tensors(), g.average.tensors())
}

// fetch brings all that tensors lists up to date with the backend's memory.
func (g *GAN) fetch() error {
	nets := []*graph.Net{g.generator.net, g.discriminator.net}
	if g.average != nil {
		nets = append(nets, g.average.net)
	}
	var all []*graph.Tensor
	for _, n := range nets {
		all = append(append(all, n.Params()...), n.Buffers()...)
	}
	for _, l := range g.learners() {
		all = append(append(all, l.adam.Mean...), l.adam.MeanOfSquares...)
	}
	return g.workspace.Fetch(all)
}

// sampled is the generator that samples are drawn from, the averaged one where
// the recipe keeps an average.
func (g *GAN) sampled() *graph.Net {
	if g.average != nil {
		return g.average.net
	}
	return g.generator.net
}

// Save writes a checkpoint: weights, spectral norm's vectors, running
// statistics, Adam's moments, the generator's average and LeCam's anchors where
// the recipe has them, the step and the recipe's training fingerprint.
// Equal states give equal bytes. It refuses a state that is not finite with
// ErrNotFinite.
func (g *GAN) Save(w io.Writer) error {
	if err := g.fetch(); err != nil {
		return fmt.Errorf("save checkpoint of step %d: %w", g.steps, err)
	}
	tensors := g.tensors()
	if err := finite(tensors); err != nil {
		return fmt.Errorf("save checkpoint of step %d: %w", g.steps, err)
	}
	meta := map[string]string{
		keyKind:               kindCheckpoint,
		keyStep:               strconv.FormatInt(g.steps, 10),
		keyFingerprint:        g.recipe.TrainingFingerprint(),
		"latent":              strconv.Itoa(g.recipe.Model.Latent),
		"generator_depth":     strconv.Itoa(g.recipe.Model.GeneratorDepth),
		"discriminator_depth": strconv.Itoa(g.recipe.Model.DiscriminatorDepth),
	}
	if err := checkpoint.Write(w, meta, tensors); err != nil {
		return fmt.Errorf("save checkpoint of step %d: %w", g.steps, err)
	}
	return nil
}

func finite(tensors []checkpoint.Tensor) error {
	for _, t := range tensors {
		bad := false
		switch x := t.Data.(type) {
		case []float32:
			bad = !kernel.AllFinite(x)
		case []float64:
			bad = slices.ContainsFunc(x, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
		}
		if bad {
			return fmt.Errorf("tensor %s: %w", t.Name, ErrNotFinite)
		}
	}
	return nil
}

// ExportGenerator writes the generator alone under the bare names of a PyTorch
// module with layer1, layer2 and so on and output_layer, for load_state_dict. It is the
// one that samples are drawn from, the average where the recipe keeps one, with
// batch norm's running statistics of training.
func (g *GAN) ExportGenerator(w io.Writer) error {
	if err := g.fetch(); err != nil {
		return fmt.Errorf("export generator: %w", err)
	}
	meta := map[string]string{
		keyKind: kindGenerator, keyStep: strconv.FormatInt(g.steps, 10),
		"format":          "pt", // what PyTorch's readers of safetensors look for
		"latent":          strconv.Itoa(g.recipe.Model.Latent),
		"generator_depth": strconv.Itoa(g.recipe.Model.GeneratorDepth),
	}
	if err := checkpoint.Write(w, meta, state(g.sampled(), "")); err != nil {
		return fmt.Errorf("export generator: %w", err)
	}
	return nil
}

// Load reads a checkpoint that Save has written. size is its length in bytes.
// The recipe must train the same networks in the same way, else the error is
// ErrForeign; epochs, leg and all that comes after training may differ.
func Load(r io.Reader, size int64, recipe spec.Recipe) (*GAN, error) {
	g, err := blank(recipe)
	if err != nil {
		return nil, err
	}
	steps, err := load(r, size, recipe, g.tensors(), false)
	if err != nil {
		return nil, fmt.Errorf("load checkpoint: %w", err)
	}
	g.steps = steps
	return g, nil
}

// load fills tensors from a checkpoint and returns its step. With some, the
// checkpoint may hold more than these.
func load(r io.Reader, size int64, recipe spec.Recipe, tensors []checkpoint.Tensor, some bool) (int64, error) {
	rd, err := checkpoint.NewReader(r, size, checkpoint.Limits{})
	if err != nil {
		return 0, err
	}
	meta := rd.Metadata()
	if meta[keyKind] != kindCheckpoint {
		return 0, fmt.Errorf("%w: kind %q, want %q", checkpoint.ErrFormat, meta[keyKind], kindCheckpoint)
	}
	if want := recipe.TrainingFingerprint(); meta[keyFingerprint] != want {
		return 0, fmt.Errorf("%w: its training fingerprint is %q, the recipe's %q", ErrForeign, meta[keyFingerprint], want)
	}
	steps, err := strconv.ParseInt(meta[keyStep], 10, 64)
	if err != nil || steps < 0 {
		return 0, fmt.Errorf("%w: step %q", checkpoint.ErrFormat, meta[keyStep])
	}
	open := make(map[string]checkpoint.Tensor, len(tensors))
	for _, t := range tensors {
		open[t.Name] = t
	}
	err = rd.ReadInto(func(e checkpoint.Entry) (any, error) {
		t, ok := open[e.Name]
		if !ok && !some {
			return nil, fmt.Errorf("%w: the networks have no such tensor", checkpoint.ErrFormat)
		}
		delete(open, e.Name)
		return t.Data, nil
	})
	if err != nil {
		return 0, err
	}
	for name := range open {
		return 0, fmt.Errorf("%w: tensor %s is missing", checkpoint.ErrFormat, name)
	}
	return steps, finite(tensors)
}
