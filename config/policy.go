package config

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/defectforge/defectforge/model/spec"
)

const (
	maxPolicyBytes = 1 << 20
	maxPolicyRules = 64
	// deadlineHours is how long a person has where nothing else is said.
	deadlineHours = 72
)

// Policy reads a policy by name, or from a YAML file, and validates it. A file
// may extend a built-in policy; it is called after itself unless it gives a name.
// Without a scope it says what its rules measure, without approval what passes is
// published, and a person has 72 hours unless it says otherwise. Unknown keys, keys
// given twice and values of another type are problems that name file and line.
func Policy(nameOrFile string) (spec.Policy, error) {
	if !isFile(nameOrFile) {
		p, err := spec.NamedPolicy(nameOrFile)
		if err != nil {
			return p, Problems{{Field: "--policy", Value: nameOrFile, Reason: "unknown policy" +
				suggestion(nameOrFile, spec.PolicyNames()) + "; or give a YAML file, ending in .yaml"}}
		}
		return p, nil
	}
	f, err := os.Open(nameOrFile)
	if err != nil {
		return spec.Policy{}, Problems{{Field: "--policy", Value: nameOrFile, Reason: fmt.Sprintf("cannot be read (%v)", err)}}
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxPolicyBytes+1))
	if err != nil {
		return spec.Policy{}, Problems{{Field: "--policy", Value: nameOrFile, Reason: fmt.Sprintf("cannot be read (%v)", err)}}
	}
	return parsePolicy(nameOrFile, raw)
}

// isFile reports whether a recipe's or policy's name stands for a file.
func isFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml" || strings.ContainsAny(name, `/\`)
}

// policyFile is what a file may say: a policy of its own, or what is different
// from a built-in one.
type policyFile struct {
	Extends       *string     `yaml:"extends"`
	Name          *string     `yaml:"name"`
	Scope         *string     `yaml:"scope"`
	Rules         []spec.Rule `yaml:"rules"`
	Approval      *string     `yaml:"approval"`
	DeadlineHours *float64    `yaml:"deadline_hours"`
}

func parsePolicy(file string, raw []byte) (spec.Policy, error) {
	if len(raw) > maxPolicyBytes {
		return spec.Policy{}, Problems{{Field: file, Reason: fmt.Sprintf("more than %d bytes; this is no policy", maxPolicyBytes)}}
	}
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		return spec.Policy{}, Problems{{Field: file, Reason: fmt.Sprintf("not valid YAML (%v)", err)}}
	}
	var f policyFile
	d := policyReader{file: file}
	if len(root.Content) == 0 {
		d.problems.add(file, "", "is empty; name a policy that it extends, or give rules, each with a measure and min, max or both")
	} else {
		d.section(root.Content[0], "", reflect.ValueOf(&f).Elem())
	}
	if err := d.problems.orNil(); err != nil {
		return spec.Policy{}, err
	}
	p, err := f.policy(file)
	if err != nil {
		return spec.Policy{}, err
	}
	if err := p.Validate(); err != nil {
		return spec.Policy{}, Problems{{Field: file, Reason: err.Error()}}
	}
	return p, nil
}

// policy puts what the file says over what it extends. A rule takes the place of
// the extended policy's rule about the same measure.
func (f policyFile) policy(file string) (spec.Policy, error) {
	p := spec.Policy{Approval: spec.ApproveAuto}
	if f.Extends != nil {
		var err error
		if p, err = spec.NamedPolicy(*f.Extends); err != nil {
			return p, Problems{{Field: file, Value: extends + " " + *f.Extends, Reason: "unknown policy" + suggestion(*f.Extends, spec.PolicyNames())}}
		}
	}
	base := filepath.Base(file)
	p.Name = *cmp.Or(f.Name, new(strings.TrimSuffix(base, filepath.Ext(base))))
	p.Approval = *cmp.Or(f.Approval, &p.Approval)
	p.DeadlineHours = cmp.Or(p.DeadlineHours, deadlineHours)
	p.DeadlineHours = *cmp.Or(f.DeadlineHours, &p.DeadlineHours)
	p.Rules = slices.DeleteFunc(p.Rules, func(r spec.Rule) bool {
		return slices.ContainsFunc(f.Rules, func(own spec.Rule) bool { return own.Measure == r.Measure })
	})
	p.Rules = append(p.Rules, f.Rules...)
	switch {
	case f.Scope != nil:
		p.Scope = *f.Scope
	case len(f.Rules) > 0:
		p.Scope = ""
	}
	if p.Scope == "" {
		p.Scope = "This decision judges these measures and nothing else: " + measuresOf(p) + "."
	}
	return p, nil
}

func measuresOf(p spec.Policy) string {
	names := make([]string, len(p.Rules))
	for i, r := range p.Rules {
		names[i] = r.Measure
	}
	return strings.Join(names, ", ")
}

// policyReader fills in a policy's structs from YAML.
type policyReader struct {
	file     string
	problems Problems
}

func (d *policyReader) add(n *yaml.Node, value, reason string) {
	d.problems.add(fmt.Sprintf("%s:%d", d.file, n.Line), value, reason)
}

// section reads a mapping into a struct by its yaml tags.
func (d *policyReader) section(n *yaml.Node, prefix string, into reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.add(n, strings.TrimSuffix(prefix, "."), "is a section: write `key: value` lines")
		return
	}
	fields, known := map[string]int{}, []string{}
	for i := range into.NumField() {
		name, _, _ := strings.Cut(into.Type().Field(i).Tag.Get("yaml"), ",")
		fields[name] = i
		known = append(known, name)
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at, ok := fields[name.Value]
		switch {
		case !ok:
			d.add(name, prefix+name.Value, "unknown key"+suggestion(name.Value, known))
		case seen[name.Value] > 0:
			d.add(name, prefix+name.Value, fmt.Sprintf("given twice, first on line %d; keep one", seen[name.Value]))
		default:
			seen[name.Value] = name.Line
			d.value(value, prefix+name.Value, into.Field(at))
		}
	}
}

// value reads text, a number, or the list of rules.
func (d *policyReader) value(n *yaml.Node, path string, into reflect.Value) {
	typ := into.Type()
	if typ.Kind() == reflect.Slice {
		d.rules(n, path, into)
		return
	}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	out := reflect.New(typ)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || !sameKind(n, typ) || n.Decode(out.Interface()) != nil {
		d.add(n, path, fmt.Sprintf("%q is not %s", n.Value, typeName(typ)))
		return
	}
	if into.Kind() == reflect.Pointer {
		into.Set(out)
		return
	}
	into.Set(out.Elem())
}

func (d *policyReader) rules(n *yaml.Node, path string, into reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.add(n, path, "is a list: begin each rule with a hyphen")
		return
	}
	if len(n.Content) > maxPolicyRules {
		d.add(n, path, fmt.Sprintf("%d rules; at most %d are read", len(n.Content), maxPolicyRules))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(n.Content), len(n.Content)))
	for i, rule := range n.Content {
		d.section(rule, fmt.Sprintf("%s[%d].", path, i), into.Index(i))
	}
}
