package activities

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// What is remembered in the bucket is found by these keys. They are those of
// earlier releases: a change of one forgets every result of its stage, so raise
// the stage's version instead, on purpose.
func TestKeysOfWhatIsRemembered(t *testing.T) {
	ref := func(digit string) step.Ref { return step.Ref{Key: "k", SHA256: strings.Repeat(digit, 64), Size: 7} }
	classic, small := spec.Classic(), spec.SmallData()
	plan := step.UtilityPlan{Others: []step.ClassSource{{Class: "pits"}}, Splits: 3, Seeds: 2, PerClass: 20, Steps: 100}
	comparing := comparingClasses{
		in:      step.UtilityInput{Candidates: ref("1"), Neighbours: ref("2"), Plan: plan, Seed: 9},
		classes: []studied{{"scratches", ref("3"), ref("4")}, {"pits", ref("6"), ref("7")}},
	}
	rolledBack := step.TrainInput{Tensors: ref("4"), Recipe: small, Rollbacks: []step.Rollback{{ToEpoch: 8, DiscriminatorScale: 0.5}}}
	for name, c := range map[string]struct{ want, got string }{
		"preprocess":         {"478459ab1a857ada", preprocessKey(strings.Repeat("3", 64))},
		"train":              {"eb658cdffa82327d", trainingKey(step.TrainInput{Tensors: ref("4"), Recipe: classic})},
		"train, rolled back": {"99b4ffc0110416da", trainingKey(rolledBack)},
		"choose":             {"98a2bb393cafda33", choiceKey(ref("4"), small)},
		"sample":             {"9292a46808d616b0", sampleKey(ref("5"), classic)},
		"overfit":            {"6af0fc8081c693d0", overfitKey(step.OverfitInput{Candidates: ref("1"), Dataset: ref("3"), Tensors: ref("4"), Overfit: classic.Overfit})},
		"utility":            {"92faa584b321eeed", comparing.key()},
		"decision":           {"f13a6219dffcd7ba", decisionKey("scratches", classic, spec.ProductionPolicy(), nil)},
		"decision, utility":  {"b3fe0ecbcb4ef69b", decisionKey("scratches", small, spec.UsefulPolicy(), &plan)},
	} {
		assert.Equal(t, c.want, c.got[:16], name)
	}
}
