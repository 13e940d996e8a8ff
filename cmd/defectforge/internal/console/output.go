package console

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// JSON reports whether one object was asked for, as JSON or as YAML, in place of
// lines.
func (c *Console) JSON() bool { return c.json }

// JSONFlag adds --json.
func (c *Console) JSONFlag(f *pflag.FlagSet) {
	f.BoolVar(&c.json, "json", false, "print one JSON object on standard output")
}

// formats are the values of --output.
var formats = []string{"table", "json", "yaml"}

// OutputFlag adds --output to a command that shows something and that has --json.
// A command with an -o of its own is left alone.
func (c *Console) OutputFlag(cmd *cobra.Command) {
	f := cmd.Flags()
	if f.Lookup("output") != nil || f.ShorthandLookup("o") != nil {
		return
	}
	f.VarP(&outputFlag{c: c, text: formats[0]}, "output", "o", "table, json or yaml; --json is the same as json")
	_ = cmd.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	cmd.MarkFlagsMutuallyExclusive("json", "output")
}

// outputFlag is --output.
type outputFlag struct {
	c    *Console
	text string
}

func (f *outputFlag) String() string { return f.text }
func (*outputFlag) Type() string     { return "format" }

func (f *outputFlag) Set(text string) error {
	switch text {
	case "table":
		f.c.json, f.c.yaml = false, false
	case "json":
		f.c.json, f.c.yaml = true, false
	case "yaml":
		f.c.json, f.c.yaml = true, true
	default:
		return fmt.Errorf("choose one of table, json, yaml")
	}
	f.text = text
	return nil
}

// Emit prints the command's one object, as JSON or YAML.
func (c *Console) Emit(v any) error {
	c.emitted = true
	if c.yaml {
		return c.emitYAML(v)
	}
	enc := json.NewEncoder(c.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// emitYAML prints what Emit would print as JSON, in the same order.
func (c *Console) emitYAML(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	var doc yaml.Node // JSON is YAML
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	spread(&doc)
	enc := yaml.NewEncoder(c.stdout)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// spread takes JSON's brackets and quotes away where YAML needs none.
func spread(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		spread(c)
	}
}
