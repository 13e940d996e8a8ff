package step

import "github.com/defectforge/defectforge/model/spec"

// Assess takes the measures and holds the policy's rules against them.
const Assess Step[AssessInput, AssessResult] = "Assess"

type AssessInput struct {
	Ingest  IngestResult  `json:"ingest"`
	Sample  SampleResult  `json:"sample"`
	Check   OverfitResult `json:"check"`
	Tensors Ref           `json:"tensors"`
	Dataset Ref           `json:"dataset"`
	// Policy decides; its rules name the measures.
	Policy  spec.Policy   `json:"policy"`
	Utility UtilityResult `json:"utility"`
	Seed    uint64        `json:"seed"` // of subsamples, bootstraps and projections
}

// Verdicts, and the outcomes of single rules.
const (
	Pass         = "pass"
	Fail         = "fail"
	Inconclusive = "inconclusive"
)

// Rule is one line of the decision.
type Rule struct {
	Name    string  `json:"name"` // the measure's
	Value   float64 `json:"value"`
	Outcome string  `json:"outcome"` // Pass, Fail or Inconclusive
	Reason  string  `json:"reason"`
	// Threshold is the bound that Value is nearest to; Side is "min" or "max".
	Threshold float64 `json:"threshold"`
	Side      string  `json:"side"`
	// Low and High bound the value where it has an interval, at 95%.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	// Reference is the same measure of real images against real ones.
	Reference *float64 `json:"reference,omitempty"`
}

type AssessResult struct {
	Verdict string `json:"verdict"`
	// Scope says what was judged, in words, so that nobody reads more into it.
	Scope  string `json:"scope"`
	Policy string `json:"policy"` // its name
	Rules  []Rule `json:"rules"`
	// Measures holds every measure that was taken, bounded by a rule or not: a
	// Measures document as JSON.
	Measures Ref `json:"measures"`
}

// Facts are what the result says in a log line.
func (r AssessResult) Facts() []any { return []any{"verdict", r.Verdict, "policy", r.Policy} }
