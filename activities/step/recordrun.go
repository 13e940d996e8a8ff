package step

// RecordRun writes down what the run read, made and decided.
const RecordRun Step[RecordRunInput, RecordRunResult] = "RecordRun"

type RecordRunInput struct {
	Outcome Outcome       `json:"outcome"`
	Report  ReportResult  `json:"report"`
	Publish PublishResult `json:"publish"`
	Verdict string        `json:"verdict"`
	// Failure says why a run failed that could still be recorded.
	Failure string `json:"failure,omitempty"`
	// UtilityPlan is what the run was asked to compare; nil where nothing.
	UtilityPlan *UtilityPlan `json:"utility_plan,omitempty"`
}

type RecordRunResult struct {
	Record Ref `json:"record"` // runs/<workflow>/<run>/run.json
	Report Ref `json:"report"` // runs/<workflow>/<run>/report.html
}

// Facts are what the result says in a log line.
func (r RecordRunResult) Facts() []any { return []any{"record", r.Record.Key} }
