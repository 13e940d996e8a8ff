package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
)

func rootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "defectforge",
		Short: "Turn a small set of defect images into a checked, published augmentation set",
		Long: `defectforge turns a small set of images of one industrial defect into a
checked, published augmentation set. A Temporal workflow ingests the images,
trains a small GAN on them, draws samples, checks that they are no copies, and
publishes what passes.

Without a Temporal address in the environment (TEMPORAL_ADDRESS) and a store
endpoint (DEFECTFORGE_STORE_ENDPOINT), it runs both itself, with all data in
--data-dir.

Exit status: 0 published or done, 1 failed, 2 usage or configuration,
3 not approved, 130 interrupted.`,
		Example: `  defectforge demo
  defectforge run --images photos/scratches --class scratches --recipe quick
  defectforge runs list --class scratches
  defectforge releases pull scratches --dir scratches`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	a.console.Attach(root)
	config.AddFlags(root.PersistentFlags())
	a.console.JSONFlag(root.PersistentFlags())
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return console.Usage("%w; see `%s --help`", err, c.CommandPath())
	})
	root.AddCommand(
		runCommand(a), demoCommand(a), upCommand(a), workerCommand(a),
		runsCommand(a), scheduleCommand(a), campaignCommand(a), cleanUpCommand(a),
		releasesCommand(a), assessCommand(a), checkpointCommand(a),
		configCommand(a), codecServerCommand(a), doctorCommand(a), versionCommand(a),
	)
	equip(a, root)
	return root
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Args: noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	g.AddCommand(commands...)
	return g
}

// noSuchCommand refuses what a command that only holds others does not hold.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	c.SuggestionsMinimumDistance = 2 // letters
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ")
	}
	return console.Usage("unknown command %q for %q%s; see `%s --help`", args[0], c.CommandPath(), hint, c.CommandPath())
}

// exactly wants n arguments and says what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return console.Usage("%s takes %s, %d given; see `%s --help`", c.CommandPath(), what, len(args), c.CommandPath())
		}
		return nil
	}
}

// showing are the names of commands that print what they found.
var showing = map[string]bool{
	"list": true, "show": true, "describe": true, "inspect": true, "verify": true,
	"version": true, "doctor": true, "lineage": true,
}

// equip gives every command what all have in common: the formats of its output,
// and completion.
func equip(a *app, root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	explainCompletion(root)
	walk(root, "", func(c *cobra.Command, path string) {
		if showing[c.Name()] && !c.HasSubCommands() {
			a.console.OutputFlag(c)
		}
		addCompletion(a, c, path)
	})
}

// walk visits a command and those below it, each with its path below the root.
func walk(c *cobra.Command, path string, visit func(*cobra.Command, string)) {
	visit(c, path)
	for _, sub := range c.Commands() {
		walk(sub, strings.TrimSpace(path+" "+sub.Name()), visit)
	}
}
