package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/model/spec"
)

// utilityOptions are the flags that ask whether the set helps a classifier.
type utilityOptions struct {
	others                         []string // CLASS=SRC
	splits, seeds, steps, perClass int
}

// The protocol of the utility study unless the flags say otherwise: ten paired
// trainings on each of three test splits.
const (
	utilitySplits   = 3
	utilitySeeds    = 10
	utilitySteps    = 300
	utilityPerClass = 50
	maxOthers       = 50
)

func (o *utilityOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.others, "compare", nil,
		"another class and its images, CLASS=SRC: measure whether the set helps a classifier; may be repeated")
	f.IntVar(&o.splits, "utility-splits", utilitySplits, "test splits of the comparison")
	f.IntVar(&o.seeds, "utility-seeds", utilitySeeds, "paired trainings of each split")
	f.IntVar(&o.steps, "utility-steps", utilitySteps, "optimiser steps of each training")
	f.IntVar(&o.perClass, "utility-per-class", utilityPerClass, "real training images of each class, at most")
}

// checkNumbers refuses numbers outside of their ranges.
func (o utilityOptions) checkNumbers() error {
	for _, f := range []struct {
		flag       string
		value      int
		least, top int
	}{
		{"--utility-splits", o.splits, 1, 20}, {"--utility-seeds", o.seeds, 2, 100},
		{"--utility-steps", o.steps, 10, 100_000}, {"--utility-per-class", o.perClass, 5, 10_000},
	} {
		if f.value < f.least || f.value > f.top {
			return console.Usage("%s: %d: must be within %d and %d", f.flag, f.value, f.least, f.top)
		}
	}
	return nil
}

// planUtility resolves the flags, nil without another class.
func planUtility(ctx context.Context, a *app, o utilityOptions, class string, uploads *[]folderSource) (*step.UtilityPlan, error) {
	if len(o.others) == 0 {
		return nil, nil
	}
	if len(o.others) > maxOthers {
		return nil, console.Usage("--compare: %d other classes; at most %d are compared", len(o.others), maxOthers)
	}
	if err := o.checkNumbers(); err != nil {
		return nil, err
	}
	plan := &step.UtilityPlan{Splits: o.splits, Seeds: o.seeds, Steps: o.steps, PerClass: o.perClass}
	for _, other := range o.others {
		name, src, ok := strings.Cut(other, "=")
		if !ok || src == "" {
			return nil, console.Usage("--compare: %q: write CLASS=SRC, for example dents=photos/dents", other)
		}
		if !spec.ValidName(name) {
			return nil, console.Usage("--compare: %q: %s", name, spec.NameRule)
		}
		if name == class || slices.ContainsFunc(plan.Others, func(c step.ClassSource) bool { return c.Class == name }) {
			return nil, console.Usage("--compare: %q: is named twice; every class has one source", name)
		}
		source, err := sourceOf(ctx, a, "--compare", name, src, false, uploads)
		if err != nil {
			return nil, err
		}
		plan.Others = append(plan.Others, step.ClassSource{Class: name, Source: source})
	}
	// The order of the flags must not make another run.
	slices.SortFunc(plan.Others, func(a, b step.ClassSource) int { return cmp.Compare(a.Class, b.Class) })
	return plan, nil
}

// printUtility prints what the utility study has shown, where there was one.
func printUtility(a *app, u *step.UtilityResult) {
	if u == nil || u.Summary == "" {
		return
	}
	a.console.Print("utility    %s", u.Summary)
	for _, note := range u.Notes {
		a.console.Print("           note: %s", note)
	}
}
