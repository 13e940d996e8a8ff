package step

import "github.com/defectforge/defectforge/model/spec"

// CheckChange asks whether a run would bring anything new. Only runs that were
// started with IfChanged ask.
const CheckChange Step[ChangeInput, ChangeResult] = "CheckChange"

// Verdicts of a run that was started with IfChanged and had nothing to do.
const (
	Unchanged = "unchanged" // the same data set, recipe and policy were decided before
	Waiting   = "waiting"   // too few new images
)

// IfChanged ends a run after Ingest unless there is something to do. Scheduled
// runs set it.
type IfChanged struct {
	// MinNew is how many new images a run waits for; 0 for none.
	MinNew int `json:"min_new,omitempty"`
}

type ChangeInput struct {
	Class   string       `json:"class"`
	Dataset Ref          `json:"dataset"`
	Recipe  spec.Recipe  `json:"recipe"`
	Policy  spec.Policy  `json:"policy"`
	Utility *UtilityPlan `json:"utility,omitempty"`
	MinNew  int          `json:"min_new"`
}

// ChangeResult says whether the run goes on, and what the class stands on.
type ChangeResult struct {
	// Verdict is Unchanged or Waiting, or empty where the run goes on.
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"` // in words
	// Release is the one that the inputs gave before or, where they gave none, the
	// class's latest that has not been withdrawn; empty where there is none.
	Release        string `json:"release"`
	Prefix         string `json:"prefix"` // releases/<class>/<release>
	ManifestSHA256 string `json:"manifest_sha256"`
	// NewImages are those that neither that release nor the last decided run had.
	NewImages int `json:"new_images"`
	MinNew    int `json:"min_new"`
	// Decided is the run that decided about the same inputs, if its record says so.
	Decided *Run `json:"decided,omitempty"`
}
