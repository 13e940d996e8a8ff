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
const NoticeWaiting = "approval.waiting"

// Notice tells whoever waits that a run needs them.
type Notice struct {
	Kind     string    `json:"kind"`
	Run      Run       `json:"run"`
	Class    string    `json:"class"`
	Verdict  string    `json:"verdict"`
	Report   string    `json:"report"`   // key in the bucket
	Deadline time.Time `json:"deadline"` // after which the answer is no
}

type NotifyInput struct {
	Notice Notice `json:"notice"`
}

// NotifyResult says whether a webhook was set and took the notice.
type NotifyResult struct {
	Sent bool `json:"sent"`
}
