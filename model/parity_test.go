package model

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/checkpoint"
	"github.com/defectforge/defectforge/model/graph"
	"github.com/defectforge/defectforge/model/spec"
)

// parityEnv names another fixture, of any depths, batch, steps and rates.
const parityEnv = "DEFECTFORGE_PARITY"

// fixture is what peer/dcgan_torch.py dump has written: see testdata/README.md.
type fixture struct {
	meta    map[string]string
	tensors map[string]checkpoint.Tensor
}

func readFixture(t *testing.T) fixture {
	path := os.Getenv(parityEnv)
	if path == "" {
		path = filepath.Join("testdata", "parity.safetensors.gz")
	}
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	if strings.HasSuffix(path, ".gz") {
		zip, err := gzip.NewReader(bytes.NewReader(raw))
		require.NoError(t, err)
		raw, err = io.ReadAll(zip)
		require.NoError(t, err)
	}
	tensors, meta, err := checkpoint.Read(bytes.NewReader(raw), int64(len(raw)), checkpoint.Limits{Foreign: true})
	require.NoError(t, err)
	f := fixture{meta, map[string]checkpoint.Tensor{}}
	for _, x := range tensors {
		f.tensors[x.Name] = x
	}
	return f
}

func (f fixture) int(t *testing.T, key string) int {
	n, err := strconv.Atoi(f.meta[key])
	require.NoError(t, err, "metadata %s", key)
	return n
}

func (f fixture) float(t *testing.T, key string) float64 {
	x, err := strconv.ParseFloat(f.meta[key], 64)
	require.NoError(t, err, "metadata %s", key)
	return x
}

func (f fixture) data(t *testing.T, name string) []float32 {
	x, ok := f.tensors[name].Data.([]float32)
	require.True(t, ok, "fixture has no float tensor %s", name)
	return x
}

// recipe is the one that the fixture was made with.
func (f fixture) recipe(t *testing.T) spec.Recipe {
	r := spec.Classic()
	r.Model.GeneratorDepth, r.Model.DiscriminatorDepth = f.int(t, "gdepth"), f.int(t, "ddepth")
	r.Train.Batch = f.int(t, "batch")
	r.Train.GeneratorRate, r.Train.DiscriminatorRate = f.float(t, "glr"), f.float(t, "dlr")
	return r
}

// states are our networks' tensors under the fixture's names.
func states(g *GAN, when string) []checkpoint.Tensor {
	var out []checkpoint.Tensor
	for _, l := range g.learners() {
		out = append(out, state(l.net, when+"."+l.net.Name()+".")...)
	}
	return out
}

// load puts the fixture's initial state into g. Names and shapes must match.
func (f fixture) load(t *testing.T, g *GAN) {
	seen := map[string]bool{}
	for _, ours := range states(g, "initial") {
		theirs, ok := f.tensors[ours.Name]
		require.True(t, ok, "fixture has no tensor %s", ours.Name)
		require.ElementsMatch(t, ours.Shape, theirs.Shape, ours.Name)
		seen[ours.Name] = true
		switch d := ours.Data.(type) {
		case []float32:
			copy(d, theirs.Data.([]float32))
		case []int64:
			copy(d, theirs.Data.([]int64))
		}
	}
	for name := range f.tensors {
		if strings.HasPrefix(name, "initial.") {
			require.True(t, seen[name], "the networks have no tensor %s", name)
		}
	}
}

// distance is |a-b|/|b|.
func distance(a, b []float32) float64 {
	var diff, norm float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		diff += d * d
		norm += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(diff / max(norm, 1e-300))
}

func TestParityWithPyTorch(t *testing.T) {
	f := readFixture(t)
	g, err := New(f.recipe(t))
	require.NoError(t, err)
	defer g.Close()
	f.load(t, g)

	checkLosses(t, f, g)
	checkFinalState(t, f, g)
	checkEvaluation(t, f, g)
}

func checkLosses(t *testing.T, f fixture, g *GAN) {
	want := f.data(t, "losses")
	first, worst := 0.0, 0.0
	for i := range f.int(t, "steps") {
		l, err := g.step(f.data(t, fmt.Sprintf("step%d.real", i)), graph.Draws{Latents: f.data(t, fmt.Sprintf("step%d.z", i))})
		require.NoError(t, err)
		for k, ours := range []float64{l.Real, l.Fake, l.G} {
			theirs := float64(want[3*i+k])
			d := math.Abs(ours-theirs) / math.Abs(theirs)
			if i == 0 {
				first = max(first, d)
			}
			worst = max(worst, d)
		}
	}
	t.Logf("losses: relative difference at most %.2g in the first step, %.2g in all %d", first, worst, f.int(t, "steps"))
	require.LessOrEqual(t, first, 1e-5, "losses of the first step")
	require.LessOrEqual(t, worst, 1e-3, "losses of all steps")
}

func checkFinalState(t *testing.T, f fixture, g *GAN) {
	worst, worstShift := 0.0, 0.0
	for _, ours := range states(g, "final") {
		theirs, ok := f.tensors[ours.Name]
		require.True(t, ok, "fixture has no tensor %s", ours.Name)
		switch d := ours.Data.(type) {
		case []int64:
			require.Equal(t, theirs.Data, d, ours.Name)
		case []float32:
			// Batch norm's shifts start at zero: little more than Adam's first
			// steps stands in them.
			limit, at := 1e-3, distance(d, theirs.Data.([]float32))
			if strings.HasSuffix(ours.Name, ".bias") {
				limit, worstShift = 1e-2, max(worstShift, at)
			} else {
				worst = max(worst, at)
			}
			require.LessOrEqual(t, at, limit, ours.Name)
		}
	}
	t.Logf("final state: distance at most %.2g, of batch norm's shifts %.2g", worst, worstShift)
}

func checkEvaluation(t *testing.T, f fixture, g *GAN) {
	z, want := f.data(t, "eval.z"), f.data(t, "eval.image")
	n := len(z) / g.recipe.Model.Latent
	gen, err := graph.NewGeneration(graph.NewWorkspace(graph.CPU{}), g.generator.net, n, true)
	require.NoError(t, err)
	defer gen.Close()
	image, err := gen.Run(graph.Draws{Latents: z})
	require.NoError(t, err)
	d := distance(image, want)
	t.Logf("evaluation images: distance %.2g", d)
	require.LessOrEqual(t, d, 1e-3)
}

func float32Bytes(x []float32) []byte {
	var b []byte
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func bytesFloat32(b []byte) []float32 {
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}
