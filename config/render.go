package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// Template is a configuration file with every key at its default, commented
// out, and explained.
func Template() (string, error) {
	var b strings.Builder
	b.WriteString("# defectforge's configuration. Flags are above the environment\n" +
		"# (DEFECTFORGE_..., for example DEFECTFORGE_STORE_ENDPOINT), which is above\n" +
		"# this file. Temporal is found by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE,\n" +
		"# TEMPORAL_API_KEY, TEMPORAL_TLS_..., TEMPORAL_PROFILE and temporal.toml.\n")
	d := Default()
	d.DataDir = "" // another on each machine
	err := render(&b, d, func(k key, line string) string {
		return "# " + k.doc + "\n" + indentOf(line) + "#" + strings.TrimLeft(line, " ") + "\n"
	})
	return b.String(), err
}

// Annotated is the effective configuration as YAML; a comment says where each
// value comes from. Secrets are hidden.
func (l Loaded) Annotated() (string, error) {
	var b strings.Builder
	err := render(&b, l.Config, func(k key, line string) string {
		return fmt.Sprintf("%s # %s\n", line, l.Origins[k.path])
	})
	return strings.TrimRight(b.String(), "\n"), err
}

func indentOf(line string) string { return line[:len(line)-len(strings.TrimLeft(line, " "))] }

// render writes the sections and, for each key, the line that one turns its own into.
func render(b *strings.Builder, c Config, one func(key, string) string) error {
	section := ""
	for _, k := range leaves(reflect.TypeFor[Config]()) {
		name, indent := k.path, ""
		if head, tail, nested := strings.Cut(k.path, "."); nested {
			if head != section {
				section = head
				b.WriteString(head + ":\n")
			}
			name, indent = tail, "  "
		}
		value, err := scalar(reflect.ValueOf(c).FieldByIndex(k.index).Interface())
		if err != nil {
			return err
		}
		text := one(k, indent+name+": "+value)
		if doc, rest, ok := strings.Cut(text, "\n"); ok && rest != "" {
			text = indent + doc + "\n" + rest
		}
		b.WriteString(text)
	}
	return nil
}

func scalar(v any) (string, error) {
	raw, err := yaml.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode value: %w", err)
	}
	return string(bytes.TrimSpace(raw)), nil
}
