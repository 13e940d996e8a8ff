package spec

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Ways of approval, the values of Policy.Approval.
const (
	ApproveAuto   = "auto"   // what passes is published
	ApprovePerson = "person" // what passes waits for a person
)

// Policy decides what is published: rules whose thresholds are data. A set
// passes where every rule does; a measure that could not be taken makes its rule
// inconclusive, never a pass.
type Policy struct {
	Name string `json:"name" yaml:"name"`
	// Scope says in words what is judged and what is not, so that nobody reads
	// more into a pass.
	Scope string `json:"scope" yaml:"scope"`
	Rules []Rule `json:"rules" yaml:"rules"`
	// Approval is ApproveAuto or ApprovePerson.
	Approval string `json:"approval" yaml:"approval"`
	// DeadlineHours is how long a person has; then the answer is no.
	DeadlineHours float64 `json:"deadline_hours" yaml:"deadline_hours"`
}

// Rule bounds one measure, on one side or both; the bounds themselves are kept.
type Rule struct {
	Measure string   `json:"measure" yaml:"measure"` // the Name of one of Measures
	Min     *float64 `json:"min,omitempty" yaml:"min,omitempty"`
	Max     *float64 `json:"max,omitempty" yaml:"max,omitempty"`
	// Otherwise is the outcome where a bound is not kept: Fail, the default, or
	// Inconclusive for a measure of how much could be judged.
	Otherwise string `json:"otherwise,omitempty" yaml:"otherwise,omitempty"`
}

func atLeast(measure string, bound float64) Rule { return Rule{Measure: measure, Min: &bound} }
func atMost(measure string, bound float64) Rule  { return Rule{Measure: measure, Max: &bound} }

func (r Rule) orInconclusive() Rule {
	r.Otherwise = Inconclusive
	return r
}

func copyingRules() []Rule {
	return []Rule{
		atLeast(MeasureRealImages, 100).orInconclusive(),
		atLeast(MeasureHoldoutImages, 10).orInconclusive(),
		atLeast(MeasureCompared, 1).orInconclusive(),
		atLeast(MeasureAccepted, 8),
		atMost(MeasureRepeated, 0.1),
		atMost(MeasureTailShare, 0.09),
		atMost(MeasureTransformed, 0.09),
		atMost(MeasureDisguised, 0.05),
		atLeast(MeasureCopyZ, -2.33),
	}
}

// CopyingPolicy judges copying only: for recipes too shallow for realism.
func CopyingPolicy() Policy {
	return Policy{
		Name: "copying",
		Scope: "This decision judges copying only: whether candidates repeat real images, as they are, mirrored, turned, shifted or " +
			"in disguise, or one another. It does not judge whether the images look real, cover the defect's variety, or help a classifier: " +
			"no production set.",
		Rules: copyingRules(), Approval: ApproveAuto, DeadlineHours: 72,
	}
}

// ProductionPolicy judges copying, variety and likeness to the real images. Its
// bounds were set on four classes of steel strip images of 300 each: real images
// kept apart, 60 at a time, must pass as candidates, though crops of one strip
// vary less than independent draws would. They reached an MS-SSIM excess of 3.7, a
// coverage of 0.73 and a histogram ratio of 3.7, which is why these bounds are
// wider than for independent images; what was planted lies far beyond.
func ProductionPolicy() Policy {
	rules := copyingRules()
	for i, r := range rules {
		if r.Measure == MeasureAccepted { // sets of fewer images can't be judged as sets
			rules[i] = atLeast(MeasureAccepted, 50).orInconclusive()
		}
	}
	return Policy{
		Name: "production",
		Scope: "This decision judges copying, variety within the set, and likeness to the real images, in grey and in colour. " +
			"It does not judge whether the images help a classifier, unless a rule on utility_gain says so.",
		Rules: append(rules,
			atMost(MeasureWithin, 0.09), atMost(MeasureMSSSIMExcess, 4),
			atLeast(MeasureCoverage, 0.65), atLeast(MeasureDensity, 0.5), atMost(MeasureSWDRatio, 3), atMost(MeasureHistogramRatio, 4),
			atMost(MeasureColourRatio, 3),
		),
		Approval: ApproveAuto, DeadlineHours: 72,
	}
}

// UsefulPolicy asks for all of ProductionPolicy and that the images help a
// classifier: with the whole interval of the gain above chance. Two arms may
// show it, each at 97.5%, so that a useless set is let through at most once
// in twenty.
func UsefulPolicy() Policy {
	p := ProductionPolicy()
	p.Name = "useful"
	p.Scope = "This decision judges copying, variety within the set, likeness to the real images, and whether the images help " +
		"a small classifier to tell their class from the run's other classes, over mirrored and turned real images. " +
		"It says nothing on larger classifiers or other classes."
	p.Rules = append(p.Rules, atLeast(MeasureUtilityGain, 0.001))
	return p
}

// PolicyNames lists the built-in policies.
func PolicyNames() []string { return []string{"copying", "production", "useful"} }

// Asks reports whether one of p's rules bounds the measure.
func (p Policy) Asks(measure string) bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Measure == measure })
}

// NamedPolicy returns a built-in policy.
func NamedPolicy(name string) (Policy, error) {
	switch name {
	case "copying":
		return CopyingPolicy(), nil
	case "production":
		return ProductionPolicy(), nil
	case "useful":
		return UsefulPolicy(), nil
	}
	return Policy{}, fmt.Errorf("policy %q: unknown; choose one of %v or give a YAML file", name, PolicyNames())
}

// Validate returns every problem of p at once, joined; each names the field,
// its value and what would be right.
func (p Policy) Validate() error {
	var found problems
	if !ValidName(p.Name) {
		found.add("name", strconv.Quote(p.Name), NameRule)
	}
	if strings.TrimSpace(p.Scope) == "" {
		found.add("scope", `""`, "say in words what this policy judges and what it does not")
	}
	if len(p.Rules) == 0 {
		found.add("rules", "[]", "give at least one rule; a policy without rules would pass anything")
	}
	oneOf(&found, "approval", p.Approval, ApproveAuto, ApprovePerson)
	if p.Approval == ApprovePerson || p.DeadlineHours != 0 {
		within(&found, "deadline_hours", p.DeadlineHours, 1.0/3600, 24*365)
	}
	for i, r := range p.Rules {
		r.validate(&found, fmt.Sprintf("rules[%d]", i))
		if slices.ContainsFunc(p.Rules[:i], func(o Rule) bool { return o.Measure == r.Measure }) {
			found.add(fmt.Sprintf("rules[%d].measure", i), strconv.Quote(r.Measure), "stands twice; give one rule both bounds")
		}
	}
	return errors.Join(found...)
}

func (r Rule) validate(p *problems, field string) {
	oneOf(p, field+".measure", r.Measure, measureNames()...)
	if r.Min == nil && r.Max == nil {
		p.add(field, r.Measure, "has no bound; give min, max or both")
	}
	for _, b := range []struct {
		name  string
		value *float64
	}{{".min", r.Min}, {".max", r.Max}} {
		if b.value != nil && (math.IsNaN(*b.value) || math.IsInf(*b.value, 0)) {
			p.add(field+b.name, fmt.Sprint(*b.value), "must be a finite number")
		}
	}
	if r.Min != nil && r.Max != nil && *r.Min > *r.Max {
		p.add(field+".min", fmt.Sprint(*r.Min), fmt.Sprintf("above max (%v), so no set could ever pass; lower it", *r.Max))
	}
	oneOf(p, field+".otherwise", r.Otherwise, "", Fail, Inconclusive)
}
