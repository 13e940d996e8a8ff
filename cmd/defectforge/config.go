package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
)

func configCommand(a *app) *cobra.Command {
	show := &cobra.Command{
		Use:   "show",
		Short: "Print the effective configuration, secrets hidden, and where each value comes from",
		Long: `Print every key with its effective value, and in a comment where the value comes
from: default, file, environment or flag. Secrets are hidden.`,
		Example: `  defectforge config show
  defectforge config show --log-level debug -o yaml`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(*cobra.Command, []string) error { return showConfig(a) }),
	}
	validate := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration and name every problem",
		Long: `Name every problem of the configuration at once, with the file and line, or the
variable, that it comes from. The exit status is 2 where there is any.`,
		Example: `  defectforge config validate
  defectforge config validate --config deploy.yaml --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return validateConfig(a, a.load(c)) },
	}
	g := group("config", "Show, write and check the configuration", show, configInitCommand(a), validate)
	g.Long = `The configuration is read from defaults, a YAML file, the environment
(DEFECTFORGE_...) and flags, the later above the earlier.`
	g.Example = `  defectforge config show
  DEFECTFORGE_LOG_LEVEL=debug defectforge config show --json`
	return g
}

func configInitCommand(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a commented configuration file with the defaults (default ./" + config.FileName + ")",
		Long: `Write a file with every key at its default, commented out and explained. It is
readable by its owner alone, as secrets may be put into it.`,
		Example: `  defectforge config init
  defectforge config init ~/.config/defectforge/defectforge.yaml --force`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := config.FileName
			if len(args) == 1 {
				file = args[0]
			}
			return initConfig(a, file, force)
		},
		ValidArgsFunction: files(),
	}
	c.Flags().BoolVar(&force, "force", false, "overwrite the file where it exists")
	return c
}

func showConfig(a *app) error {
	if a.console.JSON() {
		return a.console.Emit(struct {
			File    string            `json:"file"`
			Config  config.Config     `json:"config"`
			Origins map[string]string `json:"origins"`
		}{a.cfg.File, a.cfg.Config, a.cfg.Origins})
	}
	a.console.Print("# file: %s", cmp.Or(a.cfg.File, "none"))
	text, err := a.cfg.Annotated()
	if err != nil {
		return err
	}
	a.console.Print("%s", text)
	return nil
}

func initConfig(a *app, file string, force bool) error {
	text, err := config.Template()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("create folder: %w", err)
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if force {
		flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	// Keys may be put into it, so it is the owner's alone.
	f, err := os.OpenFile(file, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return console.Usage("%s: exists; give --force to overwrite it, or another name", file)
	}
	if err != nil {
		return fmt.Errorf("create configuration: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if a.console.JSON() {
		return a.console.Emit(struct {
			File string `json:"file"`
		}{file})
	}
	a.console.Print("wrote %s", file)
	return nil
}

// validateConfig names the problems of a configuration that was loaded with err.
func validateConfig(a *app, err error) error {
	if err == nil {
		_, err = a.cfg.Place()
	}
	if err == nil {
		_, err = a.process.Codec()
	}
	problems := config.Problems{}
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if a.console.JSON() {
		type line struct {
			Field  string `json:"field"`
			Value  string `json:"value"`
			Reason string `json:"reason"`
		}
		out := struct {
			OK       bool   `json:"ok"`
			File     string `json:"file"`
			Problems []line `json:"problems"`
		}{err == nil, a.cfg.File, []line{}}
		for _, one := range problems {
			out.Problems = append(out.Problems, line(one))
		}
		return errors.Join(a.console.Emit(out), err)
	}
	if err == nil {
		a.console.Print("the configuration is valid")
	}
	return err
}

// yamlText is v as YAML, two spaces deep.
func yamlText(v any) (string, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(v), enc.Close()); err != nil {
		return "", fmt.Errorf("encode YAML: %w", err)
	}
	return string(bytes.TrimRight(b.Bytes(), "\n")), nil
}
