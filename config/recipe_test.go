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
	want.Train.Epochs, want.Train.Beta1, want.Sample.Count = 10, 0, 16
	assert.Equal(t, want, got)

	got, err = Recipe(write(t, filepath.Join(dir, "empty.yaml"), ""), nil)
	require.NoError(t, err)
	want = spec.Classic()
	want.Name = "empty"
	assert.Equal(t, want, got, "classic is the default")

	_, err = Recipe(filepath.Join(dir, "missing.yaml"), nil)
	assert.ErrorContains(t, err, "cannot be read")
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
		"train.epochs=0":   "train.epochs: 0: must be within",
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
