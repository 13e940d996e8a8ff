package workflows

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/defectforge/defectforge/activities/step"
)

// histories holds a recorded run of every shape that a released workflow had.
const histories = "testdata/histories"

func recorded(t *testing.T, name string) *historypb.History {
	t.Helper()
	f, err := os.Open(filepath.Join(histories, name))
	require.NoError(t, err)
	defer f.Close()
	h, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
	require.NoError(t, err)
	return h
}

// TestReplay proves that runs begun by earlier versions go on with this one.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(histories, "*.json"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 17)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r := worker.NewWorkflowReplayer()
			Register(r)
			require.NoError(t, r.ReplayWorkflowHistoryFromJSONFile(nil, file))
		})
	}
}

// TestReplaySeesAChange replays a workflow of another shape and expects to be
// told, so that TestReplay is known to be able to fail.
func TestReplaySeesAChange(t *testing.T) {
	r := worker.NewWorkflowReplayer()
	changed := func(ctx workflow.Context, in AugmentInput) (AugmentResult, error) {
		ctx = workflow.WithActivityOptions(ctx, short("out of turn"))
		_, err := step.Publish.Run(ctx, step.PublishInput{})
		return AugmentResult{}, err
	}
	r.RegisterWorkflowWithOptions(changed, workflow.RegisterOptions{Name: AugmentName})
	err := r.ReplayWorkflowHistoryFromJSONFile(nil, filepath.Join(histories, "augment-v1-published.json"))
	require.ErrorContains(t, err, "TMPRL1100")
}

// scheduled reads a recorded run the way a person does who opens it in the web
// UI: its stages, what each does, and how it ended.
func scheduled(t *testing.T, name string) (stages, summaries []string, last enumspb.EventType) {
	t.Helper()
	for _, e := range recorded(t, name).Events {
		last = e.EventType
		require.Less(t, e.Size(), 64<<10, "event %d", e.EventId)
		a := e.GetActivityTaskScheduledEventAttributes()
		if a == nil {
			continue
		}
		stages = append(stages, a.ActivityType.Name)
		var words string
		require.NoError(t, json.Unmarshal(e.UserMetadata.GetSummary().GetData(), &words))
		summaries = append(summaries, words)
	}
	return stages, summaries, last
}

func TestHistoryReadsAsProgress(t *testing.T) {
	stages, summaries, last := scheduled(t, "augment-v1-published.json")
	require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, last)
	require.Equal(t, "Ingest Preprocess Train Train Train Sample CheckOverfit Assess Report Publish RecordRun", strings.Join(stages, " "))
	require.Equal(t, []string{"epochs 1-1 of 3", "epochs 2-2 of 3", "epochs 3-3 of 3"}, summaries[2:5])
	require.Equal(t, "12 candidates", summaries[5])
}

func TestHistoryOfAWatchedTraining(t *testing.T) {
	stages, summaries, _ := scheduled(t, "augment-v2-published.json")
	require.Equal(t, "Ingest Preprocess Train Evaluate Train Evaluate Train Evaluate Choose Sample CheckOverfit Assess Report Publish RecordRun", strings.Join(stages, " "))
	require.Contains(t, summaries[3], "epoch 1, 16 images against")

	stages, summaries, last := scheduled(t, "augment-v2-unstable.json")
	require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED, last)
	require.Contains(t, strings.Join(stages, " "), "Train Report RecordRun", "what was tried is written down")
	require.Contains(t, summaries, "epochs 1-1 of 3, try 2")
}

func TestHistoryOfAnApproval(t *testing.T) {
	for name, want := range map[string]string{
		"augment-v2-approved-by-person.json": "Report Notify Report Publish RecordRun",
		"augment-v2-deadline.json":           "Report Notify Report RecordRun",
	} {
		stages, _, last := scheduled(t, name)
		require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, last)
		require.Contains(t, strings.Join(stages, " "), want)
		timers, updates := 0, 0
		for _, e := range recorded(t, name).Events {
			switch e.EventType {
			case enumspb.EVENT_TYPE_TIMER_STARTED:
				timers++
			case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
				updates++
			}
		}
		require.Equal(t, 1, timers, "the deadline outlives every worker")
		require.Equal(t, strings.Contains(name, "person"), updates == 1)
	}
}

func TestHistoryOfARunThatAsks(t *testing.T) {
	for name, want := range map[string]string{
		"augment-v3-changed.json":   "Ingest CheckChange Preprocess Train Train Train Sample CheckOverfit Assess Report Publish RecordRun",
		"augment-v3-unchanged.json": "Ingest CheckChange",
		"augment-v3-waiting.json":   "Ingest CheckChange",
	} {
		stages, _, last := scheduled(t, name)
		require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, last)
		require.Equal(t, want, strings.Join(stages, " "))
	}
}

func TestHistoryOfAComparison(t *testing.T) {
	stages, summaries, last := scheduled(t, "augment-v5-compared.json")
	require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, last)
	require.Contains(t, strings.Join(stages, " "), "Sample CheckOverfit Utility Assess Report Notify Report Publish RecordRun")
	require.Contains(t, summaries, "scratches against bright")
}

// A discriminator that won for real: each try is a leg from the start.
func TestHistoryOfARecovery(t *testing.T) {
	stages, summaries, last := scheduled(t, "augment-v5-recovered.json")
	require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, last)
	require.Equal(t, "Ingest Preprocess Train Train Train Sample CheckOverfit Assess Report Publish RecordRun Notify",
		strings.Join(stages, " "))
	require.Equal(t, []string{"epochs 1-3 of 3", "epochs 1-3 of 3, try 2", "epochs 1-3 of 3, try 3"}, summaries[2:5])
}

func TestHistoryOfACampaign(t *testing.T) {
	stages, summaries, last := scheduled(t, "campaign-v1-done.json")
	require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, last)
	require.Equal(t, "PlanCampaign ReadPlan KeepOutcomes SummariseCampaign", strings.Join(stages, " "))
	require.Equal(t, "3 runs", summaries[3])
	children := 0
	for _, e := range recorded(t, "campaign-v1-done.json").Events {
		if a := e.GetStartChildWorkflowExecutionInitiatedEventAttributes(); a != nil {
			children++
			require.Equal(t, enumspb.PARENT_CLOSE_POLICY_ABANDON, a.ParentClosePolicy, "continuing as new must not end runs")
			require.Regexp(t, "^augment-(many|dents|few)-[0-9a-f]{12}$", a.WorkflowId)
		}
	}
	require.Equal(t, 3, children)
	stages, _, _ = scheduled(t, "campaign-v1-continued.json")
	require.Contains(t, stages, string(step.LookAtRuns))
	require.NotContains(t, stages, string(step.PlanCampaign))
}

// TestFailedHistorySaysWhy checks the failure's type, which decides the exit
// status of who waits for it.
func TestFailedHistorySaysWhy(t *testing.T) {
	events := recorded(t, "augment-v1-failed.json").Events
	failure := events[len(events)-1].GetWorkflowExecutionFailedEventAttributes().GetFailure()
	require.Equal(t, step.ErrTooFewImages, failure.GetApplicationFailureInfo().GetType())
	require.True(t, failure.GetApplicationFailureInfo().GetNonRetryable())
	require.Contains(t, failure.GetMessage(), "Ingest: ")
}
