package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/workflows"
)

// leastCatchup is the least catch-up window that Temporal takes.
const leastCatchup = 10 * time.Second

// timing says when a schedule starts runs, and how it treats those that are late.
type timing struct {
	cron           string
	every, offset  time.Duration
	zone, overlap  string
	catchup        time.Duration
	jitter         time.Duration
	pauseOnFailure bool
	paused         bool
	note           string
}

func (p *program) scheduleCreateCommand() *cobra.Command {
	var o runOptions
	var t timing
	var k keeping
	var cleanUp bool
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
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			if cleanUp {
				for _, flag := range []string{
					"images", "class", "recipe", "policy", "set", "seed", "min-new",
					"compare", "utility-splits", "utility-seeds", "utility-steps", "utility-per-class",
				} {
					if c.Flags().Changed(flag) {
						return usageError("--%s: has no meaning for --cleanup; leave one out", flag)
					}
				}
				return p.scheduleCleanUp(c.Context(), args[0], t, k)
			}
			for _, flag := range []string{"grace", "checkpoint-age", "checkpoint-count", "record-age"} {
				if c.Flags().Changed(flag) {
					return usageError("--%s: goes with --cleanup", flag)
				}
			}
			o.seeded = c.Flags().Changed("seed")
			return p.scheduleCreate(c.Context(), args[0], t, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.images, "images", "", "s3://bucket/prefix")
	f.StringVar(&o.class, "class", "", "name of the defect class")
	o.addRecipeFlags(c, "classic")
	o.compareOptions.addFlags(f)
	f.IntVar(&o.minNew, "min-new", 0, "wait until this many images are new since the latest release")
	f.BoolVar(&cleanUp, "cleanup", false, "clean the bucket up instead")
	k.addFlags(c)
	t.addFlags(c)
	return c
}

func (p *program) scheduleCleanUp(ctx context.Context, name string, t timing, k keeping) error {
	options, err := t.options(name)
	if err != nil {
		return err
	}
	if options.Action, err = p.cleanUpAction(name, k); err != nil {
		return err
	}
	return p.createSchedule(ctx, t, options)
}

func (t *timing) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.cron, "cron", "", `when, as a cron expression: minute hour day month weekday, or @daily and the like`)
	f.DurationVar(&t.every, "every", 0, "how often, instead of --cron, for example 6h")
	f.DurationVar(&t.offset, "offset", 0, "with --every: how long after full multiples of it, counted from 1970 in UTC")
	f.StringVar(&t.zone, "time-zone", "", "zone of --cron, for example Europe/Berlin (default UTC)")
	f.StringVar(&t.overlap, "overlap", "Skip", "where an earlier run is under way: "+strings.Join(overlapNames, ", "))
	f.DurationVar(&t.catchup, "catchup-window", 24*time.Hour, "runs missed while the server was down are caught up on if they are not later than this")
	f.DurationVar(&t.jitter, "jitter", 0, "start up to this much later, by chance")
	f.BoolVar(&t.pauseOnFailure, "pause-on-failure", false, "pause the schedule when a run fails")
	f.BoolVar(&t.paused, "paused", false, "create it paused")
	f.StringVar(&t.note, "note", "", "shown with the schedule")
}

// options checks everything that can be checked here, and leaves the action out.
func (t timing) options(name string) (client.ScheduleOptions, error) {
	none := client.ScheduleOptions{}
	if !scheduleName.MatchString(name) {
		return none, usageError("NAME: %q: use 1 to 100 letters, digits, dots, hyphens and underscores, beginning with a letter or digit", name)
	}
	spec := client.ScheduleSpec{Jitter: t.jitter, TimeZoneName: t.zone}
	switch {
	case t.cron == "" && t.every == 0:
		return none, usageError("--cron, --every: neither given; say when, for example --cron \"0 2 * * *\" or --every 6h")
	case t.cron != "" && t.every != 0:
		return none, usageError("--every: %s: given together with --cron; keep one", t.every)
	case t.cron == "" && t.every < time.Second:
		return none, usageError("--every: %s: must be at least 1s", t.every)
	case t.offset != 0 && (t.cron != "" || t.offset < 0 || t.offset >= t.every):
		return none, usageError("--offset: %s: goes with --every, and is below it", t.offset)
	case t.zone != "" && t.cron == "":
		return none, usageError("--time-zone: %q: goes with --cron; --every counts from 1970 in UTC, which --offset shifts", t.zone)
	case t.catchup < leastCatchup:
		return none, usageError("--catchup-window: %s: must be at least %s", t.catchup, leastCatchup)
	case t.jitter < 0:
		return none, usageError("--jitter: %s: must not be negative", t.jitter)
	}
	if _, err := time.LoadLocation(t.zone); err != nil || t.zone == "Local" {
		return none, usageError("--time-zone: %q: unknown; give a name of the IANA database, for example UTC, Europe/Berlin or America/Chicago", t.zone)
	}
	if t.cron != "" {
		spec.CronExpressions = []string{annotated(t.cron)}
	} else {
		spec.Intervals = []client.ScheduleIntervalSpec{{Every: t.every, Offset: t.offset}}
	}
	overlap, err := parseOverlap("--overlap", t.overlap)
	return client.ScheduleOptions{
		ID: name, Spec: spec, Overlap: overlap, CatchupWindow: t.catchup, PauseOnFailure: t.pauseOnFailure, Paused: t.paused, Note: t.note,
	}, err
}

