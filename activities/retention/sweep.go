package retention

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// Kinds of what a clean-up removes.
const (
	removedArtifact   = "artifact"
	removedCache      = "remembered outcome"
	removedCheckpoint = "checkpoint"
	removedRun        = "run without record"
	removedRecord     = "record of a run"
	removedUnfinished = "unfinished release"
	removedReport     = "report of a clean-up"
)

// cleanUpReports is how long reports of clean-ups stay.
const cleanUpReports = 90 * 24 * time.Hour

func sweepName(run step.Run) string { return run.WorkflowID + "/" + run.RunID }

// removals is how many objects are removed at once.
const removals = 16

// announced is for how long a clean-up announces itself at a time.
const announced = 15 * time.Minute

// doomed is one line of a plan: an object that is to go.
type doomed struct {
	Key      string    `json:"key"`
	Size     int64     `json:"size"`
	Kind     string    `json:"kind"`
	Modified time.Time `json:"modified"`
	// Guard is a key that, where something has it by now, spares the object: the
	// manifest of a release, the record of a run.
	Guard string `json:"guard,omitempty"`
}

// planEnd is a plan's last line, which shows that it is whole.
type planEnd struct {
	End  bool       `json:"end"`
	Kept step.Count `json:"kept"`
}

// sweep is one area's sweep.
type sweep struct {
	Cleaner
	in     step.SweepInput
	marks  markList
	cutoff time.Time
	kept   step.Count
	lines  *json.Encoder
	doomed int // lines written
	looked int
}

// Sweep lists what is to go of one area and, with Apply, removes it. The list
// is stored before anything is removed, so that the next attempt resumes a
// killed one, and what was removed is counted once. Memory holds the marks, 8
// bytes each, and a page of the listing; the list lies on disk.
func (c Cleaner) Sweep(ctx context.Context, in step.SweepInput) (step.SweepResult, error) {
	if err := checkRetention(in.Retention); err != nil {
		return step.SweepResult{}, err
	}
	dir, cleanUp, err := c.folder()
	if err != nil {
		return step.SweepResult{}, err
	}
	defer cleanUp()
	s := &sweep{Cleaner: c, in: in, cutoff: in.Began.Add(-hours(in.Retention.GraceHours))}
	if s.marks, err = c.Store.Read(ctx, storage.Object(in.Marks), maxMarks); err != nil {
		return step.SweepResult{}, fmt.Errorf("read marks: %w", err)
	}
	plan := filepath.Join(dir, "plan")
	key := ledger.CleanUpPrefix(in.Run) + "plan-" + path.Base(in.Area) + ".jsonl"
	ref, err := s.earlier(ctx, key, plan)
	if err != nil {
		return step.SweepResult{}, err
	}
	if ref.IsZero() {
		if err := s.plan(ctx, plan); err != nil {
			return step.SweepResult{}, err
		}
		if s.doomed > 0 {
			obj, err := c.Store.PutNamedFile(ctx, key, plan)
			if err != nil {
				return step.SweepResult{}, fmt.Errorf("store plan: %w", err)
			}
			ref = step.Ref(obj)
		}
	}
	return s.carryOut(ctx, plan, ref)
}

