package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/progress"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/workflows"
)

func (o *runOptions) addRecipeFlags(c *cobra.Command, recipe string) {
	f := c.Flags()
	f.StringVar(&o.recipe, "recipe", recipe, strings.Join(spec.Names(), ", ")+", or a YAML file")
	f.StringVar(&o.policy, "policy", "", strings.Join(spec.PolicyNames(), ", ")+", or a YAML file (default the recipe's)")
	f.StringArrayVar(&o.set, "set", nil, "change one value of the recipe, key=value; may be repeated")
	f.Uint64Var(&o.seed, "seed", 1, "seed of all random numbers")
}

// runPlan is a run, resolved.
type runPlan struct {
	class   string
	recipe  spec.Recipe
	policy  spec.Policy
	utility *step.UtilityPlan // nil where no other class is known
	source  step.Source
	uploads []folderSource
	// ifChanged is no part of the run's name: the same work is done or not.
	ifChanged *step.IfChanged
	// rerun says which run this one repeats; unpublished is as it was there.
	rerun       *step.Rerun
	unpublished bool
}

// files is the number of files to be uploaded.
func (p runPlan) files() (n int) {
	for _, f := range p.uploads {
		n += len(f.files)
	}
	return n
}

// input is what the run's workflow is started with.
func (p runPlan) input(a *app) workflows.AugmentInput {
	return workflows.AugmentInput{
		Class: p.class, Source: p.source, Recipe: p.recipe, Policy: p.policy, Utility: p.utility,
		IfChanged: p.ifChanged, Rerun: p.rerun, Unpublished: p.unpublished,
		TrainingQueue: a.cfg.Temporal.TrainingTaskQueue,
	}
}

func (p runPlan) workflowID() string {
	return workflows.AugmentID(workflows.AugmentInput{
		Class: p.class, Source: p.source, Recipe: p.recipe, Policy: p.policy, Utility: p.utility,
		Rerun: p.rerun, Unpublished: p.unpublished,
	})
}

// planRun checks everything that can be checked without Temporal and a store.
func planRun(ctx context.Context, a *app, o runOptions) (runPlan, error) {
	none := runPlan{}
	if o.images == "" {
		return none, console.Usage("--images: not given; name a folder of images or s3://bucket/prefix")
	}
	if err := checkClass(o.class); err != nil {
		return none, err
	}
	if o.seeded {
		o.set = append(o.set, fmt.Sprintf("seed=%d", o.seed))
	}
	recipe, err := config.Recipe(o.recipe, o.set)
	if err != nil {
		return none, console.AsUsage(err)
	}
	p := runPlan{class: o.class, recipe: recipe}
	if p.ifChanged, err = o.changePlan(); err != nil {
		return none, err
	}
	if p.policy, err = policyOf(o.policy, recipe); err != nil {
		return none, err
	}
	if p.source, err = sourceOf(ctx, a, "--images", o.class, o.images, o.flat, &p.uploads); err != nil {
		return none, err
	}
	p.utility, err = planUtility(ctx, a, o.utility, o.class, &p.uploads)
	return p, err
}

// policyOf is the policy that a flag names, or the recipe's.
func policyOf(name string, recipe spec.Recipe) (spec.Policy, error) {
	policy, err := config.Policy(cmp.Or(name, recipe.Policy, spec.ProductionPolicy().Name))
	if err != nil {
		return policy, console.AsUsage(err)
	}
	return policy, nil
}

// changePlan reads --if-changed and --min-new; the latter stands for both.
func (o runOptions) changePlan() (*step.IfChanged, error) {
	if o.minNew < 0 {
		return nil, console.Usage("--min-new: %d: must not be negative", o.minNew)
	}
	if !o.ifChanged && o.minNew == 0 {
		return nil, nil
	}
	return &step.IfChanged{MinNew: o.minNew}, nil
}

// warnOfNoUtility warns of a policy that a run without --compare can't meet.
func warnOfNoUtility(a *app, p runPlan) {
	if p.policy.Asks(spec.MeasureUtilityGain) && p.utility == nil {
		a.console.Say("policy %s asks whether the set helps a classifier, which only --compare can tell: "+
			"without it the verdict is no pass", p.policy.Name)
	}
}

// runJob is a run as a job.
func runJob(a *app, p runPlan) job[client.Snapshot, workflows.AugmentResult] {
	j := runKind(a)
	j.uploads = p.uploads
	j.prepare = func(context.Context, *process.Session) (client.Job, error) {
		return client.Job{
			ID: p.workflowID(), Workflow: workflows.AugmentName, Input: p.input(a),
			Summary:    fmt.Sprintf("%s with recipe %s", p.class, p.recipe.Name),
			Attributes: temporal.NewSearchAttributes(workflows.DefectClass.ValueSet(p.class)),
		}, nil
	}
	return j
}

// runKind is what all jobs that are runs have in common.
func runKind(a *app) job[client.Snapshot, workflows.AugmentResult] {
	return job[client.Snapshot, workflows.AugmentResult]{
		kind: client.Runs, noun: "run", group: "runs", view: progress.Run,
		detached: func(s *process.Session, e client.Execution) any {
			return runReport{
				WorkflowID: e.WorkflowID, RunID: e.Current, Reasons: []string{},
				UI: s.RunURL(step.Run{WorkflowID: e.WorkflowID, RunID: e.Current}),
			}
		},
		conclude: func(ctx context.Context, s *process.Session, run step.Run, result workflows.AugmentResult, err error) error {
			return concludeRun(ctx, a, s, run, result, err)
		},
	}
}
