package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// rerunOptions are the flags of `runs rerun`.
type rerunOptions struct {
	run, from string
	set       []string
	policy    string
	detach    bool
}

func rerunCommand(a *app) *cobra.Command {
	var o rerunOptions
	var names []string
	for _, s := range step.RerunStages() {
		names = append(names, rerunName(s))
	}
	c := &cobra.Command{
		Use:   "rerun WORKFLOW",
		Short: "Run again with changes, from any stage, and say what was reused",
		Long: `Start a run with the recipe of an earlier one, changed by --set, on the same
source. Every stage whose inputs are the same finds its earlier result; at the end
each stage is listed with why it was reused or redone.

--from STAGE (` + strings.Join(names, ", ") + `) has that stage and the later
ones done again even where nothing changed, and refuses changes that reach further
back. A comparison of classifiers is found all the same where set and classes are.`,
		Example: `  defectforge runs rerun augment-scratches-0123456789ab --from sample --set sample.count=2000
  defectforge runs rerun augment-scratches-0123456789ab --policy strict.yaml`,
		Args: exactly(1, "a workflow's identifier, as `defectforge runs list` prints it"),
		RunE: a.loading(func(c *cobra.Command, args []string) error {
			return rerun(c.Context(), a, args[0], o)
		}),
		ValidArgsFunction: completeRuns(a, "", 1),
	}
	f := c.Flags()
	f.StringVar(&o.run, "run", "", "run identifier; the latest recorded run where not given")
	f.StringVar(&o.from, "from", "", "the first stage to do again even where nothing changed")
	f.StringArrayVar(&o.set, "set", nil, "change one value of the recipe, key=value; may be repeated")
	f.StringVar(&o.policy, "policy", "", strings.Join(spec.PolicyNames(), ", ")+", or a YAML file (default the run's)")
	f.BoolVar(&o.detach, "detach", false, "start the run and return; a worker must be there to do it")
	return c
}

func rerun(ctx context.Context, a *app, id string, o rerunOptions) error {
	from, err := rerunStage(o.from)
	if err != nil {
		return err
	}
	s, err := a.process.Open(ctx)
	if err != nil {
		return err
	}
	before, err := recordOf(ctx, s, id, o.run)
	s.Close()
	if err != nil {
		return err
	}
	plan, err := planRerun(before, from, o)
	if err != nil {
		return err
	}
	return runJob(a, plan).do(ctx, a, o.detach)
}

// rerunStage reads the value of --from.
func rerunStage(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	var known []string
	for _, s := range step.RerunStages() {
		if rerunName(s) == name {
			return s, nil
		}
		known = append(known, rerunName(s))
	}
	return "", console.Usage("--from: %q: choose one of %s; what comes after is always done", name, strings.Join(known, ", "))
}

// planRerun is the recorded run with changes.
func planRerun(before step.RecordRunInput, from string, o rerunOptions) (runPlan, error) {
	was := before.Outcome
	recipe, err := config.Change(was.Recipe, o.set)
	if err != nil {
		return runPlan{}, console.AsUsage(err)
	}
	p := runPlan{
		class: was.Class, source: was.Source, recipe: recipe, policy: was.Policy,
		utility: before.UtilityPlan, unpublished: was.Unpublished,
	}
	if o.policy != "" {
		if p.policy, err = config.Policy(o.policy); err != nil {
			return runPlan{}, console.AsUsage(err)
		}
	}
	p.rerun = &step.Rerun{Of: was.Run, From: from}
	changed, err := report.Changes(was.Recipe, recipe)
	if err != nil {
		return runPlan{}, err
	}
	order := step.RerunStages()
	for _, c := range changed {
		if at := slices.Index(order, c.Stage); from != "" && at >= 0 && at < slices.Index(order, from) {
			return runPlan{}, console.Usage("--set: %s changes the stage %s, which comes before --from %s; "+
				"give --from %s, or leave --from out",
				c, rerunName(c.Stage), rerunName(from), rerunName(c.Stage))
		}
	}
	return p, nil
}

var errNoRecord = errors.New("left no record; only runs that reached a verdict, or gave up training, leave one")

// recordOf reads the record of a run: of the given one, of the latest that
// Temporal knows, or of the latest in the bucket.
func recordOf(ctx context.Context, s *process.Session, id, runID string) (step.RecordRunInput, error) {
	if runID == "" && s.Temporal != nil {
		d, err := s.Temporal.DescribeWorkflowExecution(ctx, id, "")
		if missing := (*serviceerror.NotFound)(nil); err != nil && !errors.As(err, &missing) {
			return step.RecordRunInput{}, fmt.Errorf("describe run: %w", err)
		}
		if first := d.GetWorkflowExecutionInfo().GetFirstRunId(); first != "" {
			record, err := ledger.RunOf(ctx, s.Store, step.Run{WorkflowID: id, RunID: first})
			if !errors.Is(err, storage.ErrNotFound) {
				return record.RecordRunInput, err
			}
		}
	}
	if runID != "" {
		record, err := ledger.RunOf(ctx, s.Store, step.Run{WorkflowID: id, RunID: runID})
		if errors.Is(err, storage.ErrNotFound) {
			err = fmt.Errorf("run %s of %s: %w", runID, id, errNoRecord)
		}
		return record.RecordRunInput, err
	}
	record, err := ledger.LatestRun(ctx, s.Store, id)
	if errors.Is(err, storage.ErrNotFound) {
		err = fmt.Errorf("run %s: %w (`defectforge runs list` shows runs)", id, errNoRecord)
	}
	return record.RecordRunInput, err
}

// storyOf is the story of a run that repeats another one, nil for others. A
// story that can't be read fails nothing.
func storyOf(ctx context.Context, a *app, store *storage.Store, ref step.Ref) []report.StageStory {
	if ref.IsZero() {
		return nil
	}
	record, err := ledger.ReadRun(ctx, store, ref)
	if err != nil {
		a.log().Warn("read the run's record", "error", err)
		return nil
	}
	r := record.Outcome.Rerun
	if r == nil {
		return nil
	}
	before, err := ledger.RunOf(ctx, store, r.Of)
	if err != nil {
		a.log().Warn("read the record of the run that was repeated", "error", err)
		return nil
	}
	stages, err := report.Story(before.Outcome, record.Outcome)
	if err != nil {
		a.log().Warn("compare with the run that was repeated", "error", err)
	}
	return stages
}

// sayStory prints a story for people.
func sayStory(a *app, stages []report.StageStory) {
	for _, s := range stages {
		a.console.Say("%-16s %-7s %s", step.Title(s.Stage), console.Either(s.Reused, "reused", "redone"), s.Why)
	}
}

// rerunName is the stage as --from names it.
func rerunName(stage string) string {
	s, _ := step.StageNamed(stage)
	return s.Word
}
