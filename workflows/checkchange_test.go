package workflows

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// checked is a run that asks, and is answered out.
func checked(t *testing.T, minNew int, out step.ChangeResult) (*stages, AugmentResult, Status, map[string]string) {
	t.Helper()
	s, in := &stages{verdict: spec.Pass}, input()
	in.IfChanged = &step.IfChanged{MinNew: minNew}
	attributes := map[string]string{}
	env := start(t, s, in, func(env *testsuite.TestWorkflowEnvironment) {
		stub(s, env, step.CheckChange, out, func(in step.ChangeInput) {
			require.Equal(t, ref("dataset"), in.Dataset)
			require.Equal(t, minNew, in.MinNew)
			require.Equal(t, "copying", in.Policy.Name)
		})
		env.OnUpsertTypedSearchAttributes(matchAll(attributes)).Return(nil)
	})
	require.NoError(t, env.GetWorkflowError())
	var got AugmentResult
	require.NoError(t, env.GetWorkflowResult(&got))
	return s, got, query(t, env), attributes
}

func TestAugmentEndsAtOnceWhereNothingChanged(t *testing.T) {
	found := step.ChangeResult{Verdict: step.Unchanged, Reason: "as before", Release: "r0",
		Prefix: "releases/scratches/r0", ManifestSHA256: "m0"}
	s, got, status, attributes := checked(t, 0, found)
	require.Equal(t, []string{"Ingest", "CheckChange"}, s.calls)
	require.Len(t, got.Times, 2)
	got.Times = nil
	require.Equal(t, AugmentResult{
		Verdict: step.Unchanged, Release: "r0", Prefix: "releases/scratches/r0", ManifestSHA256: "m0",
		ImagesIn: 303, ImagesQuarantined: 3, Reasons: []string{"as before"}, Change: &found,
	}, got)
	require.Equal(t, "Done", status.Stage)
	require.Equal(t, step.Unchanged, status.Verdict)
	require.Equal(t, &found, status.Change)
	require.Equal(t, map[string]string{
		"DefectClass": "scratches", "Stage": "Done", "Verdict": "unchanged", "DatasetDigest": "sha-dataset", "Release": "r0",
	}, attributes)
}

func TestAugmentWaitsForNewImages(t *testing.T) {
	s, got, _, attributes := checked(t, 20, step.ChangeResult{Verdict: step.Waiting, Reason: "waiting: 3 of 20 new images",
		NewImages: 3, MinNew: 20})
	require.Equal(t, []string{"Ingest", "CheckChange"}, s.calls)
	require.Equal(t, step.Waiting, got.Verdict)
	require.Equal(t, 3, got.Change.NewImages)
	require.NotContains(t, attributes, "Release", "the class has none")
}

func TestAugmentGoesOnWhereSomethingChanged(t *testing.T) {
	s, got, status, _ := checked(t, 2, step.ChangeResult{Reason: "5 new images since release r0", Release: "r0", NewImages: 5})
	require.Equal(t, []string{"Ingest", "CheckChange", "Preprocess"}, s.calls[:3])
	require.Equal(t, spec.Pass, got.Verdict)
	require.Equal(t, "r1", got.Release)
	require.Equal(t, 5, got.Change.NewImages)
	require.Equal(t, 5, status.Change.NewImages)
	require.Equal(t, "copying", s.publish.Policy.Name)
}

func TestChangeWords(t *testing.T) {
	require.Equal(t, "**unchanged**: as before; the class has no release",
		changeWords(step.ChangeResult{Verdict: step.Unchanged, Reason: "as before"}))
	require.Equal(t, "3 new images", changeWords(step.ChangeResult{Reason: "3 new images", Release: "r0"}))
}
