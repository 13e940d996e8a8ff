package spec

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBuiltInRecipesAreValid(t *testing.T) {
	for _, name := range Names() {
		r, err := Named(name)
		require.NoError(t, err)
		assert.Equal(t, name, r.Name)
		assert.NoError(t, r.Validate())
	}
}

// Each testdata/*.bad.json changes the classic recipe so that it breaks one
// rule, and says what the message must contain.
func TestBadRecipes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.json")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 30)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			var c struct {
				Want   string
				Change json.RawMessage
			}
			require.NoError(t, json.Unmarshal(raw, &c))
			r := Classic()
			require.NoError(t, json.Unmarshal(c.Change, &r))
			err = r.Validate()
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.Want)
			assert.Equal(t, 1, strings.Count(err.Error(), "\n")+1, "one rule is broken, so there is one message: %v", err)
		})
	}
}

func TestNotANumberIsInNoRange(t *testing.T) {
	nan := math.NaN()
	r := Classic()
	r.Ingest.HoldoutShare, r.Train.GeneratorRate, r.Train.DiscriminatorRate = nan, nan, nan
	r.Train.Beta1, r.Train.Beta2, r.Overfit.MaxTailShare = nan, nan, nan
	err := r.Validate()
	require.Error(t, err)
	assert.Equal(t, 6, strings.Count(err.Error(), "NaN"), "%v", err)
}

func TestAllProblemsAtOnce(t *testing.T) {
	err := Recipe{}.Validate()
	require.Error(t, err)
	for _, field := range []string{"name", "ingest.max_bytes", "model.latent", "train.batch", "sample.count", "overfit.neighbours"} {
		assert.Contains(t, err.Error(), field+": ")
	}
}
