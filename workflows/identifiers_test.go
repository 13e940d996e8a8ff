package workflows

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

// A job keeps its identifier from one version to the next: the program that is
// killed, upgraded and started again resumes its run and begins no second one.
func TestIdentifiersOfRuns(t *testing.T) {
	source := step.Source{Bucket: "images", Prefix: "neu/scratches/"}
	in := AugmentInput{Class: "scratches", Source: source, Recipe: spectest.Classic(), Policy: spectest.EarlierPolicy("production")}
	assert.Equal(t, "augment-scratches-7f52c784f3e1", AugmentID(in))

	in.Recipe, in.Unpublished = spectest.SmallData(), true
	in.Utility = &step.UtilityPlan{Others: []step.ClassSource{{Class: "pits", Source: source}}, Splits: 3, Seeds: 2, PerClass: 20, Steps: 100}
	in.Rerun = &step.Rerun{From: "sample"}
	assert.Equal(t, "augment-scratches-0595dad355aa", AugmentID(in))
}

func TestIdentifiersOfCampaigns(t *testing.T) {
	in := CampaignInput{
		Name: "weekly", Kind: step.KindClasses, Source: step.Source{Bucket: "images", Prefix: "neu/"},
		Recipe: spectest.Classic(), Policy: spectest.EarlierPolicy("production"), Concurrency: 4,
	}
	id := CampaignID(in)
	assert.Equal(t, "campaign-weekly-01f08aebc3c3", id)
	in.Concurrency = 8
	assert.Equal(t, id, CampaignID(in), "how many runs are under way at once makes no other campaign")
	in.Plan.SHA256 = "0123"
	assert.NotEqual(t, id, CampaignID(in))
}
