package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// Decisions of earlier releases are found by these keys, as the results of the
// stages are by those that package activities pins.
func TestKeysOfDecisions(t *testing.T) {
	plan := step.UtilityPlan{Others: []step.ClassSource{{Class: "pits"}}, Splits: 3, Seeds: 2, PerClass: 20, Steps: 100}
	key := decisionMemo("scratches", spec.Classic(), spec.ProductionPolicy(), nil).Key()
	require.Regexp(t, "^cache/decision/f13a6219dffcd7ba[0-9a-f]{48}[.]json$", key)
	key = decisionMemo("scratches", spec.SmallData(), spec.UsefulPolicy(), &plan).Key()
	require.Regexp(t, "^cache/decision/b3fe0ecbcb4ef69b[0-9a-f]{48}[.]json$", key)
	require.Equal(t, "cache/decision/", DecisionFolder())
}
