package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// lineagePrefix has the links from what a run read and made back to the run. They
// lie apart from what they are about: a release's bytes do not depend on who made
// it, and a clean-up does not touch them.
const lineagePrefix = "lineage/"

const (
	formatLineage = "defectforge.lineage/1"
	maxLink       = 64 << 10
)

// Kinds of what a link leads back from.
const (
	linkRelease    = "release"
	linkDataset    = "dataset"
	linkRecipe     = "recipe"
	linkCheckpoint = "checkpoint"
	linkReport     = "report"
)

// Link leads from a thing to a run that read or made it.
type Link struct {
	Format  string    `json:"format"`
	Kind    string    `json:"kind"`
	Thing   string    `json:"thing"` // <class>/<release>, or a SHA-256
	Run     step.Run  `json:"run"`
	Record  step.Ref  `json:"record"` // runs/<workflow>/<run>/run.json
	Verdict string    `json:"verdict"`
	At      time.Time `json:"at"`
}

// links are a run's: from its release, data set, recipe, checkpoint and report.
func links(in step.RecordRunInput) map[string]string {
	o := in.Outcome
	all := map[string]string{
		linkDataset: o.Ingest.Dataset.SHA256, linkRecipe: spec.Digest(o.Recipe),
		linkCheckpoint: o.Train.Checkpoint.SHA256, linkReport: in.Report.HTML.SHA256,
	}
	if in.Publish.Release != "" {
		all[linkRelease] = o.Class + "/" + in.Publish.Release
	}
	for kind, thing := range all {
		if thing == "" {
			delete(all, kind)
		}
	}
	return all
}

// link writes the links back to a run. Each has a key of its own, so that runs
// that end at once do not disturb each other.
func (r Recorder) link(ctx context.Context, in step.RecordRunInput, record step.Ref) error {
	run := in.Outcome.Run
	for kind, thing := range links(in) {
		raw, err := indented(Link{Format: formatLineage, Kind: kind, Thing: thing, Run: run, Record: record, Verdict: in.Verdict, At: time.Now().UTC().Truncate(time.Second)})
		if err != nil {
			return err
		}
		key := lineagePrefix + kind + "/" + thing + "/" + storage.SafeName(run.WorkflowID) + "/" + storage.SafeName(run.RunID) + ".json"
		if _, err := r.Store.PutNamed(ctx, key, raw); err != nil {
			return fmt.Errorf("link %s to its run: %w", kind, err)
		}
	}
	return nil
}

// LinksOf returns the links from a release, named <class>/<release>, or from
// whatever has a SHA-256, the earliest first.
func LinksOf(ctx context.Context, s *storage.Store, thing string) ([]Link, error) {
	kinds := []string{linkRelease}
	if !strings.Contains(thing, "/") {
		kinds = []string{linkDataset, linkRecipe, linkCheckpoint, linkReport}
	}
	var found []Link
	for _, kind := range kinds {
		for info, err := range s.Bucket().List(ctx, lineagePrefix+kind+"/"+thing+"/") {
			if err != nil {
				return nil, fmt.Errorf("list links: %w", err)
			}
			l, err := readLink(ctx, s, info.Key)
			if err != nil {
				return nil, err
			}
			found = append(found, l)
		}
	}
	slices.SortStableFunc(found, func(a, b Link) int { return a.At.Compare(b.At) })
	return found, nil
}

func readLink(ctx context.Context, s *storage.Store, key string) (Link, error) {
	raw, _, err := s.ReadNamed(ctx, key, maxLink)
	if err != nil {
		return Link{}, fmt.Errorf("read link: %w", err)
	}
	l, err := decode[Link](raw, formatLineage)
	if err != nil {
		return Link{}, fmt.Errorf("read link %s: %w", key, err)
	}
	return l, nil
}

// RecordsOf looks through the records of all runs for those that made a release,
// of a version that left no links.
func RecordsOf(ctx context.Context, s *storage.Store, releasePrefix string) ([]Link, error) {
	var found []Link
	for info, err := range s.Bucket().List(ctx, runsPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list runs: %w", err)
		}
		if path.Base(info.Key) != recordName {
			continue
		}
		raw, described, err := s.ReadNamed(ctx, info.Key, maxDocument)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read record of a run: %w", err)
		}
		var record step.RecordRunInput
		if json.Unmarshal(raw, &record) != nil || record.Publish.Prefix != releasePrefix {
			continue
		}
		found = append(found, Link{
			Format: formatLineage, Kind: linkRelease, Thing: record.Outcome.Class + "/" + record.Publish.Release, Run: record.Outcome.Run, Verdict: record.Verdict,
			Record: step.Ref{Key: info.Key, SHA256: described.SHA256, Size: described.Size}, At: info.Modified.UTC(),
		})
	}
	slices.SortStableFunc(found, func(a, b Link) int { return a.At.Compare(b.At) })
	return found, nil
}
