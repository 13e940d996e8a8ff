// Package retention removes from the bucket what nothing refers to any more: it
// marks what must stay, and sweeps the rest, one area at a time.
package retention

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// longestStage is how long one attempt of a stage may take: what it stores before
// its end is referred to by nothing yet.
const longestStage = 73 * time.Hour

// Cleaner removes from the bucket what nothing refers to any more. What lies
// outside of step.SweepAreas, real images among it, is never touched.
type Cleaner struct {
	Store *storage.Store
	// Scratch makes a folder for temporary files and says how it is removed; nil
	// makes one in the system's.
	Scratch func() (dir string, cleanUp func(), err error)
	// KeepReleases leaves unfinished releases alone, where another credential
	// publishes, which may not remove either.
	KeepReleases bool
	// Running calls visit for every run under way of the types, with what it
	// answers to the query, nil for nothing. It is nil for asking Temporal.
	Running func(ctx context.Context, types []string, query string, visit func(workflowID string, state []byte)) error
	// Progress, if set, is called with the objects looked at.
	Progress func(done, total int)
	// later moves the clean-up's clock on, for tests.
	later time.Duration
}

// marks is a set of what must stay: artifacts by their digest, runs and workflows
// by their prefix. It holds the first 64 bits of the SHA-256 alone, about 20 bytes
// an entry; two that have these in common are both kept, which does no harm.
type marks map[uint64]struct{}

func markOf(digest string) (uint64, bool) {
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) != sha256.Size {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw), true
}

func prefixMark(prefix string) uint64 {
	sum := sha256.Sum256([]byte(prefix))
	return binary.BigEndian.Uint64(sum[:])
}

// add enters a mark and reports whether it is new.
func (m marks) add(mark uint64) bool {
	_, known := m[mark]
	m[mark] = struct{}{}
	return !known
}

// encode writes the marks in order, 8 bytes each.
func (m marks) encode() []byte {
	list := make([]uint64, 0, len(m))
	for mark := range m {
		list = append(list, mark)
	}
	slices.Sort(list)
	raw := make([]byte, 0, 8*len(list))
	for _, mark := range list {
		raw = binary.BigEndian.AppendUint64(raw, mark)
	}
	return raw
}

// markList is a set of marks as it is stored: sorted, 8 bytes each.
type markList []byte

