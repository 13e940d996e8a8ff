package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/config"
)

// app is what every command shares: where it prints, the configuration, and the
// process that it runs in. The last two are there once the command has loaded
// the configuration.
type app struct {
	console *console.Console
	cfg     config.Loaded
	process *process.Process
}

func newApp(stdout, stderr io.Writer) *app { return &app{console: console.New(stdout, stderr)} }

func (a *app) close() { a.process.Close() }

// log is where the process logs.
func (a *app) log() *slog.Logger { return a.process.Log() }

// load reads the configuration, as the first act of most commands.
func (a *app) load(c *cobra.Command) error {
	cfg, err := config.Load(c.Flags())
	if err != nil {
		a.cfg = cfg
		return fmt.Errorf("configuration:\n%w", err)
	}
	a.use(cfg)
	return nil
}

// use makes the process that a configuration describes.
func (a *app) use(cfg config.Loaded) { a.cfg, a.process = cfg, process.New(a.console, cfg.Config) }

// loading is a command's function that has the configuration first.
func (a *app) loading(do func(c *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if err := a.load(c); err != nil {
			return err
		}
		return do(c, args)
	}
}
