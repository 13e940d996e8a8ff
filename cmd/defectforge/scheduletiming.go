package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"
	enumspb "go.temporal.io/api/enums/v1"
	sdk "go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
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

func (t *timing) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.cron, "cron", "", `when, as a cron expression: minute hour day month weekday, or @daily and the like`)
	f.DurationVar(&t.every, "every", 0, "how often, instead of --cron, for example 6h")
	f.DurationVar(&t.offset, "offset", 0, "with --every: how long after full multiples of it, counted from 1970 in UTC")
	f.StringVar(&t.zone, "time-zone", "", "zone of --cron, for example Europe/Berlin (default UTC)")
	f.StringVar(&t.overlap, "overlap", "Skip", "where an earlier run is under way: "+strings.Join(overlapNames, ", "))
	f.DurationVar(&t.catchup, "catchup-window", 24*time.Hour,
		"runs missed while the server was down are caught up on if they are not later than this")
	f.DurationVar(&t.jitter, "jitter", 0, "start up to this much later, by chance")
	f.BoolVar(&t.pauseOnFailure, "pause-on-failure", false, "pause the schedule when a run fails")
	f.BoolVar(&t.paused, "paused", false, "create it paused")
	f.StringVar(&t.note, "note", "", "shown with the schedule")
}

// options checks everything that can be checked here, and leaves the action out.
func (t timing) options(name string) (sdk.ScheduleOptions, error) {
	if !scheduleName.MatchString(name) {
		return sdk.ScheduleOptions{}, console.Usage("NAME: %q: use 1 to 100 letters, digits, dots, hyphens and underscores, "+
			"beginning with a letter or digit", name)
	}
	if err := t.check(); err != nil {
		return sdk.ScheduleOptions{}, err
	}
	spec := sdk.ScheduleSpec{Jitter: t.jitter, TimeZoneName: t.zone}
	if t.cron != "" {
		spec.CronExpressions = []string{annotated(t.cron)}
	} else {
		spec.Intervals = []sdk.ScheduleIntervalSpec{{Every: t.every, Offset: t.offset}}
	}
	overlap, err := parseOverlap("--overlap", t.overlap)
	return sdk.ScheduleOptions{
		ID: name, Spec: spec, Overlap: overlap, CatchupWindow: t.catchup, PauseOnFailure: t.pauseOnFailure,
		Paused: t.paused, Note: t.note,
	}, err
}

// check refuses flags that do not go together, or say nothing.
func (t timing) check() error {
	switch {
	case t.cron == "" && t.every == 0:
		return console.Usage("--cron, --every: neither given; say when, for example --cron \"0 2 * * *\" or --every 6h")
	case t.cron != "" && t.every != 0:
		return console.Usage("--every: %s: given together with --cron; keep one", t.every)
	case t.cron == "" && t.every < time.Second:
		return console.Usage("--every: %s: must be at least 1s", t.every)
	case t.offset != 0 && (t.cron != "" || t.offset < 0 || t.offset >= t.every):
		return console.Usage("--offset: %s: goes with --every, and is below it", t.offset)
	case t.zone != "" && t.cron == "":
		return console.Usage("--time-zone: %q: goes with --cron; --every counts from 1970 in UTC, which --offset shifts", t.zone)
	case t.catchup < leastCatchup:
		return console.Usage("--catchup-window: %s: must be at least %s", t.catchup, leastCatchup)
	case t.jitter < 0:
		return console.Usage("--jitter: %s: must not be negative", t.jitter)
	}
	if _, err := time.LoadLocation(t.zone); err != nil || t.zone == "Local" {
		return console.Usage("--time-zone: %q: unknown; give a name of the IANA database, for example UTC, "+
			"Europe/Berlin or America/Chicago", t.zone)
	}
	return nil
}

// annotated adds a cron expression's own text as its comment, which the server
// keeps where it takes the expression apart.
func annotated(cron string) string {
	if strings.Contains(cron, "#") {
		return cron
	}
	return cron + " # " + cron
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