// folder makes a folder for the plan.
func (c Cleaner) folder() (dir string, cleanUp func(), err error) {
	if c.Scratch != nil {
		return c.Scratch()
	}
	if dir, err = os.MkdirTemp("", "defectforge-cleanup-*"); err != nil {
		return "", nil, fmt.Errorf("make scratch folder: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// earlier fetches the plan of an earlier attempt, if it left one.
func (s *sweep) earlier(ctx context.Context, key, path string) (step.Ref, error) {
	info, err := s.Store.Bucket().Stat(ctx, key)
	if errors.Is(err, storage.ErrNotFound) || err == nil && info.SHA256 == "" {
		return step.Ref{}, nil
	}
	ref := step.Ref{Key: key, SHA256: info.SHA256, Size: info.Size}
	if err == nil {
		err = s.Store.ReadToFile(ctx, storage.Object(ref), path)
	}
	return ref, ledger.Wrap("fetch plan of an earlier attempt", err)
}

// plan writes the list of what is to go.
func (s *sweep) plan(ctx context.Context, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("create plan: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	s.lines = json.NewEncoder(w)
	judge := map[string]func(context.Context) error{
		ledger.Cache: s.caches, ledger.CleanUps: s.reports, release.Root: s.releases, ledger.Runs: s.runs,
	}[s.in.Area]
	if judge == nil && strings.HasPrefix(s.in.Area, storage.ArtifactPrefix) {
		judge = s.artifacts
	}
	if judge == nil {
		return ledger.Permanent(step.ErrBadInput, "area %q: none that is swept", s.in.Area)
	}
	if err := judge(ctx); err != nil {
		return fmt.Errorf("sweep %s: %w", s.in.Area, err)
	}
	if err := s.lines.Encode(planEnd{End: true, Kept: s.kept}); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return ledger.Wrap("write plan", w.Flush())
}

// each calls do for every object below prefix.
func (s *sweep) each(ctx context.Context, prefix string, do func(storage.Info) error) error {
	for info, err := range s.Store.Bucket().List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("list objects: %w", err)
		}
		if s.looked++; s.Progress != nil {
			s.Progress(s.looked, 0)
		}
		if err := do(info); err != nil {
			return err
		}
	}
	return nil
}

// keep counts an object that stays.
func (s *sweep) keep(info storage.Info) error {
	s.kept.Add(step.Count{Objects: 1, Bytes: info.Size})
	return nil
}

// doom enters an object that is to go.
func (s *sweep) doom(info storage.Info, kind, guard string) error {
	s.doomed++
	return ledger.Wrap("write plan", s.lines.Encode(doomed{Key: info.Key, Size: info.Size, Kind: kind, Modified: info.Modified, Guard: guard}))
}

func (s *sweep) artifacts(ctx context.Context) error {
	return s.each(ctx, s.in.Area, func(info storage.Info) error {
		name := path.Base(info.Key)
		mark, ok := markOf(name[:min(len(name), 64)])
		if !ok || s.marks.has(mark) || !info.Modified.Before(s.cutoff) {
			return s.keep(info)
		}
		return s.doom(info, removedArtifact, "")
	})
}

// caches removes remembered outcomes that name an artifact which does not stay,
// or none at all. Decisions stay.
func (s *sweep) caches(ctx context.Context) error {
	return s.each(ctx, ledger.Cache, func(info storage.Info) error {
		if !info.Modified.Before(s.cutoff) || strings.HasPrefix(info.Key, ledger.DecisionFolder()) {
			return s.keep(info)
		}
		raw, _, err := s.Store.ReadNamed(ctx, info.Key, ledger.MaxDocument)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return nil
		case err != nil && !errors.Is(err, storage.ErrCorrupt):
			return err
		}
		found := artifactKeys.FindAllSubmatch(raw, -1)
		useful := len(found) > 0
		for _, f := range found {
			mark, ok := markOf(string(f[1]))
			useful = useful && ok && s.marks.has(mark)
		}
		if useful {
			return s.keep(info)
		}
		return s.doom(info, removedCache, "")
	})
}

func (s *sweep) reports(ctx context.Context) error {
	own := ledger.CleanUpPrefix(s.in.Run)
	return s.each(ctx, ledger.CleanUps, func(info storage.Info) error {
		if strings.HasPrefix(info.Key, own) || info.Modified.After(s.in.Began.Add(-cleanUpReports)) || info.Modified.After(s.cutoff) {
			return s.keep(info)
		}
		return s.doom(info, removedReport, "")
	})
}

// carryOut reads the plan and, with Apply, removes what is on it.
func (s *sweep) carryOut(ctx context.Context, plan string, ref step.Ref) (step.SweepResult, error) {
	f, err := os.Open(plan)
	if err != nil {
		return step.SweepResult{}, fmt.Errorf("open plan: %w", err)
	}
	defer f.Close()
	out := step.SweepResult{Removed: map[string]step.Count{}, Plan: ref}
	r := &remover{sweep: s, out: &out}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(removals)
	err = r.lines(gctx, json.NewDecoder(bufio.NewReader(f)), group.Go)
	// A removal that failed is why the loop ended: its error comes first.
	if err := cmp.Or(group.Wait(), err); err != nil {
		return step.SweepResult{}, err
	}
	if s.in.Apply && !ref.IsZero() {
		return out, ledger.Wrap("sync store", s.Store.Bucket().Sync(ctx))
	}
	return out, nil
}

// lines goes through a plan to its end.
func (r *remover) lines(ctx context.Context, dec *json.Decoder, begin func(func() error)) error {
	for n := 1; ; n++ {
		var line struct {
			doomed
			planEnd
		}
		switch err := dec.Decode(&line); {
		case err == io.EOF:
			return fmt.Errorf("read plan: %w: it has no end", io.ErrUnexpectedEOF)
		case err != nil:
			return fmt.Errorf("read plan: line %d: %w", n, err)
		case line.End:
			r.out.Kept = line.Kept
			return nil
		case !r.in.Apply:
			r.count(line.doomed, true)
			continue
		}
		spared, err := r.before(ctx, line.doomed)
		if err != nil {
			return err
		}
		begin(func() error { return r.remove(ctx, line.doomed, spared) })
	}
}

// remover removes the objects of a plan, several at a time.
type remover struct {
	*sweep
	out       *step.SweepResult
	announced time.Time // until when
	guard     string    // the last one
	guarded   bool      // whether something has its key

	mu sync.Mutex
}

// before announces the clean-up in time, and looks whether the object's guard
// spares it.
func (r *remover) before(ctx context.Context, d doomed) (spared bool, err error) {
	if time.Until(r.announced) < announced/2 {
		until := time.Now().Add(announced)
		if err := r.Store.Announce(ctx, sweepName(r.in.Run), storage.Sweeping{Cutoff: r.cutoff, Until: until}); err != nil {
			return false, err
		}
		r.announced = until
	}
	if d.Guard != r.guard {
		r.guard, r.guarded = d.Guard, false
		if d.Guard != "" {
			_, err := r.Store.Bucket().Stat(ctx, d.Guard)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return false, fmt.Errorf("look for %s: %w", d.Guard, err)
			}
			r.guarded = err == nil
		}
	}
	return r.guarded, nil
}

