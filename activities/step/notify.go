package step

import "time"

// Notify sends a notice to the webhook. It is done beside the stages of a run.
const Notify Step[NotifyInput, NotifyResult] = "Notify"

// Moments that somebody may wait for, the values of Notice.Kind.
const (
	NoticeWaiting   = "approval.waiting" // a set passed, and a person decides
	NoticePublished = "run.published"    // the run ended with a release
	NoticeRejected  = "run.rejected"     // it ended without one: the set did not pass, or was refused
	NoticeFailed    = "run.failed"       // a stage could not do its work
)

// Notice says that a run needs somebody, or how it ended.
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

// Facts are what the result says in a log line.
func (r NotifyResult) Facts() []any { return []any{"sent", r.Sent} }
