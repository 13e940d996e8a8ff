package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"
)

// formats are the values of --output.
var formats = []string{"table", "json", "yaml"}

// outputFlag is --output.
type outputFlag struct {
	p    *program
	text string
}

func (f *outputFlag) String() string { return f.text }
func (*outputFlag) Type() string     { return "format" }

func (f *outputFlag) Set(text string) error {
	switch text {
	case "table":
		f.p.json, f.p.yaml = false, false
	case "json":
		f.p.json, f.p.yaml = true, false
	case "yaml":
		f.p.json, f.p.yaml = true, true
	default:
		return fmt.Errorf("choose one of table, json, yaml")
	}
	f.text = text
	return nil
}

// showing are the names of commands that print what they found.
var showing = map[string]bool{
	"list": true, "show": true, "describe": true, "inspect": true, "verify": true, "version": true, "doctor": true, "lineage": true,
}

// addOutput gives a command that shows something the flag --output.
func (p *program) addOutput(c *cobra.Command) {
	f := c.Flags()
	if !showing[c.Name()] || c.HasSubCommands() || f.Lookup("output") != nil || f.ShorthandLookup("o") != nil {
		return
	}
	f.VarP(&outputFlag{p: p, text: formats[0]}, "output", "o", "table, json or yaml; --json is the same as json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	c.MarkFlagsMutuallyExclusive("json", "output")
}

// emitYAML prints what emit would print as JSON, in the same order.
func (p *program) emitYAML(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	var doc yaml.Node // JSON is YAML
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	spread(&doc)
	enc := yaml.NewEncoder(p.stdout)
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
