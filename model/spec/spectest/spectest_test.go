package spectest

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/spec"
)

// These are the recipes and policies that earlier versions recorded.
func TestTheRecordedOnes(t *testing.T) {
	requireRecorded := func(file string, v any) {
		raw, err := os.ReadFile("../testdata/recorded/" + file)
		require.NoError(t, err)
		var recorded struct{ Digest string }
		require.NoError(t, json.Unmarshal(raw, &recorded))
		require.Equal(t, recorded.Digest, spec.Digest(v), file)
	}
	for _, r := range []spec.Recipe{Classic(), Quick(), SmallData()} {
		requireRecorded(r.Name+"-1.recipe.json", r)
	}
	for _, name := range spec.PolicyNames() {
		requireRecorded(name+"-1.policy.json", EarlierPolicy(name))
	}
}
