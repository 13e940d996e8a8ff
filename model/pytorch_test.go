package model

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/graph"
	"github.com/defectforge/defectforge/model/kernel"
)

// pythonEnv names the interpreter that has PyTorch.
const pythonEnv = "DEFECTFORGE_TORCH_PYTHON"

// sharedFile finds a file of the folder shared, beside the module or where
// DEFECTFORGE_SHARED says.
func sharedFile(t *testing.T, name string) string {
	dir := os.Getenv("DEFECTFORGE_SHARED")
	if dir == "" {
		here, err := os.Getwd()
		require.NoError(t, err)
		for !exists(filepath.Join(here, "go.mod")) {
			require.NotEqual(t, filepath.Dir(here), here, "no go.mod above the test")
			here = filepath.Dir(here)
		}
		dir = filepath.Join(here, "..", "shared")
	}
	path := filepath.Join(dir, name)
	if !exists(path) {
		if os.Getenv("CI") == "true" && os.Getenv("DEFECTFORGE_REQUIRE_SHARED") == "1" {
			t.Fatalf("%s is missing", path)
		}
		t.Skipf("%s is not here: put it there or set DEFECTFORGE_SHARED", path)
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// loadInPyTorch reads a safetensors file with nothing but the standard library,
// loads it into the peer's generator with strict=True and writes the images of
// the latents.
const loadInPyTorch = `
import importlib.util, json, struct, sys
import torch
peer, weights, depth, latent, latents, images = sys.argv[1:]
m = importlib.util.module_from_spec(importlib.util.spec_from_file_location("peer", peer))
m.__spec__.loader.exec_module(m)
raw = open(weights, "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
head = json.loads(raw[8:8 + n])
head.pop("__metadata__")
types = {"F32": torch.float32, "I64": torch.int64}
state = {}
for name, e in head.items():
    a, b = e["data_offsets"]
    data = bytearray(raw[8 + n + a:8 + n + b])
    state[name] = torch.frombuffer(data, dtype=types[e["dtype"]]).reshape(e["shape"])
g = m.Generator(int(depth), int(latent))
g.load_state_dict(state, strict=True)
g.eval()
z = torch.frombuffer(bytearray(open(latents, "rb").read()), dtype=torch.float32).reshape(-1, int(latent), 1, 1)
with torch.no_grad():
    open(images, "wb").write(g(z).numpy().tobytes())
`

func TestParityOfAnExportedGenerator(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Python")
	}
	peer := sharedFile(t, filepath.Join("peer", "dcgan_torch.py"))
	python := os.Getenv(pythonEnv)
	if python == "" {
		python = "/usr/bin/python3"
	}
	if out, err := exec.Command(python, "-c", "import torch").CombinedOutput(); err != nil {
		t.Skipf("%s has no PyTorch (%v: %s): install python3-torch or set %s", python, err, out, pythonEnv)
	}
	g := newGAN(t, tiny())
	train(t, g, 0, 3)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	var weights bytes.Buffer
	require.NoError(t, g.ExportGenerator(&weights))
	require.NoError(t, os.WriteFile(file("weights"), weights.Bytes(), 0o600))
	z := make([]float32, 3*g.recipe.Model.Latent)
	kernel.NewStream(1, "test latents", 0).Normal(z)
	require.NoError(t, os.WriteFile(file("latents"), float32Bytes(z), 0o600))
	out, err := exec.Command(python, "-c", loadInPyTorch,
		peer, file("weights"), "2", "7", file("latents"), file("images")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	theirs, err := os.ReadFile(file("images"))
	require.NoError(t, err)

	gen, err := graph.NewGeneration(graph.NewWorkspace(graph.CPU{}), g.generator.net, 3, true)
	require.NoError(t, err)
	defer gen.Close()
	ours, err := gen.Run(graph.Draws{Latents: z})
	require.NoError(t, err)
	require.Len(t, theirs, 4*len(ours))
	d := distance(ours, bytesFloat32(theirs))
	t.Logf("images of PyTorch and ours: distance %.2g", d)
	require.LessOrEqual(t, d, 1e-5)
}
