package quality

import (
	"fmt"
	"strings"

	"github.com/defectforge/defectforge/model/spec"
)

// Decide holds a policy's rules against measures. It fails where a rule fails,
// and is inconclusive where a rule's measure is missing or says too little, or
// where there are no rules: what could not be judged never passes. A measure with
// an interval breaks a bound where the whole interval lies beyond it, so that
// chance alone seldom breaks a rule.
func Decide(policy spec.Policy, measures Measures) (verdict string, rules []spec.Judged) {
	verdict = spec.Pass
	if len(policy.Rules) == 0 {
		verdict = spec.Inconclusive
	}
	for _, r := range policy.Rules {
		j := judge(r, measures)
		rules = append(rules, j)
		if j.Outcome == spec.Fail || j.Outcome != spec.Pass && verdict == spec.Pass {
			verdict = j.Outcome
		}
	}
	return verdict, rules
}

func judge(r spec.Rule, measures Measures) spec.Judged {
	j := spec.Judged{Name: r.Measure, Outcome: spec.Inconclusive}
	m, taken := measures.Taken[r.Measure]
	bounded := false
	for _, b := range []struct {
		side  string
		bound *float64
		sign  float64
	}{{spec.SideMin, r.Min, 1}, {spec.SideMax, r.Max, -1}} {
		if b.bound == nil || !finite(*b.bound) {
			continue
		}
		// The smallest room, which is negative where a bound is broken, decides.
		left := b.sign * (m.Value - *b.bound)
		if !bounded || left < room(j, m.Value) {
			j.Threshold, j.Side, bounded = *b.bound, b.side, true
		}
	}
	what := spec.MeasureNamed(r.Measure).Meaning
	switch {
	case !bounded:
		j.Reason = "not judged: the rule has no bound"
	case !taken || !finite(m.Value):
		j.Reason = "not measured: " + what
		if why := measures.missed[r.Measure]; why != "" {
			j.Reason += ": " + why
		}
	default:
		j.Value, j.Low, j.High, j.Reference = m.Value, m.Low, m.High, m.Reference
		j.Outcome = spec.Pass
		if !(room(j, best(m, j.Side)) >= 0) {
			j.Outcome = spec.Fail
			if r.Otherwise == spec.Inconclusive {
				j.Outcome = spec.Inconclusive
			}
		}
		j.Reason = words(j, what)
	}
	return j
}

// best is the end of the measure's interval that is best for the side of the
// bound; the value itself where there is none.
func best(m Measure, side string) float64 {
	switch {
	case side == spec.SideMax && m.Low != nil:
		return min(m.Value, *m.Low)
	case side == spec.SideMin && m.High != nil:
		return max(m.Value, *m.High)
	}
	return m.Value
}

// room is how far a value is from the threshold, on the good side above 0.
func room(j spec.Judged, value float64) float64 {
	if j.Side == spec.SideMax {
		return j.Threshold - value
	}
	return value - j.Threshold
}

// words says the rule's outcome in a sentence.
func words(j spec.Judged, what string) string {
	bound := "at least"
	if j.Side == spec.SideMax {
		bound = "at most"
	}
	show := spec.MeasureNamed(j.Name).Unit.Format
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s", what, show(j.Value))
	if j.Low != nil && j.High != nil {
		fmt.Fprintf(&text, " (95%% between %s and %s)", show(*j.Low), show(*j.High))
	}
	fmt.Fprintf(&text, ", %s %s is asked for", bound, show(j.Threshold))
	if j.Reference != nil {
		fmt.Fprintf(&text, "; real against real images: %s", show(*j.Reference))
	}
	return text.String()
}
