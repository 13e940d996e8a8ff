//go:build record

package workflows

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	campaigns "github.com/defectforge/defectforge/activities/campaign"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// recordedRuns waits for the runs that it is to look at.
type recordedRuns struct{ c client.Client }

func (r recordedRuns) Look(ctx context.Context, run step.Run) (step.RunState, error) {
	var result AugmentResult
	err := r.c.GetWorkflow(ctx, run.WorkflowID, run.RunID).Get(ctx, &result)
	ended := OutcomeOf(result, err)
	return step.RunState{Run: run, Ended: &ended}, nil
}

// TestRecordCampaign writes the histories of a campaign of three classes, one of
// which fails, and of an execution that continues another and finds a run of it.
func TestRecordCampaign(t *testing.T) {
	ctx, c, b := recorder(t)
	in := tinyInput(t, b, "many", 110)
	tinyInput(t, b, "dents", 110)
	tinyInput(t, b, "few", 3)
	input := CampaignInput{
		Name: "recorded", Kind: step.KindClasses, Source: step.Source{Bucket: "b", Prefix: "sources/"},
		Recipe: in.Recipe, Policy: spec.CopyingPolicy(), Concurrency: 2,
	}
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "campaign-recorded", TaskQueue: step.Queue}, CampaignName, input)
	require.NoError(t, err)
	var out CampaignResult
	require.NoError(t, run.Get(ctx, &out))
	require.Equal(t, step.RunCounts{Published: 2, Failed: 1}, out.Counts)
	keepHistory(ctx, t, c, run, "campaign-v1-done")

	planner := campaigns.Planner{Store: storage.New(b), Sources: actual(b).Sources}
	plan, err := planner.PlanCampaign(ctx, step.PlanInput{Source: input.Source})
	require.NoError(t, err)
	in.Recipe.Seed = 5
	child, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: AugmentID(in), TaskQueue: step.Queue}, AugmentName, in)
	require.NoError(t, err)
	input.Progress = &CampaignProgress{
		Plan: plan.Plan, Items: 3, Taken: 1,
		Running: []underWay{{Index: 0, Name: "dents", Class: "dents", Run: step.Run{WorkflowID: child.GetID(), RunID: child.GetRunID()}}},
	}
	run, err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "campaign-continued", TaskQueue: step.Queue}, CampaignName, input)
	require.NoError(t, err)
	require.NoError(t, run.Get(ctx, &out))
	require.Equal(t, step.RunCounts{Published: 2, Failed: 1}, out.Counts)
	keepHistory(ctx, t, c, run, "campaign-v1-continued")
}
