package step

import (
	"time"

	"github.com/defectforge/defectforge/model/spec"
)

// The steps of a campaign: many runs, and one summary of them.
const (
	PlanCampaign      Step[PlanInput, PlanResult]           = "PlanCampaign"
	ReadPlan          Step[ReadPlanInput, ReadPlanResult]   = "ReadPlan"
	LookAtRuns        Step[LookInput, LookResult]           = "LookAtRuns"
	KeepOutcomes      Step[KeepInput, KeepResult]           = "KeepOutcomes"
	SummariseCampaign Step[SummariseInput, SummariseResult] = "SummariseCampaign"
)

// Kinds of campaigns.
const (
	KindClasses = "classes" // one run for each class
	KindSweep   = "sweep"   // one class, one run for each choice of recipe values
)

// What became of a campaign's run, the values of RunOutcome.Status.
const (
	RunPublished   = "published"
	RunPassed      = "passed" // and was not to be published
	RunNotApproved = "not approved"
	RunFailed      = "failed"
	RunCancelled   = "cancelled" // or terminated, before it ended
)

// PlanInput asks for a plan with one item for each prefix directly below Source.
type PlanInput struct {
	Source Source `json:"source"`
}

// PlanResult names a plan, a document in the bucket.
type PlanResult struct {
	Plan  Ref `json:"plan"`
	Items int `json:"items"`
	// Loose objects lie directly below the source and belong to no class.
	Loose int `json:"loose"`
}

// Setting is a recipe value that a sweep varies.
type Setting struct {
	Key   string `json:"key"` // dotted, as in --set
	Value string `json:"value"`
}

// PlanItem is one run of a plan.
type PlanItem struct {
	Index  int    `json:"index"` // from 0, in the order of the plan
	Name   string `json:"name"`  // the prefix's, or what a sweep varies, in words
	Class  string `json:"class"`
	Source Source `json:"source"`
	// Recipe is the run's own, nil for the campaign's.
	Recipe   *spec.Recipe `json:"recipe,omitempty"`
	Settings []Setting    `json:"settings,omitempty"`
}

// ReadPlanInput asks for one page of a plan, from 0.
type ReadPlanInput struct {
	Plan Ref `json:"plan"`
	Page int `json:"page"`
}

// ReadPlanResult is a page, small enough for a history, how many pages there
// are, and how many items all of them have.
type ReadPlanResult struct {
	Items []PlanItem `json:"items"`
	Pages int        `json:"pages"`
	Total int        `json:"total"`
}

// RunOutcome is how one run of a campaign ended.
type RunOutcome struct {
	Index int    `json:"index"` // of the plan's item
	Name  string `json:"name"`
	Class string `json:"class"`
	Run   Run    `json:"run"`
	// Attached runs were begun by somebody else, and found under way.
	Attached          bool     `json:"attached,omitempty"`
	Status            string   `json:"status"`
	Verdict           string   `json:"verdict"`
	Release           string   `json:"release"`
	ManifestSHA256    string   `json:"manifest_sha256"`
	Record            Ref      `json:"record"`
	Report            Ref      `json:"report"`
	ImagesIn          int      `json:"images_in"`
	ImagesQuarantined int      `json:"images_quarantined"`
	ImagesPublished   int      `json:"images_published"`
	Reasons           []string `json:"reasons,omitempty"`
	// FailureType is that of the application error a failed run ended with.
	FailureType string    `json:"failure_type,omitempty"`
	Started     time.Time `json:"started"`
	Seconds     float64   `json:"seconds"` // from start to end
}

// LookInput asks how runs stand that the workflow cannot wait for.
type LookInput struct {
	Runs []Run `json:"runs"` // without a RunID for the latest of the WorkflowID
}

// RunState is how a run stands. Of RunOutcome, only what the run itself knows is
// filled in, and that only once it has ended.
type RunState struct {
	Run     Run         `json:"run"`
	Waiting bool        `json:"waiting,omitempty"` // for a person
	Ended   *RunOutcome `json:"ended,omitempty"`
}

// LookResult has the states in the order of the input. Those of runs that have
// ended are bounded in number; More says that there are others.
type LookResult struct {
	States []RunState `json:"states"`
	More   bool       `json:"more,omitempty"`
}

// KeepInput asks for outcomes to be written down, with what their records say
// of measures and times.
type KeepInput struct {
	Campaign Run `json:"campaign"`
	Number   int `json:"number"` // of this document, from 0
	// Before is the document before this one, zero for the first: the last one
	// leads to all.
	Before   Ref          `json:"before"`
	Outcomes []RunOutcome `json:"outcomes"`
}

type KeepResult struct {
	Head Ref `json:"head"`
}

// SummariseInput asks for the summary of all outcomes that Head leads to.
type SummariseInput struct {
	Campaign    Run         `json:"campaign"`
	Name        string      `json:"name"`
	Kind        string      `json:"kind"`
	Source      Source      `json:"source"`
	Recipe      spec.Recipe `json:"recipe"`
	Policy      spec.Policy `json:"policy"`
	Plan        Ref         `json:"plan"` // the whole campaign's
	Items       int         `json:"items"`
	Loose       int         `json:"loose"`
	Concurrency int         `json:"concurrency"`
	Unpublished bool        `json:"unpublished"`
	Head        Ref         `json:"head"`
	Started     time.Time   `json:"started"`
	Seconds     float64     `json:"seconds"`
	Cancelled   bool        `json:"cancelled"`
}

// SummariseResult names campaigns/<workflow>/<run>/summary.json and report.html.
type SummariseResult struct {
	Summary Ref       `json:"summary"`
	Report  Ref       `json:"report"`
	Counts  RunCounts `json:"counts"`
}

// RunCounts counts a campaign's runs by their status.
type RunCounts struct {
	Published   int `json:"published"`
	Passed      int `json:"passed"`
	NotApproved int `json:"not_approved"`
	Failed      int `json:"failed"`
	Cancelled   int `json:"cancelled"`
}

// Add counts one more run with the status.
func (c *RunCounts) Add(status string) {
	switch status {
	case RunPublished:
		c.Published++
	case RunPassed:
		c.Passed++
	case RunNotApproved:
		c.NotApproved++
	case RunCancelled:
		c.Cancelled++
	default:
		c.Failed++
	}
}

// Done is the number of runs that were counted.
func (c RunCounts) Done() int { return c.Published + c.Passed + c.NotApproved + c.Failed + c.Cancelled }
