package step

import "time"

// Ways in which a set was approved or refused, the values of Approval.By.
const (
	ByPolicy   = "policy"   // the verdict alone
	ByPerson   = "person"   // somebody's decision
	ByDeadline = "deadline" // nobody decided in time, which means no
)

// Approval is the decision on publishing a set that passed; zero where none was
// due.
type Approval struct {
	Approved bool      `json:"approved"`
	By       string    `json:"by"`            // ByPolicy, ByPerson or ByDeadline
	Who      string    `json:"who,omitempty"` // the person
	Why      string    `json:"why,omitempty"` // the person's reason
	At       time.Time `json:"at"`
}

// Moments that somebody may wait for, the values of Notice.Kind.
const (
	NoticeWaiting   = "approval.waiting" // a set passed, and a person decides
	NoticePublished = "run.published"    // the run ended with a release
	NoticeRejected  = "run.rejected"     // it ended without one: the set did not pass, or was refused
	NoticeFailed    = "run.failed"       // a stage could not do its work
)

// Notice tells whoever waits that a run needs them, or how it ended.
type Notice struct {
	Kind    string `json:"kind"`
	Run     Run    `json:"run"`
	Class   string `json:"class"`
	Verdict string `json:"verdict"` // empty where the run ended before it
	Report  string `json:"report"`  // key in the bucket, empty where there is none
	// Deadline is that of NoticeWaiting; after it the answer is no.
	Deadline time.Time `json:"deadline,omitzero"`
	// Release is the prefix of what was published.
	Release        string   `json:"release,omitempty"`
	ManifestSHA256 string   `json:"manifest_sha256,omitempty"`
	Images         int      `json:"images,omitempty"`
	Reasons        []string `json:"reasons,omitempty"` // of NoticeRejected
	// Failure is that of NoticeFailed.
	Failure *NoticeFailure `json:"failure,omitempty"`
}

// NoticeFailure says why a run failed.
type NoticeFailure struct {
	Type    string `json:"type"` // one of the permanent failures where it is one
	Message string `json:"message"`
}

type NotifyInput struct {
	Notice Notice `json:"notice"`
}

// NotifyResult says whether a webhook was set and took the notice.
type NotifyResult struct {
	Sent bool `json:"sent"`
}
