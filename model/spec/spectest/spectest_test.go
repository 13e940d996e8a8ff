package spectest

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

// These are the recipes that earlier versions recorded.
func TestRecipesAreTheRecordedOnes(t *testing.T) {
	for _, r := range []spec.Recipe{Quick(), SmallData()} {
		raw, err := os.ReadFile("../testdata/recorded/" + r.Name + "-1.recipe.json")
		require.NoError(t, err)
		var recorded struct{ Digest string }
		require.NoError(t, json.Unmarshal(raw, &recorded))
		require.Equal(t, recorded.Digest, spec.Digest(r), r.Name)
	}
}
