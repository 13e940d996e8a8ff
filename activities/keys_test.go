package activities

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

// What is remembered in the bucket is found by these keys. They are those of
// earlier releases: a change of one forgets every result of its stage, so raise
// the stage's version instead, on purpose.
func TestKeysOfWhatIsRemembered(t *testing.T) {
	ref := func(digit string) step.Ref { return step.Ref{Key: "k", SHA256: strings.Repeat(digit, 64), Size: 7} }
	classic, small := spectest.Classic(), spectest.SmallData()
	plan := step.UtilityPlan{Others: []step.ClassSource{{Class: "pits"}}, Splits: 3, Seeds: 2, PerClass: 20, Steps: 100}
	comparing := utilityStudy{
		in:      step.UtilityInput{Candidates: ref("1"), Neighbours: ref("2"), Plan: plan, Seed: 9},
		classes: []studied{{"scratches", ref("3"), ref("4")}, {"pits", ref("6"), ref("7")}},
	}
	rolledBack := step.TrainInput{Tensors: ref("4"), Recipe: small, Rollbacks: []step.Rollback{{ToEpoch: 8, DiscriminatorScale: 0.5}}}
	for name, c := range map[string]struct{ want, got string }{
		"preprocess":         {"preprocess/478459ab1a857ada", tensorMemo(strings.Repeat("3", 64), spec.Framing{}).Key()},
		"train":              {"train/eb658cdffa82327d", trainingMemo(step.TrainInput{Tensors: ref("4"), Recipe: classic}).Key()},
		"train, rolled back": {"train/99b4ffc0110416da", trainingMemo(rolledBack).Key()},
		"evaluate":           {"evaluate-2/6e3b9207c582105f", evaluationMemo(step.EvaluateInput{Checkpoint: ref("5"), Tensors: ref("4"), Recipe: small, Epoch: 3}).Key()},
		"choose":             {"choice-2/98a2bb393cafda33", choiceMemo(ref("4"), small).Key()},
		"sample":             {"sample/9292a46808d616b0", sampleMemo(ref("5"), classic).Key()},
		"overfit": {"overfit-4/6af0fc8081c693d0", overfitMemo(step.OverfitInput{
			Candidates: ref("1"), Dataset: ref("3"), Tensors: ref("4"), Overfit: classic.Overfit,
		}).Key()},
		"utility":        {"utility/92faa584b321eeed", comparing.memo().Key()},
		"utility, pairs": {"utility-part/92faa584b321eeed", comparing.partMemo().Key()},
	} {
		assert.Regexp(t, "^cache/"+c.want+"[0-9a-f]{48}[.]json$", c.got, name)
	}
}

// Evaluations see what is sampled: mirrored images may have another choice.
func TestMirroringIsAnotherEvaluation(t *testing.T) {
	ref := step.Ref{Key: "k", SHA256: strings.Repeat("4", 64)}
	plain, turned := spectest.SmallData(), spectest.SmallData()
	turned.Sample.Mirror = true
	assert.NotEqual(t, choiceMemo(ref, plain).Key(), choiceMemo(ref, turned).Key())
	assert.NotEqual(t, evaluationMemo(step.EvaluateInput{Recipe: plain}).Key(), evaluationMemo(step.EvaluateInput{Recipe: turned}).Key())
	assert.NotEqual(t, sampleMemo(ref, plain).Key(), sampleMemo(ref, turned).Key())
}
