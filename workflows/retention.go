package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
)

// CleanUpName is the registered name of CleanUp.
const CleanUpName = "CleanUp"

// ReferencesQuery is the query that a run answers with whatever it refers to:
// a clean-up keeps the artifacts whose keys occur in the answer. Every workflow of
// this package but CleanUp answers it.
const ReferencesQuery = "references"

// CleanUpInput says what is kept, and whether the rest is removed or only listed.
type CleanUpInput struct {
	Retention step.Retention `json:"retention"`
	Apply     bool           `json:"apply"`
}

// CleanUpResult is the report, and where it lies.
type CleanUpResult struct {
	Report step.CleanUpReport `json:"report"`
	Record step.Ref           `json:"record"` // cleanup/<workflow>/<run>/report.json
}

// CleanUp removes from the bucket what neither a release nor a run under way
// refers to, after a grace period: it marks what must stay and sweeps one area
// after the other. What each finds stays in the store; the history holds counts.
func CleanUp(ctx workflow.Context, in CleanUpInput) (CleanUpResult, error) {
	info := workflow.GetInfo(ctx).WorkflowExecution
	r := step.CleanUpReport{
		Run:     step.Run{WorkflowID: info.ID, RunID: info.RunID},
		Applied: in.Apply, Retention: in.Retention, Removed: map[string]step.Count{}, Plans: []step.Ref{},
	}
	if err := workflow.SetQueryHandler(ctx, StatusQuery, func() (step.CleanUpReport, error) { return r, nil }); err != nil {
		return CleanUpResult{}, fmt.Errorf("set query handler: %w", err)
	}
	do := func(summary string) workflow.Context { return workflow.WithActivityOptions(ctx, short(summary)) }
	var err error
	r.Mark, err = step.MarkReferences.Run(do("what must stay"), step.MarkInput{
		Run: r.Run, Retention: in.Retention, Types: typesThatRefer(), Query: ReferencesQuery,
	})
	if err != nil {
		return CleanUpResult{}, failed(string(step.MarkReferences), err)
	}
	r.Began = r.Mark.Began
	for _, area := range step.SweepAreas() {
		out, err := step.Sweep.Run(do(area), step.SweepInput{
			Run: r.Run, Retention: in.Retention, Marks: r.Mark.Marks, Began: r.Mark.Began, Area: area, Apply: in.Apply,
		})
		if err != nil {
			return CleanUpResult{}, failed(string(step.Sweep), err)
		}
		enterSweep(&r, out)
		describeCleanUp(ctx, r)
	}
	out, err := step.RecordCleanUp.Run(do("report"), step.RecordCleanUpInput{Report: r})
	if err != nil {
		return CleanUpResult{}, failed(string(step.RecordCleanUp), err)
	}
	return CleanUpResult{Report: r, Record: out.Report}, nil
}

// enterSweep adds the result of sweeping an area.
func enterSweep(r *step.CleanUpReport, out step.SweepResult) {
	removed := map[string]step.Count{} // a query may be reading the other one
	for _, part := range []map[string]step.Count{r.Removed, out.Removed} {
		for _, kind := range workflow.DeterministicKeys(part) {
			sum := removed[kind]
			sum.Add(part[kind])
			removed[kind] = sum
		}
	}
	r.Removed = removed
	for _, kind := range workflow.DeterministicKeys(out.Removed) {
		r.Total.Add(out.Removed[kind])
	}
	r.Kept.Add(out.Kept)
	r.Spared.Add(out.Spared)
	if !out.Plan.IsZero() {
		r.Plans = append(slices.Clip(r.Plans), out.Plan)
	}
}

// describeCleanUp writes what the web UI shows above the history.
func describeCleanUp(ctx workflow.Context, r step.CleanUpReport) {
	verb := "removed"
	if !r.Applied {
		verb = "to be removed (dry run)"
	}
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("- %s: %d objects, %d bytes\n- kept: %d objects, %d bytes\n- %d releases, %d runs under way",
		verb, r.Total.Objects, r.Total.Bytes, r.Kept.Objects, r.Kept.Bytes, r.Mark.Releases, r.Mark.Running))
}

// answerReferences makes a run answer what it refers to.
func answerReferences[T any](ctx workflow.Context, references func() T) error {
	if err := workflow.SetQueryHandler(ctx, ReferencesQuery, func() (T, error) { return references(), nil }); err != nil {
		return fmt.Errorf("set query handler: %w", err)
	}
	return nil
}

// typesThatRefer are the workflows of this package that hold references.
func typesThatRefer() []string {
	var all typeNames
	Register(&all)
	return slices.DeleteFunc(all, func(name string) bool { return name == CleanUpName })
}

// typeNames collects the names of workflows instead of registering them.
type typeNames []string

func (t *typeNames) RegisterWorkflowWithOptions(_ any, o workflow.RegisterOptions) {
	*t = append(*t, o.Name)
}

// progress is what the run has done so far.
func (a *augmentation) progress() Progress {
	return Progress{Outcome: a.outcome, Checkpoints: a.checkpoints, Evaluations: a.evaluations, Best: a.best, Change: a.change}
}

// references is all that a run refers to.
type references struct {
	Input    AugmentInput      `json:"input"`
	Progress Progress          `json:"progress"`
	Report   step.ReportResult `json:"report"`
}

func (a *augmentation) references() references { return references{a.in, a.progress(), a.report} }

// campaignReferences is all that a campaign refers to; its runs answer for
// themselves.
type campaignReferences struct {
	Input    CampaignInput    `json:"input"`
	Progress CampaignProgress `json:"progress"`
}

func (c *campaign) references() campaignReferences { return campaignReferences{c.in, c.progress} }
