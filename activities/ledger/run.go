package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"strconv"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// runFormat is that of run.json. Its limit is far above what a run's hundreds of
// legs and rules take.
var runFormat = Format[runDocument]{Name: "defectforge.run/1", Limit: 64 << 20}

// runDocument is the content of run.json.
type runDocument struct {
	Header
	step.RecordRunInput
}

// Record is what a run wrote down about itself, and where that lies.
type Record struct {
	step.RecordRunInput
	Ref      step.Ref
	Modified time.Time // by the store's clock
	Raw      []byte    // the document's text
	// Unreadable is why the text is no record, nil for one.
	Unreadable error
}

// WriteRun writes a run's record, in place of an earlier attempt's.
func WriteRun(ctx context.Context, s *storage.Store, record step.RecordRunInput) (step.Ref, error) {
	raw, err := runFormat.EncodeIndented(runDocument{RecordRunInput: record})
	if err != nil {
		return step.Ref{}, err
	}
	obj, err := s.PutNamed(ctx, RecordKey(record.Outcome.Run), raw)
	if err != nil {
		return step.Ref{}, fmt.Errorf("record run: %w", err)
	}
	return step.Ref(obj), nil
}

// DecodeRun reads a run's record; ErrFormat where raw is none, or one that a later
// version wrote with more in it than this one knows.
func DecodeRun(raw []byte) (step.RecordRunInput, error) {
	doc, err := runFormat.Decode(withoutRetired(raw))
	return doc.RecordRunInput, err
}

// retired are fields of records that versions no longer write. What they said
// is now in the policy.
var retired = [][]string{
	{"outcome", "recipe", "overfit", "max_tail_share"},
	{"outcome", "recipe", "overfit", "min_published"},
}

func withoutRetired(raw []byte) []byte {
	for _, path := range retired {
		if bytes.Contains(raw, []byte(strconv.Quote(path[len(path)-1]))) {
			raw = without(raw, path)
		}
	}
	return raw
}

// without is a JSON object less the field at path; what is no object stays as it is.
func without(raw json.RawMessage, path []string) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields[path[0]] == nil {
		return raw
	}
	if len(path) > 1 {
		fields[path[0]] = without(fields[path[0]], path[1:])
	} else {
		delete(fields, path[0])
	}
	less, err := json.Marshal(fields)
	if err != nil {
		return raw
	}
	return less
}

// ReadRun reads the record that ref names.
func ReadRun(ctx context.Context, s *storage.Store, ref step.Ref) (step.RecordRunInput, error) {
	return read(ctx, s, ref, runFormat.Limit, DecodeRun)
}

// RunOf reads the record of a run; storage.ErrNotFound where it left none.
func RunOf(ctx context.Context, s *storage.Store, run step.Run) (Record, error) {
	return RunBelow(ctx, s, RunPrefix(run))
}

// RunBelow reads the record of the run with a RunPrefix; storage.ErrNotFound where
// none lies there.
func RunBelow(ctx context.Context, s *storage.Store, runPrefix string) (Record, error) {
	return readable(recordAt(ctx, s, RecordBelow(runPrefix)))
}

// LatestRun reads the record that was written last of all runs of a workflow;
// storage.ErrNotFound where none left one.
func LatestRun(ctx context.Context, s *storage.Store, workflowID string) (Record, error) {
	var latest string
	var at time.Time
	for info, err := range s.Bucket().List(ctx, RunsOf(workflowID)) {
		if err != nil {
			return Record{}, fmt.Errorf("list records of %s: %w", workflowID, err)
		}
		if IsRecord(info.Key) && !info.Modified.Before(at) {
			latest, at = info.Key, info.Modified
		}
	}
	if latest == "" {
		return Record{}, fmt.Errorf("record of a run of %s: %w", workflowID, storage.ErrNotFound)
	}
	return readable(recordAt(ctx, s, latest))
}

// AllRuns yields the records of all runs, those that can't be read as one among
// them. It calls look, where that is set, for every object on the way, and stops at
// the first failure of the store.
func AllRuns(ctx context.Context, s *storage.Store, look func()) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for info, err := range s.Bucket().List(ctx, Runs) {
			if err != nil {
				yield(Record{}, fmt.Errorf("list runs: %w", err))
				return
			}
			if look != nil {
				look()
			}
			if !IsRecord(info.Key) {
				continue
			}
			r, err := recordAt(ctx, s, info.Key)
			if errors.Is(err, storage.ErrNotFound) {
				continue // removed since it was listed
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// recordAt reads a record, also one that can't be understood.
func recordAt(ctx context.Context, s *storage.Store, key string) (Record, error) {
	raw, info, err := s.ReadNamed(ctx, key, runFormat.Limit)
	if err != nil {
		return Record{}, fmt.Errorf("read record of a run: %w", err)
	}
	r := Record{Ref: step.Ref{Key: key, SHA256: storage.Digest(raw), Size: int64(len(raw))}, Modified: info.Modified, Raw: raw}
	if r.RecordRunInput, err = DecodeRun(raw); err != nil {
		r.Unreadable = fmt.Errorf("read %s: %w", key, err)
	}
	return r, nil
}

func readable(r Record, err error) (Record, error) {
	if err == nil {
		err = r.Unreadable
	}
	return r, err
}

// IsRecord reports whether a key below Runs is that of a run's record.
func IsRecord(key string) bool { return path.Base(key) == recordName }
