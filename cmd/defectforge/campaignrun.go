package main

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/campaign"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/layout"
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

const defaultConcurrency = 4

func campaignRunCommand(a *app) *cobra.Command {
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
		RunE: a.loading(func(c *cobra.Command, _ []string) error {
			return runCampaign(c.Context(), a, o.seeded(c), planCampaign)
		}),
	}
	o.addFlags(c, "surface")
	return c
}

func (o *campaignOptions) addFlags(c *cobra.Command, recipe string) {
	f := c.Flags()
	f.StringVar(&o.images, "images", "", "folder, or s3://bucket/prefix")
	o.addRecipeFlags(c, recipe)
	f.StringVar(&o.name, "name", "", "name of the campaign (default: of the source)")
	f.IntVar(&o.concurrency, "concurrency", defaultConcurrency,
		fmt.Sprintf("runs under way at once, 1 to %d", workflows.MaxConcurrency))
	f.BoolVar(&o.detach, "detach", false, "start the campaign and return; a worker must be there to do it")
}

// seeded adds the seed to what is set, where --seed was given.
func (o campaignOptions) seeded(c *cobra.Command) campaignOptions {
	if c.Flags().Changed("seed") {
		o.set = append(slices.Clone(o.set), fmt.Sprintf("seed=%d", o.seed))
	}
	return o
}

// runCampaign plans and does a campaign.
func runCampaign(
	ctx context.Context, a *app, o campaignOptions, plan func(context.Context, *app, campaignOptions) (campaignPlan, error),
) error {
	p, err := plan(ctx, a, o)
	if err != nil {
		return err
	}
	return campaignJob(a, p).do(ctx, a, o.detach)
}

// commonPlan checks what both kinds of campaigns have in common.
func commonPlan(a *app, o campaignOptions, kind string) (campaignPlan, error) {
	p := campaignPlan{}
	if o.images == "" {
		return p, console.Usage("--images: not given; name a folder or s3://bucket/prefix")
	}
	if o.concurrency < 1 || o.concurrency > workflows.MaxConcurrency {
		return p, console.Usage("--concurrency: %d: must be within 1 and %d", o.concurrency, workflows.MaxConcurrency)
	}
	if o.name != "" && !spec.ValidName(o.name) {
		return p, console.Usage("--name: %q: %s", o.name, spec.NameRule)
	}
	recipe, err := config.Recipe(o.recipe, o.set)
	if err != nil {
		return p, console.AsUsage(err)
	}
	policy, err := policyOf(o.policy, recipe)
	if err != nil {
		return p, err
	}
	p.input = workflows.CampaignInput{
		Name: o.name, Kind: kind, Recipe: recipe, Policy: policy, Concurrency: o.concurrency,
		Unpublished: kind == step.KindSweep && !o.publish, TrainingQueue: a.cfg.Temporal.TrainingTaskQueue,
	}
	return p, nil
}

// planCampaign checks everything that can be checked without Temporal and a store.
func planCampaign(ctx context.Context, a *app, o campaignOptions) (campaignPlan, error) {
	p, err := commonPlan(a, o, step.KindClasses)
	if err != nil {
		return p, err
	}
	source, remote, err := parseS3("--images", o.images)
	if err != nil {
		return p, err
	}
	if remote {
		p.input.Source = source
	} else if err := planFolders(ctx, a, o.images, &p); err != nil {
		return p, err
	}
	p.input.Name = cmp.Or(o.name, nameOf(o.images))
	return p, nil
}

// planFolders makes an item of each class in dir: of each folder directly below it,
// unless its layout says that these are no classes.
func planFolders(ctx context.Context, a *app, dir string, p *campaignPlan) error {
	if layout.Of(namesBelow(dir), isMask).Special {
		files, _, err := scanFolder(ctx, "--images", dir)
		if err != nil {
			return err
		}
		return planLayout(a, dir, layout.Of(files, isMask), p)
	}
	names, loose, err := foldersOf("--images", dir)
	if err != nil {
		return err
	}
	if loose > 0 {
		a.console.Say("%d files directly in %s belong to no class and are left out", loose, dir)
	}
	for i, class := range campaign.Classes(names) {
		source, err := sourceOf(ctx, a, "--images", class, filepath.Join(dir, names[i]), true, &p.uploads)
		if err != nil {
			return err
		}
		p.items = append(p.items, step.PlanItem{Index: i, Name: names[i], Class: class, Source: source})
	}
	return nil
}

// planLayout makes an item of each class of a layout.
func planLayout(a *app, dir string, found layout.Found, p *campaignPlan) error {
	names := slices.DeleteFunc(found.Names(), func(name string) bool { return name == "" })
	if len(names) == 0 {
		return console.Usage("--images: %s: %s, of no classes; `defectforge run` takes it as one class", dir, found.Name)
	}
	words := fmt.Sprintf("%s: %s, %d classes", dir, found.Name, len(names))
	if n := len(found.Classes[""]); n > 0 {
		words += fmt.Sprintf("; %d images belong to none and are left out", n)
	}
	if aside := found.Aside(); aside != "" {
		words += "; left aside: " + aside
	}
	a.console.Say("%s", words)
	for i, class := range campaign.Classes(names) {
		files := found.Classes[names[i]]
		prefix := folderPrefix(class, files)
		p.uploads = append(p.uploads, folderSource{prefix, files})
		p.items = append(p.items, step.PlanItem{
			Index: i, Name: names[i], Class: class, Source: step.Source{Bucket: a.cfg.Store.Bucket, Prefix: prefix},
		})
	}
	return nil
}

// nameOf makes a campaign's name of where its images are.
func nameOf(images string) string {
	base := path.Base(strings.TrimRight(strings.TrimPrefix(images, "s3://"), "/"))
	return campaign.Classes([]string{base})[0]
}
