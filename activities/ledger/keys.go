package ledger

import (
	"fmt"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// The prefixes that the ledger owns. The announcements of clean-ups, which every
// writer looks for, lie below CleanUps and are storage's.
const (
	Runs      = "runs/"      // one folder for each run: its record, report and checkpoints
	Campaigns = "campaigns/" // one folder for each campaign: its outcomes, summary and page
	CleanUps  = "cleanup/"   // one folder for each clean-up: its plans and its report
	Cache     = "cache/"     // remembered results, see Memo
	Links     = "lineage/"   // links from things to the runs that read or made them
	Sources   = "sources/"   // images that were uploaded from a folder
)

const recordName = "run.json"

// Extensions of a checkpoint and of the curves beside it.
const (
	CheckpointExt = ".safetensors"
	CurvesExt     = ".curves.json"
)

// RunsOf is the prefix of all runs of a workflow.
func RunsOf(workflowID string) string { return Runs + storage.SafeName(workflowID) + "/" }

// RunPrefix is the prefix of everything that belongs to one run alone.
func RunPrefix(run step.Run) string { return Runs + folders(run) }

// folders names a workflow execution as two folders.
func folders(run step.Run) string {
	return fmt.Sprintf("%s/%s/", storage.SafeName(run.WorkflowID), storage.SafeName(run.RunID))
}

// RecordKey is the key of what a run wrote down about itself, run.json.
func RecordKey(run step.Run) string { return RecordBelow(RunPrefix(run)) }

// RecordBelow is the key of the record of the run with a RunPrefix.
func RecordBelow(runPrefix string) string { return runPrefix + recordName }

// ReportKey is the key of a run's report, ReportTwinKey that of the same as JSON.
func ReportKey(run step.Run) string { return RunPrefix(run) + "report.html" }

// ReportTwinKey is the key of a run's report as JSON.
func ReportTwinKey(run step.Run) string { return RunPrefix(run) + "report.json" }

// CheckpointsOf is the prefix of a run's own checkpoints.
func CheckpointsOf(run step.Run) string { return CheckpointsBelow(RunPrefix(run)) }

// CheckpointsBelow is the prefix of the checkpoints of the run with a RunPrefix.
func CheckpointsBelow(runPrefix string) string { return runPrefix + "checkpoints/" }

// CampaignPrefix is the prefix of everything that belongs to one campaign alone.
func CampaignPrefix(run step.Run) string { return Campaigns + folders(run) }

// SummaryKey is the key of a campaign's summary, CampaignReportKey that of its page.
func SummaryKey(run step.Run) string { return CampaignPrefix(run) + "summary.json" }

// CampaignReportKey is the key of a campaign's page.
func CampaignReportKey(run step.Run) string { return CampaignPrefix(run) + "report.html" }

// OutcomesKey is the key of a campaign's list of outcomes with a number, from 0.
func OutcomesKey(run step.Run, number int) string {
	return fmt.Sprintf("%soutcomes/%06d.json", CampaignPrefix(run), number)
}

// CleanUpPrefix is the prefix of everything that belongs to one clean-up alone.
func CleanUpPrefix(run step.Run) string { return CleanUps + folders(run) }

// SourcePrefix is where the images of a folder are uploaded to: what the folder
// holds, by its digest, is part of the name.
func SourcePrefix(class, digest string) string { return Sources + class + "/" + digest + "/" }
