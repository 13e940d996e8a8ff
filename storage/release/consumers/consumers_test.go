//go:build consumers

// Package consumers holds a published release against the tools of those who
// use it. It needs Python with datasets, webdataset and mlcroissant, named by
// DEFECTFORGE_TEST_PYTHON_DATA, and one with torchvision, named by
// DEFECTFORGE_TEST_PYTHON_TORCH.
package consumers

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
)

// draw is a PNG of 128x128 pixels like no other of another index or hue.
func draw(t *testing.T, index int, hue uint8) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 128, 128))
	for y := range 128 {
		for x := range 128 {
			m.Set(x, y, color.RGBA{uint8(x*index + y), hue, uint8(x ^ y), 255})
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

func draft(t *testing.T, class string, count int, hue uint8) release.Draft {
	d := release.Draft{Class: class, License: "CC0-1.0", About: "Drawn by a test.", Attributes: map[string]string{"seed": "1"}}
	for i := range count {
		fields := map[string]any{
			"label": class, "seed": "18446744073709551615", "latent_index": i, "sha256": fmt.Sprintf("%064x", i),
			"nearest_real": map[string]any{"sha256": fmt.Sprintf("%064x", i), "distance": float64(i) / 3},
		}
		// As in real ones, not every image has everything.
		if i%2 == 0 {
			fields["nearest_transformed"] = map[string]any{"sha256": fmt.Sprintf("%064x", i), "distance": 1.5, "how": "mirrored"}
		}
		d.Files = append(d.Files, release.DraftFile{
			Path: fmt.Sprintf("images/%s/%s-%06d.png", class, class, i), Data: draw(t, i+1, hue), Fields: fields,
		})
	}
	d.Files = append(d.Files, release.DraftFile{Path: "report.html", Data: []byte("<p>")},
		release.DraftFile{Path: "report.json", Data: []byte(`{"a":1}`)}, release.DraftFile{Path: "measures.json", Data: []byte(`{"b":[1,2]}`)})
	return d
}

// load runs consumers.py with the readers that each interpreter has.
func load(t *testing.T, args ...string) {
	t.Helper()
	for readers, variable := range map[string]string{
		"datasets,webdataset,mlcroissant": "DEFECTFORGE_TEST_PYTHON_DATA", "torchvision": "DEFECTFORGE_TEST_PYTHON_TORCH",
	} {
		python := os.Getenv(variable)
		require.NotEmpty(t, python, "set %s", variable)
		out, err := exec.CommandContext(t.Context(), python, append([]string{"consumers.py", readers}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		t.Logf("%s", out)
	}
}

func TestConsumers(t *testing.T) {
	b := memory.New()
	counts := map[string]int{"scratches": 21, "pits-and_2.holes": 13}
	dir := t.TempDir()
	var choices []release.Choice
	for class, count := range counts {
		_, err := release.Publish(t.Context(), b, draft(t, class, count, uint8(count)))
		require.NoError(t, err)
		_, err = release.Pull(t.Context(), b, class, release.Newest, filepath.Join(dir, class))
		require.NoError(t, err)
		load(t, "release", filepath.Join(dir, class), class, fmt.Sprint(count))
		choices = append(choices, release.Choice{Class: class, Release: release.Newest})
	}
	_, err := release.PullSet(t.Context(), b, choices, filepath.Join(dir, "set"))
	require.NoError(t, err)
	args := []string{"set", filepath.Join(dir, "set")}
	for class, count := range counts {
		args = append(args, fmt.Sprintf("%s=%d", class, count))
	}
	load(t, args...)
}