// remove removes an object unless it has been written again. From the last look
// to the removal it takes at most storage.RemovalWindow.
func (r *remover) remove(ctx context.Context, d doomed, spared bool) error {
	if r.Progress != nil {
		r.Progress(r.looked, 0)
	}
	if spared {
		r.count(d, false)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storage.RemovalWindow)
	defer cancel()
	info, err := r.Store.Bucket().Stat(ctx, d.Key)
	switch {
	case errors.Is(err, storage.ErrNotFound): // an earlier attempt has removed it
	case err != nil:
		return fmt.Errorf("look at %s: %w", d.Key, err)
	// Stores give whole seconds here and fractions in a listing.
	case info.Modified.After(d.Modified.Add(2 * time.Second)):
		r.count(d, false)
		return nil
	default:
		if err := r.Store.Bucket().Delete(ctx, d.Key); err != nil {
			return fmt.Errorf("remove %s: %w", d.Key, err)
		}
	}
	r.count(d, true)
	return nil
}

func (r *remover) count(d doomed, removed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := step.Count{Objects: 1, Bytes: d.Size}
	if !removed {
		r.out.Spared.Add(one)
		return
	}
	sum := r.out.Removed[d.Kind]
	sum.Add(one)
	r.out.Removed[d.Kind] = sum
}
