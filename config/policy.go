package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/model/spec"
)

// deadlineHours is how long a person has unless the policy says otherwise.
const deadlineHours = 72

// Policy reads a policy by name, or from a YAML file, and validates it. A file
// may extend a built-in policy; unless it gives a name, the policy is named after the file.
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
	raw, err := readFile("--policy", nameOrFile, "policy")
	if err != nil {
		return spec.Policy{}, err
	}
	return parsePolicy(nameOrFile, raw)
}

// parsePolicy reads a policy of its own, or what is different from a built-in one.
func parsePolicy(file string, raw []byte) (spec.Policy, error) {
	keys := leaves(reflect.TypeFor[spec.Policy]())
	doc, err := readDocument(file, raw, keys, extends)
	if err != nil {
		return spec.Policy{}, err
	}
	if doc.empty {
		return spec.Policy{}, Problems{{
			Field: file, Reason: "is empty; name a policy that it extends, or give rules, each with a measure and min, max or both",
		}}
	}
	p := spec.Policy{Approval: spec.ApproveAuto}
	if parent, ok := doc.values[extends].(string); ok {
		if p, err = spec.NamedPolicy(parent); err != nil {
			return p, Problems{{Field: file, Value: extends + " " + parent, Reason: "unknown policy" + suggestion(parent, spec.PolicyNames())}}
		}
	}
	p = doc.policy(file, p, keys)
	if err := p.Validate(); err != nil {
		return spec.Policy{}, Problems{{Field: file, Reason: err.Error()}}
	}
	return p, nil
}

// policy puts what the file says over what it extends. A rule takes the place of
// the extended policy's rule about the same measure.
func (d document) policy(file string, extended spec.Policy, keys []key) spec.Policy {
	p := extended
	p.Name, p.DeadlineHours = stem(file), cmp.Or(p.DeadlineHours, deadlineHours)
	d.into(reflect.ValueOf(&p).Elem(), keys)
	own := p.Rules
	if _, given := d.values["rules"]; !given {
		own = nil
	}
	kept := slices.DeleteFunc(slices.Clone(extended.Rules), func(r spec.Rule) bool {
		return slices.ContainsFunc(own, func(o spec.Rule) bool { return o.Measure == r.Measure })
	})
	p.Rules = append(kept, own...)
	if _, given := d.values["scope"]; !given && len(own) > 0 {
		p.Scope = ""
	}
	if p.Scope == "" {
		p.Scope = "This decision judges these measures and nothing else: " + measuresOf(p) + "."
	}
	return p
}

func measuresOf(p spec.Policy) string {
	names := make([]string, len(p.Rules))
	for i, r := range p.Rules {
		names[i] = r.Measure
	}
	return strings.Join(names, ", ")
}
