package step

// Report renders what the run made and decided.
const Report Step[ReportInput, ReportResult] = "Report"

type ReportInput struct {
	Outcome Outcome `json:"outcome"`
}

// ReportResult names both editions of the report: the run's has times and
// identifiers; the release's leaves them out, so that equal content gives equal
// bytes.
type ReportResult struct {
	HTML        Ref `json:"html"`
	JSON        Ref `json:"json"`
	ReleaseHTML Ref `json:"release_html"`
	ReleaseJSON Ref `json:"release_json"`
}
