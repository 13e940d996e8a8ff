package step

import "strings"

// Ref names one stored object: its key in the bucket, and its content.
type Ref struct {
	Key    string `json:"key"`
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // bytes
}

// IsZero reports whether r names nothing.
func (r Ref) IsZero() bool { return r.Key == "" }

// Run names the workflow execution an artifact belongs to.
type Run struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
}

// Source is where the real images lie.
type Source struct {
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`
}

// Folder is the prefix as a folder's: "" or ending with a slash.
func (s Source) Folder() string {
	if s.Prefix == "" || strings.HasSuffix(s.Prefix, "/") {
		return s.Prefix
	}
	return s.Prefix + "/"
}
