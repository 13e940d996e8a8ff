package quality

import (
	"fmt"
	"math"

	"github.com/defectforge/defectforge/model/spec"
)

// Measure is one number about a set of candidates.
type Measure struct {
	Value float64 `json:"value"`
	// Low and High are a 95% interval, where there is one.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	// Reference is the same measure of real images against real ones.
	Reference *float64 `json:"reference,omitempty"`
}

// Measures are all numbers that were taken, by the names of package spec and
// some more that say where they come from. A number that could not be taken is
// not there.
type Measures struct {
	Taken map[string]Measure `json:"measures"`
	// Notes say what was subsampled and what could not be measured.
	Notes []string `json:"notes"`
	// missed says why a measure could not be taken.
	missed map[string]string
}

// Set adds a measure. A value that is no finite number is noted as missing
// instead.
func (m *Measures) Set(name string, value float64) {
	m.set(name, value, math.NaN(), math.NaN(), math.NaN())
}

func (m *Measures) set(name string, value, low, high, reference float64) {
	if m.Taken == nil {
		m.Taken = map[string]Measure{}
	}
	delete(m.Taken, name)
	if !finite(value) {
		m.Note("%s could not be measured", name)
		return
	}
	taken := Measure{Value: value}
	if finite(low) && finite(high) {
		taken.Low, taken.High = &low, &high
	}
	if finite(reference) {
		taken.Reference = &reference
	}
	m.Taken[name] = taken
}

// Miss says why a measure could not be taken, for the rules that bound it.
func (m *Measures) Miss(name, why string) {
	if m.missed == nil {
		m.missed = map[string]string{}
	}
	delete(m.Taken, name)
	m.missed[name] = why
}

// Note adds a remark.
func (m *Measures) Note(format string, args ...any) {
	m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// AddCopies takes the measures of copying.
func (m *Measures) AddCopies(c Copies, tailQuantile float64) {
	n := len(c.ToTraining)
	low, high := shareInterval(c.TailShare(), n)
	m.set(spec.MeasureTailShare, c.TailShare(), low, high, tailQuantile)
	low, high = shareInterval(c.TransformedShare(), n)
	m.set(spec.MeasureTransformed, c.TransformedShare(), low, high, tailQuantile)
	low, high = shareInterval(c.DisguisedShare(), n)
	m.set(spec.MeasureDisguised, c.DisguisedShare(), low, high, math.NaN())
	z := math.NaN()
	if c.TailAt > 0 { // as for the shares: without a null there is nothing to go by
		z = CopyZ(c.ToTraining, c.Holdout, c.HoldoutGroups)
	}
	m.set(spec.MeasureCopyZ, z, math.NaN(), math.NaN(), 0)
	m.Notes = append(m.Notes, c.Notes...)
}

// shareInterval is Wilson's 95% interval of a share of n.
func shareInterval(share float64, n int) (low, high float64) {
	if n == 0 || !finite(share) {
		return math.NaN(), math.NaN()
	}
	const z = 1.959964
	k := float64(n)
	middle := (share + z*z/(2*k)) / (1 + z*z/k)
	half := z / (1 + z*z/k) * math.Sqrt(share*(1-share)/k+z*z/(4*k*k))
	return max(middle-half, 0), min(middle+half, 1)
}
