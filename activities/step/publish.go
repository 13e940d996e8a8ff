package step

import "github.com/defectforge/defectforge/model/spec"

// Publish writes the release of a set that passed and was approved.
const Publish Step[PublishInput, PublishResult] = "Publish"

type PublishInput struct {
	Class      string       `json:"class"`
	Candidates Ref          `json:"candidates"`
	Neighbours Ref          `json:"neighbours"`
	Checkpoint Ref          `json:"checkpoint"`
	Dataset    Ref          `json:"dataset"`
	Assess     AssessResult `json:"assess"`
	Recipe     spec.Recipe  `json:"recipe"`
	// Levels is IngestResult's; the card says so.
	Levels int `json:"levels,omitempty"`
	// Images decide what the recipe leaves to them.
	Images   spec.Images  `json:"images,omitzero"`
	Policy   spec.Policy  `json:"policy,omitzero"`
	Report   ReportResult `json:"report"`
	Approval Approval     `json:"approval"`
	// Utility stands on the card, and its scores are published.
	Utility UtilityResult `json:"utility"`
}

type PublishResult struct {
	Release        string `json:"release"` // name below releases/<class>/
	Prefix         string `json:"prefix"`  // releases/<class>/<release>
	ManifestSHA256 string `json:"manifest_sha256"`
	Images         int    `json:"images"`
	Sequence       int64  `json:"sequence"` // of latest.json when it named this release
}

// Facts are what the result says in a log line.
func (r PublishResult) Facts() []any {
	return []any{"release", r.Release, "images", r.Images, "manifest_sha256", r.ManifestSHA256}
}
