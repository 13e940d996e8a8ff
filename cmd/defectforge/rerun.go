package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"

	"github.com/defectforge/defectforge/activities/step"
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

func (p *program) rerunCommand() *cobra.Command {
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
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			return p.rerun(c.Context(), args[0], o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.run, "run", "", "run identifier; the latest recorded run where not given")
	f.StringVar(&o.from, "from", "", "the first stage to do again even where nothing changed")
	f.StringArrayVar(&o.set, "set", nil, "change one value of the recipe, key=value; may be repeated")
	f.StringVar(&o.policy, "policy", "", strings.Join(spec.PolicyNames(), ", ")+", or a YAML file (default the run's)")
	f.BoolVar(&o.detach, "detach", false, "start the run and return; a worker must be there to do it")
	return c
}

func (p *program) rerun(ctx context.Context, id string, o rerunOptions) error {
	from, err := rerunStage(o.from)
	if err != nil {
		return err
	}
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	before, err := p.recorded(ctx, s, id, o.run)
	s.close(p)
	if err != nil {
		return err
	}
	j, err := p.rerunJob(before, from, o)
	if err != nil {
		return err
	}
	for {
		err := p.runOnce(ctx, j, o.detach)
		if !errors.Is(err, errTakeOver) {
			return err
		}
		p.log.Info("the process that ran the embedded stack has ended; taking over")
	}
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
	return "", usageError("--from: %q: choose one of %s; what comes after is always done", name, strings.Join(known, ", "))
}

// rerunJob is the recorded run with changes.
func (p *program) rerunJob(before step.RecordRunInput, from string, o rerunOptions) (job, error) {
	was := before.Outcome
	recipe, err := config.Change(was.Recipe, o.set)
	if err != nil {
		return job{}, &statusError{exitUsage, err}
	}
	j := job{class: was.Class, source: was.Source, recipe: recipe, policy: was.Policy, utility: before.UtilityPlan, unpublished: was.Unpublished}
	if o.policy != "" {
		if j.policy, err = config.Policy(o.policy); err != nil {
			return job{}, &statusError{exitUsage, err}
		}
	}
	j.rerun = &step.Rerun{Of: was.Run, From: from}
	changed, err := changes(was.Recipe, recipe)
	if err != nil {
		return job{}, err
	}
	order := step.RerunStages()
	for _, c := range changed {
		if at := slices.Index(order, c.Stage); from != "" && at >= 0 && at < slices.Index(order, from) {
			return job{}, usageError("--set: %s changes the stage %s, which comes before --from %s; give --from %s, or leave --from out",
				c, rerunName(c.Stage), rerunName(from), rerunName(c.Stage))
		}
	}
	return j, nil
}

var errNoRecord = errors.New("left no record; only runs that reached a verdict, or gave up training, leave one")

// recorded reads the record of a run: of the given one, of the latest that
// Temporal knows, or of the latest in the bucket.
func (p *program) recorded(ctx context.Context, s *session, id, runID string) (step.RecordRunInput, error) {
	if runID == "" && s.temp != nil {
		d, err := s.temp.DescribeWorkflowExecution(ctx, id, "")
		if missing := (*serviceerror.NotFound)(nil); err != nil && !errors.As(err, &missing) {
			return step.RecordRunInput{}, fmt.Errorf("describe run: %w", err)
		}
		if first := d.GetWorkflowExecutionInfo().GetFirstRunId(); first != "" {
			record, err := recordAt(ctx, s.store, runKey(id, first))
			if !errors.Is(err, storage.ErrNotFound) {
				return record, err
			}
		}
	}
	if runID != "" {
		record, err := recordAt(ctx, s.store, runKey(id, runID))
		if errors.Is(err, storage.ErrNotFound) {
			err = fmt.Errorf("run %s of %s: %w", runID, id, errNoRecord)
		}
		return record, err
	}
	var latest string
	var at time.Time
	for info, err := range s.store.Bucket().List(ctx, "runs/"+storage.SafeName(id)+"/") {
		if err != nil {
			return step.RecordRunInput{}, fmt.Errorf("list records of %s: %w", id, err)
		}
		if strings.HasSuffix(info.Key, "/run.json") && !info.Modified.Before(at) {
			latest, at = info.Key, info.Modified
		}
	}
	if latest == "" {
		return step.RecordRunInput{}, fmt.Errorf("run %s: %w (`defectforge runs list` shows runs)", id, errNoRecord)
	}
	return recordAt(ctx, s.store, latest)
}

func runKey(id, runID string) string {
	return "runs/" + storage.SafeName(id) + "/" + storage.SafeName(runID) + "/run.json"
}

func recordAt(ctx context.Context, store *storage.Store, key string) (step.RecordRunInput, error) {
	var record step.RecordRunInput
	raw, _, err := store.ReadNamed(ctx, key, maxRecord)
	if err != nil {
		return record, fmt.Errorf("read %s: %w", key, err)
	}
	if err := json.Unmarshal(raw, &record); err != nil {
		return record, fmt.Errorf("parse %s: %w", key, err)
	}
	return record, nil
}

// storyOf tells the story of a run that repeats another one, nil for others. It
// is no reason to fail that it can't be told.
func (p *program) storyOf(ctx context.Context, store *storage.Store, ref step.Ref) []stageStory {
	if ref.IsZero() {
		return nil
	}
	record, err := readRecord(ctx, store, ref)
	if err != nil {
		p.log.Warn("read the run's record", "error", err)
		return nil
	}
	r := record.Outcome.Rerun
	if r == nil {
		return nil
	}
	before, err := recordAt(ctx, store, runKey(r.Of.WorkflowID, r.Of.RunID))
	if err != nil {
		p.log.Warn("read the record of the run that was repeated", "error", err)
		return nil
	}
	stages, err := story(before.Outcome, record.Outcome)
	if err != nil {
		p.log.Warn("compare with the run that was repeated", "error", err)
	}
	return stages
}
