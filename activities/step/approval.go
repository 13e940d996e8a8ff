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
