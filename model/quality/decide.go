package quality

import (
	"fmt"
	"strings"

	"github.com/defectforge/defectforge/model/spec"
)

// Verdicts, and the outcomes of single rules.
const (
	Pass         = "pass"
	Fail         = "fail"
	Inconclusive = "inconclusive"
)

// Judged is one rule's outcome.
type Judged struct {
	Measure string `json:"name"`
	// Value is 0 where nothing was measured; the outcome is inconclusive then.
	Value float64 `json:"value"`
	// Threshold is the bound that is broken or, of those kept, the nearest; Side
	// is "min" or "max".
	Threshold float64  `json:"threshold"`
	Side      string   `json:"side"`
	Outcome   string   `json:"outcome"`
	Reason    string   `json:"reason"`
	Low       *float64 `json:"low,omitempty"`
	High      *float64 `json:"high,omitempty"`
	Reference *float64 `json:"reference,omitempty"`
}

// Decide holds a policy's rules against measures. It fails where a rule fails,
// and is inconclusive where a rule's measure is missing or tells too little, or
// where there are no rules: what could not be judged never passes. A measure with
// an interval breaks a bound where the whole interval lies beyond it, so that
// chance alone seldom breaks a rule.
func Decide(policy spec.Policy, measures Measures) (verdict string, rules []Judged) {
	verdict = Pass
	if len(policy.Rules) == 0 {
		verdict = Inconclusive
	}
	for _, r := range policy.Rules {
		j := judge(r, measures)
		rules = append(rules, j)
		if j.Outcome == Fail || j.Outcome != Pass && verdict == Pass {
			verdict = j.Outcome
		}
	}
	return verdict, rules
}

func judge(r spec.Rule, measures Measures) Judged {
	j := Judged{Measure: r.Measure, Outcome: Inconclusive}
	m, taken := measures.Taken[r.Measure]
	bounded := false
	for _, b := range []struct {
		side  string
		bound *float64
		sign  float64
	}{{"min", r.Min, 1}, {"max", r.Max, -1}} {
		if b.bound == nil || !finite(*b.bound) {
			continue
		}
		// The smallest room, which is negative where a bound is broken, decides.
		room := b.sign * (m.Value - *b.bound)
		if !bounded || room < j.room(m.Value) {
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
		j.Outcome = Pass
		if !(j.room(best(m, j.Side)) >= 0) {
			j.Outcome = Fail
			if r.Otherwise == spec.OtherwiseInconclusive {
				j.Outcome = Inconclusive
			}
		}
		j.Reason = j.words(what)
	}
	return j
}

// best is the end of the measure's interval that is best for the side of the
// bound; the value itself where there is none.
func best(m Measure, side string) float64 {
	switch {
	case side == "max" && m.Low != nil:
		return min(m.Value, *m.Low)
	case side == "min" && m.High != nil:
		return max(m.Value, *m.High)
	}
	return m.Value
}

// room is how far a value is from the threshold, on the good side above 0.
func (j Judged) room(value float64) float64 {
	if j.Side == "max" {
		return j.Threshold - value
	}
	return value - j.Threshold
}

// words says the rule's outcome in a sentence.
func (j Judged) words(what string) string {
	bound := "at least"
	if j.Side == "max" {
		bound = "at most"
	}
	show := spec.MeasureNamed(j.Measure).Unit.Format
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
