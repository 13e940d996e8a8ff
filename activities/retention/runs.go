package retention

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

const (
	// formatCleanUp is the version of a clean-up's report.
	formatCleanUp = "defectforge.cleanup/1"
	// maxOwnCheckpoints bounds how many objects a run is expected to have.
	maxOwnCheckpoints = 100_000
)

// folderOf is the part of a key up to and with its nth slash, "" where it has
// fewer.
func folderOf(key string, n int) string {
	at := 0
	for range n {
		i := strings.IndexByte(key[at:], '/')
		if i < 0 {
			return ""
		}
		at += i + 1
	}
	return key[:at]
}

// releases removes what lies below prefixes without a manifest, once nothing has
// been written there since the cutoff, unless another credential publishes. All
// else below releases/ stays.
func (s *sweep) releases(ctx context.Context) error {
	var prefix string
	var unfinished bool
	return s.each(ctx, release.Root, func(info storage.Info) error {
		p := folderOf(info.Key, 3)
		name := strings.Split(info.Key, "/")
		if p == "" || !isReleaseName(name[2]) || s.KeepReleases {
			return s.keep(info)
		}
		if p != prefix {
			prefix = p
			var err error
			if unfinished, err = s.abandoned(ctx, p, p+release.ManifestName); err != nil {
				return err
			}
		}
		if !unfinished {
			return s.keep(info)
		}
		return s.doom(info, removedUnfinished, prefix+release.ManifestName)
	})
}

func isReleaseName(name string) bool {
	raw, err := hex.DecodeString(name)
	return err == nil && len(raw) == 8 && strings.ToLower(name) == name
}

// abandoned reports whether a prefix lacks the object that would complete it, and
// nothing there was written since the cutoff.
func (s *sweep) abandoned(ctx context.Context, prefix, completing string) (bool, error) {
	_, err := s.Store.Bucket().Stat(ctx, completing)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return false, fmt.Errorf("look for %s: %w", completing, err)
	}
	for info, err := range s.Store.Bucket().List(ctx, prefix) {
		if err != nil {
			return false, fmt.Errorf("list %s: %w", prefix, err)
		}
		if !info.Modified.Before(s.cutoff) {
			return false, nil
		}
	}
	return true, nil
}

// runs removes what ended runs have left: all of those without a record, old
// checkpoints, and old records where that is wanted.
func (s *sweep) runs(ctx context.Context) error {
	var prefix string
	var objects []storage.Info
	err := s.each(ctx, ledger.Runs, func(info storage.Info) error {
		p := folderOf(info.Key, 3)
		if p != prefix {
			if err := s.oneRun(ctx, prefix, objects); err != nil {
				return err
			}
			prefix, objects = p, objects[:0]
		}
		if len(objects) >= maxOwnCheckpoints {
			return s.keep(info) // more than any run leaves: somebody else's
		}
		objects = append(objects, info)
		return nil
	})
	if err != nil {
		return err
	}
	return s.oneRun(ctx, prefix, objects)
}

// oneRun judges the objects of one run, all that lie below prefix.
func (s *sweep) oneRun(ctx context.Context, prefix string, objects []storage.Info) error {
	keepAll := func() error {
		for _, o := range objects {
			if err := s.keep(o); err != nil {
				return err
			}
		}
		return nil
	}
	if len(objects) == 0 || prefix == "" || s.marks.has(prefixMark(folderOf(prefix, 2))) {
		return keepAll()
	}
	i := slices.IndexFunc(objects, func(o storage.Info) bool { return o.Key == ledger.RecordBelow(prefix) })
	if i < 0 {
		return s.withoutRecord(ctx, prefix, objects, keepAll)
	}
	age := s.in.Began.Sub(objects[i].Modified)
	limit := hours(s.in.Retention.RecordHours)
	if limit > 0 && age > max(limit, hours(s.in.Retention.GraceHours)) && !s.marks.has(prefixMark(prefix)) {
		for _, o := range objects {
			if err := s.doom(o, removedRecord, ""); err != nil {
				return err
			}
		}
		return nil
	}
	return s.checkpoints(prefix, objects)
}

func (s *sweep) withoutRecord(ctx context.Context, prefix string, objects []storage.Info, keepAll func() error) error {
	if gone, err := s.abandoned(ctx, prefix, ledger.RecordBelow(prefix)); err != nil || !gone {
		return cmp.Or(err, keepAll())
	}
	for _, o := range objects {
		if err := s.doom(o, removedRun, ledger.RecordBelow(prefix)); err != nil {
			return err
		}
	}
	return nil
}

// checkpoints removes an ended run's own checkpoints, with their curves, that are
// old enough and not among the newest.
func (s *sweep) checkpoints(prefix string, objects []storage.Info) error {
	limit := s.in.Began.Add(-max(hours(s.in.Retention.CheckpointHours), hours(s.in.Retention.GraceHours)))
	var own []storage.Info
	for _, o := range objects {
		if strings.HasPrefix(o.Key, ledger.CheckpointsBelow(prefix)) && strings.HasSuffix(o.Key, ledger.CheckpointExt) {
			own = append(own, o)
		}
	}
	slices.SortFunc(own, func(a, b storage.Info) int { return cmp.Or(b.Modified.Compare(a.Modified), cmp.Compare(b.Key, a.Key)) })
	stay := map[string]bool{}
	for _, o := range own[:min(len(own), s.in.Retention.CheckpointCount)] {
		stay[checkpointBase(o.Key)] = true
	}
	for _, o := range objects {
		var err error
		if strings.HasPrefix(o.Key, ledger.CheckpointsBelow(prefix)) && !stay[checkpointBase(o.Key)] && o.Modified.Before(limit) {
			err = s.doom(o, removedCheckpoint, "")
		} else {
			err = s.keep(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkpointBase is what the keys of a checkpoint and of its curves share.
func checkpointBase(key string) string {
	return strings.TrimSuffix(strings.TrimSuffix(key, ledger.CurvesExt), ledger.CheckpointExt)
}

// RecordCleanUp writes the report, takes back the announcement and removes the
// marks, which only that clean-up uses.
func (c Cleaner) RecordCleanUp(ctx context.Context, in step.RecordCleanUpInput) (step.RecordCleanUpResult, error) {
	r := in.Report
	if r.Run.WorkflowID == "" || r.Run.RunID == "" {
		return step.RecordCleanUpResult{}, ledger.Permanent(step.ErrBadInput, "clean-up %+v: needs a workflow and a run identifier", r.Run)
	}
	if r.Applied {
		if err := c.Store.Retract(ctx, sweepName(r.Run)); err != nil {
			return step.RecordCleanUpResult{}, err
		}
	}
	r.Format, r.Ended = formatCleanUp, time.Now().UTC().Truncate(time.Second)
	raw, err := ledger.Indented(r)
	if err != nil {
		return step.RecordCleanUpResult{}, err
	}
	obj, err := c.Store.PutNamed(ctx, ledger.CleanUpPrefix(r.Run)+"report.json", raw)
	if err != nil {
		return step.RecordCleanUpResult{}, fmt.Errorf("store report: %w", err)
	}
	if err := c.Store.Bucket().Delete(ctx, r.Mark.Marks.Key); err != nil {
		return step.RecordCleanUpResult{}, fmt.Errorf("remove marks: %w", err)
	}
	return step.RecordCleanUpResult{Report: step.Ref(obj)}, ledger.Wrap("sync report", c.Store.Bucket().Sync(ctx))
}
