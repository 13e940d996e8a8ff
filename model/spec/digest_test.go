package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorded is a recipe or a policy as a released version stored it, and the
// digests by which that version's checkpoints and results are found.
type recorded struct {
	TrainingFingerprint string  `json:"training_fingerprint"`
	Digest              string  `json:"digest"`
	Recipe              *Recipe `json:"recipe"`
	Policy              *Policy `json:"policy"`
}

// record reads testdata/recorded/<file>. What a released version stored never
// changes: a built-in whose values change gets one more file, with the next number.
func record(t *testing.T, file string) recorded {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var out recorded
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&out), "a field of recorded recipes must be kept: %s", file)
	return out
}

// A recipe that was stored before a field existed hashes as it did then.
func TestRecordedDigests(t *testing.T) {
	const rule = "a new field changes the digests of stored recipes: tag it omitempty or omitzero, and let its zero value mean " +
		"what was done before it existed; the comment at Recipe says why"
	files, err := filepath.Glob("testdata/recorded/*.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 6)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r := record(t, file)
			if r.Policy != nil {
				assert.Equal(t, r.Digest, Digest(*r.Policy), rule)
				return
			}
			require.NotNil(t, r.Recipe)
			assert.Equal(t, r.Digest, Digest(*r.Recipe), rule)
			assert.Equal(t, r.TrainingFingerprint, r.Recipe.TrainingFingerprint(), rule)
		})
	}
}

// Every built-in recipe and policy hashes as one that is recorded: a change of
// its values, which retrains every class that uses it, is never an accident.
func TestBuiltInDigests(t *testing.T) {
	for _, name := range Names() {
		r, err := Named(name)
		require.NoError(t, err)
		last := latest(t, name, "recipe")
		assert.Equal(t, last.Digest, Digest(r), "recipe %s", name)
		assert.Equal(t, last.TrainingFingerprint, r.TrainingFingerprint(), "recipe %s", name)
	}
	for _, name := range PolicyNames() {
		p, err := NamedPolicy(name)
		require.NoError(t, err)
		assert.Equal(t, latest(t, name, "policy").Digest, Digest(p), "policy %s", name)
	}
}

// latest is the record of a built-in with the highest number.
func latest(t *testing.T, name, kind string) recorded {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("testdata/recorded/%s-*.%s.json", name, kind))
	require.NoError(t, err)
	require.NotEmpty(t, files, "record built-in %s %s in testdata/recorded/%s-1.%s.json", kind, name, name, kind)
	slices.Sort(files)
	return record(t, files[len(files)-1])
}

// What continues a training or only changes the grain of its history does not
// rename it; anything else does.
func TestTrainingFingerprintNamesWhatDecidesTheWeights(t *testing.T) {
	want := Classic().TrainingFingerprint()
	for name, change := range map[string]func(*Recipe){
		"name": func(r *Recipe) { r.Name = "other" }, "epochs": func(r *Recipe) { r.Train.Epochs++ },
		"leg_epochs": func(r *Recipe) { r.Train.LegEpochs++ }, "keep_checkpoints": func(r *Recipe) { r.Train.KeepCheckpoints++ },
		"sample": func(r *Recipe) { r.Sample.Count++ }, "policy": func(r *Recipe) { r.Policy = "copying" },
	} {
		r := Classic()
		change(&r)
		assert.Equal(t, want, r.TrainingFingerprint(), name)
	}
	for name, change := range map[string]func(*Recipe){
		"seed": func(r *Recipe) { r.Seed++ }, "model": func(r *Recipe) { r.Model.Latent++ }, "train": func(r *Recipe) { r.Train.Batch++ },
	} {
		r := Classic()
		change(&r)
		assert.NotEqual(t, want, r.TrainingFingerprint(), name)
	}
}
