package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/workflows"
)

// campaignOptions are the flags of `campaign run` and `campaign sweep`.
type campaignOptions struct {
	runOptions
	name        string
	concurrency int
	vary        []string
	publish     bool
}

// campaignJob is a campaign, resolved.
type campaignJob struct {
	id      string // "" for the one that follows from the input
	input   workflows.CampaignInput
	items   []step.PlanItem // nil where the workflow lists the source
	uploads []folderSource
	// conflict is what to do where the campaign runs already.
	conflict enumspb.WorkflowIdConflictPolicy
}

const defaultConcurrency = 4

func (p *program) campaignCommand() *cobra.Command {
	return group("campaign", "Run many classes, or one class with many recipes, and compare them",
		p.campaignRunCommand(), p.campaignSweepCommand(), p.campaignListCommand(),
		p.oneCampaignCommand("show", "Show how far a campaign is, or what it came to", p.campaignShow),
		p.oneCampaignCommand("watch", "Follow a campaign until it ends", p.campaignWatch),
		p.campaignRetryCommand(),
		p.oneCampaignCommand("cancel", "Cancel a campaign and the runs that it began", p.runsCancel),
	)
}

func (p *program) campaignRunCommand() *cobra.Command {
	var o campaignOptions
	c := &cobra.Command{
		Use:   "run --images SRC",
		Short: "Turn every class below a prefix or folder into a published augmentation set",
		Long: `Make one run of each class in SRC, s3://bucket/prefix/ or a folder: the prefixes
or folders directly below it are the classes. At most --concurrency runs are
under way at once; one that fails does not stop the others. At the end there is
one report that compares them.

A folder whose name is no class name stands for the class that its letters make.
The same command again attaches to a campaign under way. ` + "`campaign retry`" + ` does
what failed again, and nothing else.

Exit status: 0 all published, 1 something failed, 3 some not approved.`,
		Example: `  defectforge campaign run --images s3://factory/defects/ --recipe small-data --concurrency 8
  defectforge campaign run --images photos --recipe quick --name weekly --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.campaign(c, &o, p.planCampaign)
		},
	}
	o.addFlags(c, "classic")
	return c
}

func (p *program) campaignSweepCommand() *cobra.Command {
	var o campaignOptions
	c := &cobra.Command{
		Use:   "sweep --images SRC --class CLASS --vary KEY=V1,V2...",
		Short: "Compare recipes: one run of a class for each choice of values",
		Long: `Make one run of CLASS for each choice of the values that --vary lists: the
product of all lists. The report compares the runs by their measures.

A sweep compares, so nothing is published, whatever passes; with --publish each
set that passes becomes a release of its own, named by its content, and the
class's latest release is the one that was published last.

Exit status: 0 complete, 1 something failed; with --publish also 3 where some
were not approved.`,
		Example: `  defectforge campaign sweep --images photos/scratches --class scratches --recipe quick \
    --vary train.generator_rate=1e-4,2e-4 --vary seed=1,2,3`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.campaign(c, &o, p.planSweep)
		},
	}
	c.Flags().StringVar(&o.class, "class", "", "name of the defect class")
	c.Flags().StringArrayVar(&o.vary, "vary", nil, "a recipe value to vary, key=v1,v2,...; may be repeated")
	c.Flags().BoolVar(&o.publish, "publish", false, "publish what passes, each run its own release")
	o.addFlags(c, "classic")
	return c
}

func (o *campaignOptions) addFlags(c *cobra.Command, recipe string) {
	f := c.Flags()
	f.StringVar(&o.images, "images", "", "folder, or s3://bucket/prefix")
	o.addRecipeFlags(c, recipe)
	f.StringVar(&o.name, "name", "", "name of the campaign (default: of the source)")
	f.IntVar(&o.concurrency, "concurrency", defaultConcurrency, fmt.Sprintf("runs under way at once, 1 to %d", workflows.MaxConcurrency))
	f.BoolVar(&o.detach, "detach", false, "start the campaign and return; a worker must be there to do it")
}

// campaign plans and does a campaign.
func (p *program) campaign(c *cobra.Command, o *campaignOptions, plan func(context.Context, campaignOptions) (campaignJob, error)) error {
	if err := p.load(c); err != nil {
		return err
	}
	if c.Flags().Changed("seed") {
		o.set = append(o.set, fmt.Sprintf("seed=%d", o.seed))
	}
	j, err := plan(c.Context(), *o)
	if err != nil {
		return err
	}
	return p.campaignAgain(c.Context(), j, o.detach)
}

// campaignAgain does the job, also where the process ends that ran the stack.
func (p *program) campaignAgain(ctx context.Context, j campaignJob, detach bool) error {
	for {
		err := p.campaignOnce(ctx, j, detach)
		if !errors.Is(err, errTakeOver) {
			return err
		}
		p.log.Info("the process that ran the embedded stack has ended; taking over")
	}
}

// common checks what both kinds of campaigns have in common.
func (p *program) common(o campaignOptions, kind string) (campaignJob, error) {
	j := campaignJob{conflict: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING}
	if o.images == "" {
		return j, usageError("--images: not given; name a folder or s3://bucket/prefix")
	}
	if o.concurrency < 1 || o.concurrency > workflows.MaxConcurrency {
		return j, usageError("--concurrency: %d: must be within 1 and %d", o.concurrency, workflows.MaxConcurrency)
	}
	if o.name != "" && !spec.ValidName(o.name) {
		return j, usageError("--name: %q: %s", o.name, spec.NameRule)
	}
	recipe, err := config.Recipe(o.recipe, o.set)
	if err != nil {
		return j, &statusError{exitUsage, err}
	}
	policy, err := config.Policy(cmp.Or(o.policy, recipe.Policy, spec.ProductionPolicy().Name))
	if err != nil {
		return j, &statusError{exitUsage, err}
	}
	j.input = workflows.CampaignInput{
		Name: o.name, Kind: kind, Recipe: recipe, Policy: policy, Concurrency: o.concurrency,
		Unpublished: kind == step.KindSweep && !o.publish, TrainingQueue: p.cfg.Temporal.TrainingTaskQueue,
	}
	return j, nil
}

// planCampaign checks everything that can be checked without Temporal and a store.
func (p *program) planCampaign(ctx context.Context, o campaignOptions) (campaignJob, error) {
	j, err := p.common(o, step.KindClasses)
	if err != nil {
		return j, err
	}
	source, remote, err := parseS3("--images", o.images)
	if err != nil {
		return j, err
	}
	if remote {
		j.input.Source = source
	} else if err := p.planFolders(ctx, o.images, &j); err != nil {
		return j, err
	}
	j.input.Name = cmp.Or(o.name, nameOf(o.images))
	return j, nil
}

// planFolders makes an item of each folder directly below dir.
func (p *program) planFolders(ctx context.Context, dir string, j *campaignJob) error {
	names, loose, err := foldersOf("--images", dir)
	if err != nil {
		return err
	}
	if loose > 0 {
		p.say("%d files directly in %s belong to no class and are left out", loose, dir)
	}
	for i, class := range activities.Classes(names) {
		source, err := p.sourceOf(ctx, "--images", class, filepath.Join(dir, names[i]), &j.uploads)
		if err != nil {
			return err
		}
		j.items = append(j.items, step.PlanItem{Index: i, Name: names[i], Class: class, Source: source})
	}
	return nil
}

// nameOf makes a campaign's name of where its images are.
func nameOf(images string) string {
	base := path.Base(strings.TrimRight(strings.TrimPrefix(images, "s3://"), "/"))
	return activities.Classes([]string{base})[0]
}

// planSweep makes an item of each choice of values.
func (p *program) planSweep(ctx context.Context, o campaignOptions) (campaignJob, error) {
	j, err := p.common(o, step.KindSweep)
	if err != nil {
		return j, err
	}
	if err := checkClass(o.class); err != nil {
		return j, err
	}
	choices, err := product(o.vary)
	if err != nil {
		return j, err
	}
	var recipes []spec.Recipe
	for _, settings := range choices {
		set := slices.Clone(o.set)
		for _, s := range settings {
			set = append(set, s.Key+"="+s.Value)
		}
		recipe, err := config.Recipe(o.recipe, set)
		if err != nil {
			return j, &statusError{exitUsage, fmt.Errorf("--vary %s: %w", settingWords(settings), err)}
		}
		if at := slices.Index(recipes, recipe); at >= 0 {
			return j, usageError("--vary: %s and %s make the same recipe; give each value once", settingWords(choices[at]), settingWords(settings))
		}
		recipes = append(recipes, recipe)
	}
	source, err := p.sourceOf(ctx, "--images", o.class, o.images, &j.uploads)
	if err != nil {
		return j, err
	}
	j.input.Source, j.input.Name = source, cmp.Or(o.name, o.class)
	for i, settings := range choices {
		j.items = append(j.items, step.PlanItem{
			Index: i, Name: settingWords(settings), Class: o.class, Source: source, Recipe: &recipes[i], Settings: settings,
		})
	}
	return j, nil
}

// maxChoices bounds a sweep.
const maxChoices = 2000

// product lists all choices of one value for each key, the last key's value
// changing first.
func product(vary []string) ([][]step.Setting, error) {
	if len(vary) == 0 {
		return nil, usageError("--vary: not given; name a recipe value and what to try, for example --vary seed=1,2,3")
	}
	choices := [][]step.Setting{nil}
	var keys []string
	for _, v := range vary {
		key, list, ok := strings.Cut(v, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" || list == "" {
			return nil, usageError("--vary: %q: write key=v1,v2,..., for example seed=1,2,3", v)
		}
		if slices.Contains(keys, key) {
			return nil, usageError("--vary: %s: is given twice; list all its values at once", key)
		}
		keys = append(keys, key)
		var next [][]step.Setting
		for _, choice := range choices {
			for value := range strings.SplitSeq(list, ",") {
				next = append(next, append(slices.Clone(choice), step.Setting{Key: key, Value: strings.TrimSpace(value)}))
			}
		}
		if choices = next; len(choices) > maxChoices {
			return nil, usageError("--vary: makes more than %d runs; vary less at once", maxChoices)
		}
	}
	return choices, nil
}

func settingWords(settings []step.Setting) string {
	var words []string
	for _, s := range settings {
		words = append(words, s.Key+"="+s.Value)
	}
	return strings.Join(words, " ")
}

// campaignID names the campaign by all that decides what it does.
func campaignID(in workflows.CampaignInput) string {
	return "campaign-" + in.Name + "-" + spec.Digest(struct {
		Kind        string
		Source      step.Source
		Plan        string
		Recipe      spec.Recipe
		Policy      spec.Policy
		Unpublished bool
	}{in.Kind, in.Source, in.Plan.SHA256, in.Recipe, in.Policy, in.Unpublished})[:12]
}

// campaignOnce does the job within one connection.
func (p *program) campaignOnce(ctx context.Context, j campaignJob, detach bool) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	for _, f := range j.uploads {
		if err := p.uploadSource(ctx, s, f); err != nil {
			return err
		}
	}
	handle, err := p.startCampaign(ctx, s, &j)
	if err != nil {
		return err
	}
	run := step.Run{WorkflowID: handle.GetID(), RunID: firstRunID(ctx, s.temp, handle)}
	if detach {
		if s.stack != nil && s.stack.mine() {
			p.say("nothing runs this yet: start `defectforge up` for this data folder")
		}
		p.say("started; `defectforge campaign watch %s` follows it", run.WorkflowID)
		if p.json {
			return p.emit(campaignReport{WorkflowID: run.WorkflowID, RunID: run.RunID, Name: j.input.Name, Kind: j.input.Kind, UI: s.runURL(run)})
		}
		p.print("%s", run.WorkflowID)
		return nil
	}
	p.say("campaign %s%s", run.WorkflowID, s.linkNote(run))
	failed, stop, err := p.serve(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	result, err := p.followCampaign(ctx, s.temp, run.WorkflowID, handle.GetRunID(), failed)
	if failed == nil && context.Cause(ctx) == errInterrupted {
		p.say("the campaign itself goes on; `defectforge campaign watch %s` follows it, `campaign cancel` ends it", run.WorkflowID)
	}
	if errors.Is(err, errServerGone) && s.stack != nil && !s.stack.mine() {
		return errTakeOver
	}
	return p.concludeCampaign(ctx, s, run, result, err)
}

// startCampaign stores the plan where there is one, and starts the workflow or
// attaches to it.
func (p *program) startCampaign(ctx context.Context, s *session, j *campaignJob) (client.WorkflowRun, error) {
	if j.items != nil {
		plan, err := activities.StorePlan(ctx, s.store, j.items)
		if err != nil {
			return nil, err
		}
		j.input.Plan = plan
		if err := s.bucket.Sync(ctx); err != nil {
			return nil, fmt.Errorf("sync store: %w", err)
		}
	}
	id := cmp.Or(j.id, campaignID(j.input))
	handle, err := s.temp.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       id,
		TaskQueue:                                p.cfg.Temporal.TaskQueue,
		WorkflowIDConflictPolicy:                 j.conflict,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            fmt.Sprintf("%s with recipe %s", j.input.Name, j.input.Recipe.Name),
		TypedSearchAttributes:                    temporal.NewSearchAttributes(workflows.CampaignAttribute.ValueSet(id)),
	}, workflows.CampaignName, j.input)
	if err != nil {
		return nil, fmt.Errorf("start campaign: %w; `defectforge doctor` checks namespace and search attributes", err)
	}
	return handle, nil
}
