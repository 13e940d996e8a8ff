package report

import (
	"maps"
	"slices"

	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
)

// Measure is one number that was taken, bounded by a rule or not.
type Measure struct {
	Name string `json:"name"`
	quality.Measure
}

// Listed lists what was measured, by name.
func Listed(m quality.Measures) []Measure {
	var out []Measure
	for _, name := range slices.Sorted(maps.Keys(m.Taken)) {
		out = append(out, Measure{name, m.Taken[name]})
	}
	return out
}

// label is the measure in words, empty for one that no policy bounds.
func label(measure string) string {
	if m := spec.MeasureNamed(measure); m.Label != m.Name {
		return m.Label
	}
	return ""
}
