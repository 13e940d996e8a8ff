package report

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/model/spec"
)

// ruleRow is one rule as the page shows it.
type ruleRow struct {
	spec.Judged
	Label    string
	Standing string  // the outcome, unknown ones as inconclusive
	Measured bool    // whether Value means anything
	Bound    string  // "at least" or "at most"
	Marker   *marker // nil where nothing was measured
}

// rows lists the rules, those that fail first and those that pass last.
func rows(rules []spec.Judged) []ruleRow {
	out := make([]ruleRow, len(rules))
	for i, r := range rules {
		row := ruleRow{
			Judged: r, Label: spec.MeasureNamed(r.Name).Label, Standing: standing(r.Outcome), Bound: "at most",
			Measured: standing(r.Outcome) != spec.Inconclusive || !unmeasured(r.Reason),
		}
		if r.Side == spec.SideMin {
			row.Bound = "at least"
		}
		if row.Measured {
			row.Marker = newMarker(r.Value, r.Threshold, r.Side == spec.SideMin, r.Low, r.High, r.Reference)
		}
		out[i] = row
	}
	rank := map[string]int{spec.Fail: 0, spec.Inconclusive: 1, spec.Pass: 2}
	slices.SortStableFunc(out, func(a, b ruleRow) int { return cmp.Compare(rank[a.Standing], rank[b.Standing]) })
	return out
}

// unmeasured recognises a rule whose value could not be taken by how its reason
// begins: its value is 0 then, and means nothing.
func unmeasured(reason string) bool {
	return strings.HasPrefix(reason, "not measured") || strings.HasPrefix(reason, "not judged")
}

// marker is a small drawing of a value against its threshold, which stands in
// the middle. Places are in units of the drawing's viewBox.
type marker struct {
	Value, From, To, Reference float64
	Interval, HasReference     bool
	GoodFrom                   float64 // where the side begins on which the rule is kept
}

// The marker's viewBox, and what is left free on either side.
const (
	markerWidth  = 120.0
	markerMargin = 6.0
)

// newMarker returns nil for values that can't be drawn.
func newMarker(value, threshold float64, least bool, low, high, reference *float64) *marker {
	reach := 0.0
	all := []float64{value}
	for _, p := range []*float64{low, high, reference} {
		if p != nil {
			all = append(all, *p)
		}
	}
	for _, v := range all {
		reach = max(reach, math.Abs(v-threshold))
	}
	if math.IsNaN(reach) || math.IsInf(reach, 0) {
		return nil
	}
	if reach == 0 {
		reach = 1
	}
	const half = markerWidth / 2
	place := func(v float64) float64 {
		return math.Round(10*(half+(v-threshold)/reach*(half-markerMargin))) / 10
	}
	m := &marker{Value: place(value)}
	if least {
		m.GoodFrom = half
	}
	if low != nil && high != nil {
		m.Interval, m.From, m.To = true, place(*low), place(*high)
	}
	if reference != nil {
		m.HasReference, m.Reference = true, place(*reference)
	}
	return m
}
