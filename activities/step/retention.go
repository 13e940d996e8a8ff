package step

import "time"

// The stages of a clean-up.
const (
	MarkReferences Step[MarkInput, MarkResult]                   = "MarkReferences"
	Sweep          Step[SweepInput, SweepResult]                 = "Sweep"
	RecordCleanUp  Step[RecordCleanUpInput, RecordCleanUpResult] = "RecordCleanUp"
)

// Retention says what a clean-up keeps besides what releases and runs under way
// refer to.
type Retention struct {
	// GraceHours: nothing that was written later than this before the clean-up
	// began is removed.
	GraceHours float64 `json:"grace_hours"`
	// CheckpointHours and CheckpointCount: a run's own checkpoints stay for this long
	// after they were written, and this many of the newest for as long as its record.
	CheckpointHours float64 `json:"checkpoint_hours"`
	CheckpointCount int     `json:"checkpoint_count"`
	// RecordHours is how long run.json and the report of a run stay that published
	// no release; 0 means for good.
	RecordHours float64 `json:"record_hours"`
}

// MarkInput asks for a list of all that must stay.
type MarkInput struct {
	Run       Run       `json:"run"` // the clean-up's own
	Retention Retention `json:"retention"`
	// Types are the workflows whose runs under way are asked what they refer to
	// by Query, where they answer it.
	Types []string `json:"types"`
	Query string   `json:"query"`
}

type MarkResult struct {
	Marks    Ref       `json:"marks"`
	Began    time.Time `json:"began"` // by the store's clock
	Releases int       `json:"releases"`
	Running  int       `json:"running"` // runs under way
	Records  int       `json:"records"` // runs whose artifacts stay
	Marked   int       `json:"marked"`  // artifacts and runs that stay, among them some that no longer exist
}

// SweepInput asks for one area of the bucket to be swept.
type SweepInput struct {
	Run       Run       `json:"run"`
	Retention Retention `json:"retention"`
	Marks     Ref       `json:"marks"`
	Began     time.Time `json:"began"`
	Area      string    `json:"area"`  // one of SweepAreas
	Apply     bool      `json:"apply"` // false only lists what would go
}

// SweepAreas are the prefixes that are swept, one after the other. Artifacts are
// parted by the first digit of their digest.
func SweepAreas() []string {
	areas := []string{"cache/", "cleanup/", "releases/", "runs/"}
	for _, digit := range "0123456789abcdef" {
		areas = append(areas, "artifacts/sha256/"+string(digit))
	}
	return areas
}

// Count is a number of objects and their size.
type Count struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Add adds another count.
func (c *Count) Add(o Count) { c.Objects, c.Bytes = c.Objects+o.Objects, c.Bytes+o.Bytes }

type SweepResult struct {
	// Removed counts by kind what went or, without Apply, would go.
	Removed map[string]Count `json:"removed"`
	Kept    Count            `json:"kept"`
	// Spared is what was written again after it had been listed.
	Spared Count `json:"spared"`
	// Plan lists what was to go, one JSON object on a line; zero for nothing.
	Plan Ref `json:"plan"`
}

// CleanUpReport is the report of a clean-up, as it lies in the bucket too.
type CleanUpReport struct {
	Format    string           `json:"format"`
	Run       Run              `json:"run"`
	Applied   bool             `json:"applied"` // false: a dry run, nothing was removed
	Retention Retention        `json:"retention"`
	Began     time.Time        `json:"began"`
	Ended     time.Time        `json:"ended"`
	Mark      MarkResult       `json:"mark"`
	Removed   map[string]Count `json:"removed"` // by kind
	Total     Count            `json:"total"`   // of Removed
	Kept      Count            `json:"kept"`
	Spared    Count            `json:"spared"`
	Plans     []Ref            `json:"plans"` // lists of the keys
}

type RecordCleanUpInput struct {
	Report CleanUpReport `json:"report"`
}

type RecordCleanUpResult struct {
	Report Ref `json:"report"` // cleanup/<workflow>/<run>/report.json
}