// annotated adds a cron expression's own text as its comment, which the server
// keeps where it takes the expression apart.
func annotated(cron string) string {
	if strings.Contains(cron, "#") {
		return cron
	}
	return cron + " # " + cron
}

func (p *program) scheduleCreate(ctx context.Context, name string, t timing, o runOptions) error {
	options, err := t.options(name)
	if err != nil {
		return err
	}
	const onlyBuckets = "a schedule takes s3://bucket/prefix, which it looks at every time; a folder would be uploaded once. `defectforge run` takes folders"
	if o.images != "" && !strings.HasPrefix(o.images, "s3://") {
		return usageError("--images: %s: %s", o.images, onlyBuckets)
	}
	for _, other := range o.others {
		if _, src, ok := strings.Cut(other, "="); ok && !strings.HasPrefix(src, "s3://") {
			return usageError("--compare: %s: %s", other, onlyBuckets)
		}
	}
	o.ifChanged = true
	j, err := p.plan(ctx, o)
	if err != nil {
		return err
	}
	p.warnOfNoComparison(j)
	options.TypedSearchAttributes = temporal.NewSearchAttributes(workflows.DefectClass.ValueSet(j.class))
	options.Action = &client.ScheduleWorkflowAction{
		ID: "augment-" + name, Workflow: workflows.AugmentName, Args: []any{p.input(j)}, TaskQueue: p.cfg.Temporal.TaskQueue,
		TypedSearchAttributes: options.TypedSearchAttributes,
		StaticSummary:         fmt.Sprintf("%s with recipe %s, by schedule %s", j.class, j.recipe.Name, name),
	}
	return p.createSchedule(ctx, t, options)
}

func (p *program) createSchedule(ctx context.Context, t timing, options client.ScheduleOptions) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	invalid := (*serviceerror.InvalidArgument)(nil)
	_, err = s.temp.ScheduleClient().Create(ctx, options)
	switch {
	case errors.Is(err, temporal.ErrScheduleAlreadyRunning):
		return fmt.Errorf("schedule %s: is there already; choose another name, or `defectforge schedule delete %s` first", options.ID, options.ID)
	case errors.As(err, &invalid) && t.cron != "":
		return usageError("--cron: %q: %s; write minute hour day month weekday, for example \"0 2 * * *\" for two at night", t.cron, invalid.Error())
	case err != nil:
		return fmt.Errorf("create schedule: %w; `defectforge doctor` checks namespace and search attributes", err)
	}
	if s.stack != nil && s.stack.mine() {
		p.say("it starts runs while `defectforge up` runs for this data folder")
	} else {
		p.hintAtWorkers(ctx, s)
	}
	return p.answered(options.ID, "created")
}

// input is what a job's workflow is started with.
func (p *program) input(j job) workflows.AugmentInput {
	return workflows.AugmentInput{
		Class: j.class, Source: j.source, Recipe: j.recipe, Policy: j.policy, Utility: j.utility, IfChanged: j.ifChanged, Rerun: j.rerun, Unpublished: j.unpublished,
		TrainingQueue: p.cfg.Temporal.TrainingTaskQueue,
	}
}

// changePlan reads --if-changed and --min-new; the latter stands for both.
func (o runOptions) changePlan() (*step.IfChanged, error) {
	if o.minNew < 0 {
		return nil, usageError("--min-new: %d: must not be negative", o.minNew)
	}
	if !o.ifChanged && o.minNew == 0 {
		return nil, nil
	}
	return &step.IfChanged{MinNew: o.minNew}, nil
}

// overlapFlag adds a flag that overrides a schedule's overlap policy.
func overlapFlag(c *cobra.Command, value *string, usage string) {
	c.Flags().StringVar(value, "overlap", *value, usage+": "+strings.Join(overlapNames, ", "))
}

// overlapOr is a policy that a flag names, or the schedule's own.
func overlapOr(value string) (enumspb.ScheduleOverlapPolicy, error) {
	if value == "" {
		return enumspb.SCHEDULE_OVERLAP_POLICY_UNSPECIFIED, nil
	}
	return parseOverlap("--overlap", value)
}