func (l markList) has(mark uint64) bool {
	low, high := 0, len(l)/8
	for low < high {
		mid := (low + high) / 2
		if binary.BigEndian.Uint64(l[8*mid:]) < mark {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(l)/8 && binary.BigEndian.Uint64(l[8*low:]) == mark
}

func marksKey(run step.Run) string { return ledger.CleanUpPrefix(run) + "marks" }

// maxMarks bounds a list of marks, in bytes.
const maxMarks = 1 << 30

// artifactKeys finds the keys of artifacts in a document.
var artifactKeys = regexp.MustCompile(`artifacts/sha256/[0-9a-f]{2}/([0-9a-f]{64})([a-z.]*)`)

// marking is a set of marks in the making.
type marking struct {
	Cleaner
	in     step.MarkInput
	marks  marks
	todo   []string // keys of JSON artifacts to be looked into
	result step.MarkResult
	looked int
}

// MarkReferences lists all that must stay: what releases, runs under way, runs
// that made a release, young runs and decisions refer to, and what that refers to
// in its turn. It keeps too much rather than too little: whatever looks like an
// artifact's key in one of these documents is one.
//
// The order matters. Runs under way are asked first, and the records of runs that
// have ended are read then: a run that ends in between has left its record, and
// one that begins in between writes anew what it uses, as storage.Keep says.
func (c Cleaner) MarkReferences(ctx context.Context, in step.MarkInput) (step.MarkResult, error) {
	m := &marking{Cleaner: c, in: in, marks: marks{}}
	if err := checkRetention(in.Retention); err != nil {
		return step.MarkResult{}, err
	}
	began, err := c.storeTime(ctx, in.Run)
	if err != nil {
		return step.MarkResult{}, err
	}
	m.result.Began = began
	for _, mark := range []func(context.Context) error{m.running, m.records, m.releases, m.documents, m.follow} {
		if err := mark(ctx); err != nil {
			return step.MarkResult{}, err
		}
	}
	obj, err := c.Store.PutNamed(ctx, marksKey(in.Run), m.marks.encode())
	if err != nil {
		return step.MarkResult{}, fmt.Errorf("store marks: %w", err)
	}
	m.result.Marks, m.result.Marked = step.Ref(obj), len(m.marks)
	return m.result, nil
}

func checkRetention(r step.Retention) error {
	for _, f := range []struct {
		name  string
		hours float64
		least float64
	}{
		{"grace_hours", r.GraceHours, storage.MinGrace.Hours()},
		{"checkpoint_hours", r.CheckpointHours, storage.MinGrace.Hours()},
		{"record_hours", r.RecordHours, 0},
	} {
		if !(f.hours >= f.least) || f.hours > 1e6 {
			return ledger.Permanent(step.ErrBadInput, "retention.%s: %v: must be from %v to 1000000", f.name, f.hours, f.least)
		}
	}
	if r.CheckpointCount < 0 {
		return ledger.Permanent(step.ErrBadInput, "retention.checkpoint_count: %d: must not be negative", r.CheckpointCount)
	}
	return nil
}

func hours(h float64) time.Duration { return time.Duration(h * float64(time.Hour)) }

// storeTime is what time it is by the store's clock, which objects are dated by.
func (c Cleaner) storeTime(ctx context.Context, run step.Run) (time.Time, error) {
	key := marksKey(run)
	if _, err := c.Store.PutNamed(ctx, key, []byte(time.Now().String())); err != nil {
		return time.Time{}, fmt.Errorf("ask the store for the time: %w", err)
	}
	info, err := c.Store.Bucket().Stat(ctx, key)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the store for the time: %w", err)
	}
	return info.Modified.Add(c.later), nil
}

// look counts an object that was looked at.
func (m *marking) look() {
	m.looked++
	if m.Progress != nil {
		m.Progress(m.looked, 0)
	}
}

// refer marks the artifacts that a document names.
func (m *marking) refer(raw []byte) {
	for _, found := range artifactKeys.FindAllSubmatch(raw, -1) {
		m.artifact(string(found[1]), strings.TrimRight(string(found[2]), "."))
	}
}

func (m *marking) artifact(digest, ext string) {
	mark, ok := markOf(digest)
	if !ok || !m.marks.add(mark) || ext != ".json" {
		return
	}
	if key, err := storage.ArtifactKey(digest, ext); err == nil {
		m.todo = append(m.todo, key)
	}
}

// running marks what runs under way refer to, and all that lies under their names.
func (m *marking) running(ctx context.Context) error {
	ask := m.Running
	if ask == nil {
		ask = askRunning
	}
	err := ask(ctx, m.in.Types, m.in.Query, func(workflowID string, state []byte) {
		m.look()
		m.result.Running++
		m.marks.add(prefixMark(ledger.RunsOf(workflowID)))
		m.refer(state)
	})
	if err != nil {
		return fmt.Errorf("ask runs under way: %w", err)
	}
	if grace := hours(m.in.Retention.GraceHours); m.result.Running > 0 && grace < longestStage {
		return ledger.Permanent(step.ErrBadInput,
			"retention.grace_hours: %v: %d runs are under way, whose stages may take %v hours before anything refers to what they store; "+
				"wait for them, or give at least %v",
			m.in.Retention.GraceHours, m.result.Running, longestStage.Hours()-1, longestStage.Hours())
	}
	return nil
}

// askRunning asks Temporal for the runs under way, and these for their state.
func askRunning(ctx context.Context, types []string, query string, visit func(string, []byte)) error {
	c := activity.GetClient(ctx)
	quoted := make([]string, len(types))
	for i, t := range types {
		quoted[i] = "'" + t + "'"
	}
	request := &workflowservice.ListWorkflowExecutionsRequest{
		Query: "ExecutionStatus = 'Running' AND WorkflowType IN (" + strings.Join(quoted, ", ") + ")", PageSize: 200,
	}
	for {
		page, err := c.ListWorkflow(ctx, request)
		if err != nil {
			return fmt.Errorf("list runs: %w", err)
		}
		for _, info := range page.GetExecutions() {
			e := info.GetExecution()
			answer, err := c.QueryWorkflow(ctx, e.GetWorkflowId(), e.GetRunId(), query)
			var state json.RawMessage
			if err == nil {
				err = answer.Get(&state)
			}
			if err != nil && !ended(ctx, e.GetWorkflowId(), e.GetRunId()) {
				return fmt.Errorf("run %s does not say what it refers to: %w", e.GetWorkflowId(), err)
			}
			visit(e.GetWorkflowId(), state)
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			return nil
		}
	}
}

// records marks what the runs refer to that made a release which is still there,
// and what young runs do.
func (m *marking) records(ctx context.Context) error {
	cutoff := m.result.Began.Add(-hours(m.in.Retention.GraceHours))
	for r, err := range ledger.AllRuns(ctx, m.Store, m.look) {
		if err != nil {
			return err
		}
		made, err := m.madeRelease(ctx, r)
		if err != nil {
			return err
		}
		if made {
			m.marks.add(prefixMark(path.Dir(r.Ref.Key) + "/"))
		}
		if made || r.Modified.After(cutoff) {
			m.result.Records++
			m.refer(r.Raw)
		}
	}
	return nil
}

// madeRelease reports whether a run's record names a release that is there.
func (m *marking) madeRelease(ctx context.Context, r ledger.Record) (bool, error) {
	if r.Unreadable != nil {
		return true, nil // whatever it is, it stays
	}
	if r.Publish.Prefix == "" {
		return false, nil
	}
	_, err := m.Store.Bucket().Stat(ctx, r.Publish.Prefix+"/"+release.ManifestName)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, ledger.Wrap("look for a release", err)
}

// releases marks what the attributes of all releases name, withdrawn ones too.
func (m *marking) releases(ctx context.Context) error {
	for info, err := range m.Store.Bucket().List(ctx, release.Root) {
		if err != nil {
			return fmt.Errorf("list releases: %w", err)
		}
		m.look()
		if path.Base(info.Key) != release.ManifestName || strings.Count(info.Key, "/") != 3 {
			continue
		}
		m.result.Releases++
		raw, _, err := m.Store.ReadNamed(ctx, info.Key, ledger.MaxDocument)
		if err != nil {
			return fmt.Errorf("read manifest: %w", err)
		}
		manifest, err := release.DecodeManifest(raw)
		if err != nil {
			// `releases verify` reports it; what it may refer to is unknown.
			return ledger.Permanent(step.ErrCorrupt, "%s: %w; mend or delete it before anything is cleaned up", info.Key, err)
		}
		for name, value := range manifest.Attributes {
			if strings.HasSuffix(name, "_sha256") {
				m.artifact(value, cmp.Or(map[string]string{"checkpoint_sha256": ledger.CheckpointExt}[name], ".json"))
			}
		}
	}
	return nil
}

// documents marks what other documents name that stay: the data sets of what was
// decided, as new images are counted by them, and what campaigns show.
func (m *marking) documents(ctx context.Context) error {
	for _, prefix := range []string{ledger.DecisionFolder(), ledger.Campaigns} {
		for info, err := range m.Store.Bucket().List(ctx, prefix) {
			if err != nil {
				return fmt.Errorf("list documents: %w", err)
			}
			m.look()
			if path.Ext(info.Key) != ".json" {
				continue
			}
			raw, _, err := m.Store.ReadNamed(ctx, info.Key, ledger.MaxDocument)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read document: %w", err)
			}
			m.refer(raw)
		}
	}
	return nil
}

// follow looks into the JSON artifacts that are marked.
func (m *marking) follow(ctx context.Context) error {
	for len(m.todo) > 0 {
		key := m.todo[len(m.todo)-1]
		m.todo = m.todo[:len(m.todo)-1]
		m.look()
		raw, _, err := m.Store.ReadNamed(ctx, key, ledger.MaxDocument)
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) {
			continue // gone already; whoever needs it finds out
		}
		if err != nil {
			return fmt.Errorf("look into %s: %w", key, err)
		}
		if bytes.Contains(raw, []byte(storage.ArtifactPrefix)) {
			m.refer(raw)
		}
	}
	return nil
}

// ended reports whether a run is no longer under way: then its record says what
// it refers to.
func ended(ctx context.Context, workflowID, runID string) bool {
	d, err := activity.GetClient(ctx).DescribeWorkflowExecution(ctx, workflowID, runID)
	return err == nil && d.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
}
