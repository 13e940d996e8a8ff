package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
)

// checkChange asks whether there is something to do, where the run was started
// to ask, and ends it otherwise.
func (a *augmentation) checkChange(ctx workflow.Context) error {
	if a.in.IfChanged == nil {
		return nil
	}
	o := a.outcome
	found, err := run(ctx, a, step.CheckChange, short(fmt.Sprintf("%d images against what was decided before", o.Ingest.Usable)),
		step.ChangeInput{
			Class: a.in.Class, Dataset: o.Ingest.Dataset, Recipe: a.in.Recipe, Policy: o.Policy, Utility: a.in.Utility,
			MinNew: a.in.IfChanged.MinNew,
		})
	if err != nil {
		return err
	}
	a.change, a.status.Change = &found, &found
	if !a.idle() {
		return nil
	}
	a.status.Verdict, a.status.Release = found.Verdict, found.Release
	if err := workflow.UpsertTypedSearchAttributes(ctx, Verdict.ValueSet(found.Verdict)); err != nil {
		return fmt.Errorf("set search attribute %s: %w", Verdict.GetName(), err)
	}
	if found.Release != "" {
		if err := workflow.UpsertTypedSearchAttributes(ctx, Release.ValueSet(found.Release)); err != nil {
			return fmt.Errorf("set search attribute %s: %w", Release.GetName(), err)
		}
	}
	return a.enter(ctx, step.Done)
}

// idle reports whether the run has nothing to do.
func (a *augmentation) idle() bool { return a.change != nil && a.change.Verdict != "" }

// addChange puts into the result what the class stands on, where the run had
// nothing to do.
func (a *augmentation) addChange(r *AugmentResult) {
	r.Change = a.change
	if a.idle() {
		c := a.change
		r.Verdict, r.Release, r.Prefix, r.ManifestSHA256, r.Reasons = c.Verdict, c.Release, c.Prefix, c.ManifestSHA256, []string{c.Reason}
	}
}

// changeWords puts a finding into words, for people.
func changeWords(c step.ChangeResult) string {
	words := c.Reason
	if c.Verdict != "" {
		words = "**" + c.Verdict + "**: " + words
		if c.Release == "" {
			return words + "; the class has no release"
		}
		return words + "; it stands on `" + c.Prefix + "`"
	}
	return words
}
