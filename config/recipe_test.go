package config

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

func TestRecipeByName(t *testing.T) {
	got, err := Recipe("quick", nil)
	require.NoError(t, err)
	assert.Equal(t, spec.Quick(), got)
	_, err = Recipe("qiuck", nil)
	assert.ErrorContains(t, err, `--recipe: qiuck: unknown recipe; did you mean "quick"?`)
}

func TestRecipeFile(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "steel.yaml"), "extends: quick\nseed: 18446744073709551615\ntrain:\n  epochs: 9\n  beta1: 0\n")
	got, err := Recipe(file, []string{"sample.count=16", "train.epochs = 10"})
	require.NoError(t, err)
	want := spec.Quick()
	want.Name, want.Seed = "steel", 1<<64-1
	want.Train.Epochs, want.Train.Steps, want.Train.LegEpochs, want.Train.Beta1, want.Sample.Count = 10, 0, 1, 0, 16
	assert.Equal(t, want, got)

	got, err = Recipe(write(t, filepath.Join(dir, "empty.yaml"), ""), nil)
	require.NoError(t, err)
	want = spec.Classic()
	want.Name = "empty"
	assert.Equal(t, want, got, "classic is the default")

	_, err = Recipe(filepath.Join(dir, "missing.yaml"), nil)
	assert.ErrorContains(t, err, "cannot be read")
}

// Whichever of epochs and steps was set last decides how long training is; both at
// once are a mistake.
func TestLengthOfTraining(t *testing.T) {
	length := func(name string, settings ...string) [3]int {
		r, err := Recipe(name, settings)
		require.NoError(t, err)
		return [3]int{r.Train.Epochs, r.Train.Steps, r.Train.LegEpochs}
	}
	assert.Equal(t, [3]int{0, 5000, 0}, length("surface"))
	assert.Equal(t, [3]int{41, 0, 3}, length("surface", "train.epochs=41"))
	assert.Equal(t, [3]int{41, 0, 7}, length("surface", "train.epochs=41", "train.leg_epochs=7"))
	assert.Equal(t, [3]int{41, 0, 3}, length("surface", "train.epochs=41", "train.steps=0"))
	assert.Equal(t, [3]int{0, 900, 0}, length("classic", "train.steps=900"))
	assert.Equal(t, [3]int{0, 900, 0}, length("surface", "train.steps=900"))
	_, err := Recipe("surface", []string{"train.epochs=3", "train.steps=9"})
	assert.ErrorContains(t, err, "train.epochs: 3: train.steps (9) decides how long training is; set one of the two to 0")
	_, err = Recipe("surface", []string{"train.leg_epochs=3"})
	assert.ErrorContains(t, err, "train.leg_epochs: 3: train.steps (5000) decides")
	file := write(t, filepath.Join(t.TempDir(), "older.yaml"), "extends: quick\ntrain:\n  epochs: 150\n")
	assert.Equal(t, [3]int{150, 0, 8}, length(file), "a recipe file from before there were steps")
}

func TestSettings(t *testing.T) {
	for setting, want := range map[string]string{
		"epochs":           "write key=value",
		"=3":               "write key=value",
		"train.epoch=3":    `--set: train.epoch: unknown key; did you mean "train.epochs"?`,
		"epochs=3":         `did you mean "train.epochs"?`,
		"train.epochs=3.5": `--set: train.epochs: "3.5" is not a whole number`,
		"train.epochs=":    `"" is not a whole number`,
		"train.beta1=nan":  "train.beta1: NaN: must be at least 0",
		"seed=-1":          "not negative",
		"train.batch=0":    "train.batch: 0: must be within",
	} {
		_, err := Recipe("quick", []string{setting})
		require.Error(t, err, setting)
		assert.Contains(t, err.Error(), want, setting)
	}
	_, err := Recipe("quick", []string{"a=1", "seed=x"})
	var p Problems
	require.ErrorAs(t, err, &p)
	assert.Len(t, p, 2, "all at once")
}

func TestBadRecipeFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/recipes/*.bad.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 6)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Recipe(file, nil)
			require.Error(t, err)
			assert.Contains(t, err.Error(), wanted(t, file))
		})
	}
}
