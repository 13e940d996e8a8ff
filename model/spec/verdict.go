package spec

// Verdicts, and the outcomes of single rules.
const (
	Pass         = "pass"
	Fail         = "fail"
	Inconclusive = "inconclusive"
)

// Sides on which a bound lies, the values of Judged.Side.
const (
	SideMin = "min" // at least the threshold is asked for
	SideMax = "max" // at most
)

// Judged is a policy's rule held against what was measured: one line of the
// decision.
type Judged struct {
	Name string `json:"name"` // the measure's
	// Value is 0 where nothing was measured; the outcome is inconclusive then.
	Value   float64 `json:"value"`
	Outcome string  `json:"outcome"` // Pass, Fail or Inconclusive
	Reason  string  `json:"reason"`
	// Threshold is the bound that is broken or, of those kept, the nearest; Side is
	// SideMin or SideMax.
	Threshold float64 `json:"threshold"`
	Side      string  `json:"side"`
	// Low and High bound the value where it has an interval, at 95%.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	// Reference is the same measure of real images against real ones.
	Reference *float64 `json:"reference,omitempty"`
}
