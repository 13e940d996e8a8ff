package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	sdk "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/workflows"
)

// scheduleOptions are the argument and the flags of `schedule create`.
type scheduleOptions struct {
	name    string
	timing  timing
	run     runOptions
	cleanUp bool
	keep    keeping // of a clean-up
}

func scheduleCreateCommand(a *app) *cobra.Command {
	var o scheduleOptions
	c := &cobra.Command{
		Use:   "create NAME (--images s3://BUCKET/PREFIX --class CLASS | --cleanup) (--cron EXPRESSION | --every DURATION)",
		Short: "Create a schedule",
		Long: `Create a schedule that runs the augmentation of CLASS on the images that lie
below s3://BUCKET/PREFIX at the time.

A folder is not taken: it would be uploaded once, and never change. Recipe and
policy are resolved now and kept; delete the schedule and create it anew to
change them. --compare is that of ` + "`defectforge run`" + `; new images of the other classes
alone start nothing.

Each run looks at the images first and ends at once where there is nothing to
do; with --min-new N also while fewer than N images are new since the latest
release.

With --cleanup the schedule does what ` + "`defectforge cleanup --apply`" + ` does.`,
		Example: `  defectforge schedule create nightly --images s3://factory/dents/ --class dents --cron "0 2 * * *" --time-zone Europe/Berlin
  defectforge schedule create hourly --images s3://factory/pits/ --class pits --every 1h --min-new 20 --overlap Skip
  defectforge schedule create useful --images s3://factory/dents/ --class dents --compare pits=s3://factory/pits/ --policy useful --cron @weekly
  defectforge schedule create weekly --cleanup --cron "0 5 * * 0"`,
		Args: exactly(1, "the new schedule's name"),
		RunE: a.loading(func(c *cobra.Command, args []string) error {
			o.name, o.run.seeded = args[0], c.Flags().Changed("seed")
			if err := o.check(c.Flags().Changed); err != nil {
				return err
			}
			return createSchedule(c.Context(), a, o)
		}),
	}
	o.addFlags(c)
	return c
}

func (o *scheduleOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.run.images, "images", "", "s3://bucket/prefix")
	f.StringVar(&o.run.class, "class", "", "name of the defect class")
	o.run.addRecipeFlags(c, "surface")
	o.run.utility.addFlags(f)
	f.IntVar(&o.run.minNew, "min-new", 0, "wait until this many images are new since the latest release")
	f.BoolVar(&o.cleanUp, "cleanup", false, "clean the bucket up instead")
	o.keep.addFlags(c)
	o.timing.addFlags(c)
}

// check refuses flags that have no meaning for what is scheduled.
func (o scheduleOptions) check(given func(flag string) bool) error {
	if o.cleanUp {
		for _, flag := range []string{
			"images", "class", "recipe", "policy", "set", "seed", "min-new",
			"compare", "utility-splits", "utility-seeds", "utility-steps", "utility-per-class",
		} {
			if given(flag) {
				return console.Usage("--%s: has no meaning for --cleanup; leave one out", flag)
			}
		}
		return nil
	}
	for _, flag := range []string{"grace", "checkpoint-age", "checkpoint-count", "record-age"} {
		if given(flag) {
			return console.Usage("--%s: goes with --cleanup", flag)
		}
	}
	return nil
}

// createSchedule creates a schedule of runs, or of clean-ups.
func createSchedule(ctx context.Context, a *app, o scheduleOptions) error {
	options, err := o.timing.options(o.name)
	if err != nil {
		return err
	}
	if o.cleanUp {
		options.Action, err = cleanUpAction(a, o.name, o.keep)
	} else {
		err = o.scheduleRun(ctx, a, &options)
	}
	if err != nil {
		return err
	}
	s, err := a.process.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err = s.Temporal.ScheduleClient().Create(ctx, options); err != nil {
		return notCreated(err, o)
	}
	if s.Owns() {
		a.console.Say("it starts runs while `defectforge up` runs for this data folder")
	} else {
		a.process.HintAtWorkers(ctx, s)
	}
	return printScheduleDone(a, o.name, "created")
}

// scheduleRun makes a run what a schedule starts.
func (o scheduleOptions) scheduleRun(ctx context.Context, a *app, options *sdk.ScheduleOptions) error {
	const onlyBuckets = "a schedule takes s3://bucket/prefix, which it looks at every time; a folder would be uploaded once. " +
		"`defectforge run` takes folders"
	if o.run.images != "" && !isRemote(o.run.images) {
		return console.Usage("--images: %s: %s", o.run.images, onlyBuckets)
	}
	for _, other := range o.run.utility.others {
		if _, src, ok := strings.Cut(other, "="); ok && !isRemote(src) {
			return console.Usage("--compare: %s: %s", other, onlyBuckets)
		}
	}
	o.run.ifChanged = true
	p, err := planRun(ctx, a, o.run)
	if err != nil {
		return err
	}
	warnOfNoUtility(a, p)
	options.TypedSearchAttributes = temporal.NewSearchAttributes(workflows.DefectClass.ValueSet(p.class))
	options.Action = &sdk.ScheduleWorkflowAction{
		ID: "augment-" + o.name, Workflow: workflows.AugmentName, Args: []any{p.input(a)}, TaskQueue: a.cfg.Temporal.TaskQueue,
		TypedSearchAttributes: options.TypedSearchAttributes,
		StaticSummary:         fmt.Sprintf("%s with recipe %s, by schedule %s", p.class, p.recipe.Name, o.name),
	}
	return nil
}

// notCreated says why Temporal refused a schedule, and what to do.
func notCreated(err error, o scheduleOptions) error {
	invalid := (*serviceerror.InvalidArgument)(nil)
	switch {
	case errors.Is(err, temporal.ErrScheduleAlreadyRunning):
		return fmt.Errorf("schedule %s: is there already; choose another name, or `defectforge schedule delete %s` first",
			o.name, o.name)
	case errors.As(err, &invalid) && o.timing.cron != "":
		return console.Usage("--cron: %q: %s; write minute hour day month weekday, for example \"0 2 * * *\" for two at night",
			o.timing.cron, invalid.Error())
	}
	return fmt.Errorf("create schedule: %w; `defectforge doctor` checks namespace and search attributes", err)
}
