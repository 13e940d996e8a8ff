package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/config"
)

// program is what every command shares.
type program struct {
	stdout   io.Writer
	screen   *screen // standard error
	terminal bool    // standard error is one
	paint    paint   // of standard output
	paintErr paint
	json     bool
	yaml     bool // the one object is YAML
	emitted  bool // the one object is out
	cfg      config.Loaded
	log      *slog.Logger
	sdkLog   *slog.Logger // the SDK's, where it is not log
	logFile  io.Closer
	told     *telemetry // nil before it is needed
}

func newProgram(stdout, stderr io.Writer) *program {
	p := &program{stdout: stdout, screen: &screen{w: stderr}, paint: paintOf(stdout, os.Getenv), paintErr: paintOf(stderr, os.Getenv)}
	if f, ok := stderr.(*os.File); ok {
		p.terminal = drawable(f, os.Getenv)
	}
	p.log = slog.New(slog.NewTextHandler(p.screen, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return p
}

func (p *program) close() {
	if p.told != nil {
		if err := p.told.close(); err != nil {
			p.log.Warn("the last traces are not sent", "error", err)
		}
	}
	if p.logFile != nil {
		_ = p.logFile.Close()
	}
}

func (p *program) rootCommand() *cobra.Command {
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
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	config.AddFlags(root.PersistentFlags())
	root.PersistentFlags().BoolVar(&p.json, "json", false, "print one JSON object on standard output")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError("%w; see `%s --help`", err, c.CommandPath())
	})
	root.AddCommand(
		p.runCommand(), p.demoCommand(), p.upCommand(), p.workerCommand(), p.runsCommand(), p.scheduleCommand(), p.campaignCommand(), p.cleanUpCommand(),
		p.releasesCommand(), p.assessCommand(), p.checkpointCommand(), p.configCommand(), p.codecServerCommand(), p.doctorCommand(), p.versionCommand(),
	)
	p.equip(root)
	return root
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
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
	return usageError("unknown command %q for %q%s; see `%s --help`", args[0], c.CommandPath(), hint, c.CommandPath())
}

// exactly wants n arguments and says what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError("%s takes %s, %d given; see `%s --help`", c.CommandPath(), what, len(args), c.CommandPath())
		}
		return nil
	}
}

// load reads the configuration, as the first act of most commands.
func (p *program) load(c *cobra.Command) error {
	loaded, err := config.Load(c.Flags())
	p.cfg = loaded
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	p.setLogger()
	return nil
}

// emit prints the command's one object, JSON or YAML.
func (p *program) emit(v any) error {
	p.emitted = true
	if p.yaml {
		return p.emitYAML(v)
	}
	enc := json.NewEncoder(p.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// report tells the error that ends the program.
func (p *program) report(err error) {
	if err == nil {
		return
	}
	if s := (*statusError)(nil); errors.As(err, &s) && s.err == nil {
		return
	}
	if p.json && !p.emitted {
		_ = p.emit(struct {
			Error string `json:"error"`
		}{err.Error()})
	}
	p.say("%s %s", p.paintErr.red("error:"), strings.TrimSpace(err.Error()))
}

// say prints a line for people on standard error.
func (p *program) say(format string, args ...any) { fmt.Fprintf(p.screen, format+"\n", args...) }

// print prints a line of a command's output, unless JSON was asked for.
func (p *program) print(format string, args ...any) {
	if !p.json {
		fmt.Fprintf(p.stdout, format+"\n", args...)
	}
}
