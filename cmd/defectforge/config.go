package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/defectforge/defectforge/config"
)

func (p *program) configCommand() *cobra.Command {
	var force bool
	show := &cobra.Command{
		Use:   "show",
		Short: "Print the effective configuration, secrets hidden, and where each value comes from",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return p.configShow(c) },
	}
	initial := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a commented configuration file with the defaults (default ./" + config.FileName + ")",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := config.FileName
			if len(args) == 1 {
				file = args[0]
			}
			return p.configInit(file, force)
		},
	}
	initial.Flags().BoolVar(&force, "force", false, "overwrite the file where it exists")
	validate := &cobra.Command{
		Use:   "validate",
		Short: "Check the configuration and name every problem",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return p.configValidate(c) },
	}
	return group("config", "Show, write and check the configuration", show, initial, validate)
}

func (p *program) configShow(c *cobra.Command) error {
	if err := p.load(c); err != nil {
		return err
	}
	if p.json {
		return p.emit(struct {
			File    string            `json:"file"`
			Config  config.Config     `json:"config"`
			Origins map[string]string `json:"origins"`
		}{p.cfg.File, p.cfg.Config, p.cfg.Origins})
	}
	file := p.cfg.File
	if file == "" {
		file = "none"
	}
	p.print("# file: %s", file)
	text, err := p.cfg.Annotated()
	if err != nil {
		return err
	}
	p.print("%s", text)
	return nil
}

func (p *program) configInit(file string, force bool) error {
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
		return usageError("%s: exists; give --force to overwrite it, or another name", file)
	}
	if err != nil {
		return fmt.Errorf("create configuration: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if p.json {
		return p.emit(struct {
			File string `json:"file"`
		}{file})
	}
	p.print("wrote %s", file)
	return nil
}

func (p *program) configValidate(c *cobra.Command) error {
	err := p.load(c)
	if err == nil {
		_, err = p.cfg.Place()
	}
	if err == nil {
		_, err = p.codec()
	}
	problems := config.Problems{}
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if p.json {
		type line struct {
			Field  string `json:"field"`
			Value  string `json:"value"`
			Reason string `json:"reason"`
		}
		out := struct {
			OK       bool   `json:"ok"`
			File     string `json:"file"`
			Problems []line `json:"problems"`
		}{err == nil, p.cfg.File, []line{}}
		for _, one := range problems {
			out.Problems = append(out.Problems, line(one))
		}
		return errors.Join(p.emit(out), err)
	}
	if err == nil {
		p.print("the configuration is valid")
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
