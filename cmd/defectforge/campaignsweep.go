package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/spec"
)

func campaignSweepCommand(a *app) *cobra.Command {
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
		RunE: a.loading(func(c *cobra.Command, _ []string) error {
			return runCampaign(c.Context(), a, o.seeded(c), planSweep)
		}),
	}
	c.Flags().StringVar(&o.class, "class", "", "name of the defect class")
	c.Flags().StringArrayVar(&o.vary, "vary", nil, "a recipe value to vary, key=v1,v2,...; may be repeated")
	c.Flags().BoolVar(&o.publish, "publish", false, "publish what passes, each run its own release")
	o.addFlags(c, "surface")
	c.Flags().BoolVar(&o.flat, "flat", false, "take all files below a folder as one class, whatever its layout")
	return c
}

// planSweep makes an item of each choice of values.
func planSweep(ctx context.Context, a *app, o campaignOptions) (campaignPlan, error) {
	p, err := commonPlan(a, o, step.KindSweep)
	if err != nil {
		return p, err
	}
	if err := checkClass(o.class); err != nil {
		return p, err
	}
	choices, err := product(o.vary)
	if err != nil {
		return p, err
	}
	recipes, err := sweptRecipes(o, choices)
	if err != nil {
		return p, err
	}
	source, err := sourceOf(ctx, a, "--images", o.class, o.images, o.flat, &p.uploads)
	if err != nil {
		return p, err
	}
	p.input.Source, p.input.Name = source, cmp.Or(o.name, o.class)
	for i, settings := range choices {
		p.items = append(p.items, step.PlanItem{
			Index: i, Name: settingWords(settings), Class: o.class, Source: source, Recipe: &recipes[i], Settings: settings,
		})
	}
	return p, nil
}

// sweptRecipes are the recipes of a sweep, each for one choice of values.
func sweptRecipes(o campaignOptions, choices [][]step.Setting) ([]spec.Recipe, error) {
	var recipes []spec.Recipe
	for _, settings := range choices {
		set := slices.Clone(o.set)
		for _, s := range settings {
			set = append(set, s.Key+"="+s.Value)
		}
		recipe, err := config.Recipe(o.recipe, set)
		if err != nil {
			return nil, console.AsUsage(fmt.Errorf("--vary %s: %w", settingWords(settings), err))
		}
		if at := slices.Index(recipes, recipe); at >= 0 {
			return nil, console.Usage("--vary: %s and %s make the same recipe; give each value once",
				settingWords(choices[at]), settingWords(settings))
		}
		recipes = append(recipes, recipe)
	}
	return recipes, nil
}

// maxChoices bounds a sweep.
const maxChoices = 2000

// product lists all choices of one value for each key, the last key's value
// changing first.
func product(vary []string) ([][]step.Setting, error) {
	if len(vary) == 0 {
		return nil, console.Usage("--vary: not given; name a recipe value and what to try, for example --vary seed=1,2,3")
	}
	choices := [][]step.Setting{nil}
	var keys []string
	for _, v := range vary {
		key, list, ok := strings.Cut(v, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" || list == "" {
			return nil, console.Usage("--vary: %q: write key=v1,v2,..., for example seed=1,2,3", v)
		}
		if slices.Contains(keys, key) {
			return nil, console.Usage("--vary: %s: is given twice; list all its values at once", key)
		}
		keys = append(keys, key)
		var next [][]step.Setting
		for _, choice := range choices {
			for value := range strings.SplitSeq(list, ",") {
				next = append(next, append(slices.Clone(choice), step.Setting{Key: key, Value: strings.TrimSpace(value)}))
			}
		}
		if choices = next; len(choices) > maxChoices {
			return nil, console.Usage("--vary: makes more than %d runs; vary less at once", maxChoices)
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
