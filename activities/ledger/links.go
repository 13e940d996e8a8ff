package ledger

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// Links lie apart from what they are about: a release's bytes do not depend on who
// made it, and a clean-up does not touch them.
var linkFormat = Format[Link]{Name: "defectforge.lineage/1", Limit: 64 << 10}

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
	Header
	Kind    string    `json:"kind"`
	Thing   string    `json:"thing"` // <class>/<release>, or a SHA-256
	Run     step.Run  `json:"run"`
	Record  step.Ref  `json:"record"` // runs/<workflow>/<run>/run.json
	Verdict string    `json:"verdict"`
	At      time.Time `json:"at"`
}

// things are what a run's links lead back from, by their kind.
func things(in step.RecordRunInput) map[string]string {
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

// linksFrom is the prefix of the links from a thing.
func linksFrom(kind, thing string) string { return Links + kind + "/" + thing + "/" }

// WriteLinks links what a run read and made back to its record. Each link has a key
// of its own, so that runs that end at once do not disturb each other.
func WriteLinks(ctx context.Context, s *storage.Store, in step.RecordRunInput, record step.Ref) error {
	run := in.Outcome.Run
	for kind, thing := range things(in) {
		raw, err := linkFormat.EncodeIndented(Link{
			Kind: kind, Thing: thing, Run: run, Record: record, Verdict: in.Verdict, At: time.Now().UTC().Truncate(time.Second),
		})
		if err != nil {
			return err
		}
		key := strings.TrimSuffix(linksFrom(kind, thing)+folders(run), "/") + ".json"
		if _, err := s.PutNamed(ctx, key, raw); err != nil {
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
		for info, err := range s.Bucket().List(ctx, linksFrom(kind, thing)) {
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
	return earliestFirst(found), nil
}

func readLink(ctx context.Context, s *storage.Store, key string) (Link, error) {
	raw, _, err := s.ReadNamed(ctx, key, linkFormat.Limit)
	if err != nil {
		return Link{}, fmt.Errorf("read link: %w", err)
	}
	l, err := linkFormat.Decode(raw)
	if err != nil {
		return Link{}, fmt.Errorf("read link %s: %w", key, err)
	}
	return l, nil
}

// RunsThatMade looks through the records of all runs for those that made a release
// of a version that left no links. Records that can't be read are passed over.
func RunsThatMade(ctx context.Context, s *storage.Store, releasePrefix string) ([]Link, error) {
	var found []Link
	for r, err := range AllRuns(ctx, s, nil) {
		if err != nil {
			return nil, err
		}
		if r.Unreadable != nil || r.Publish.Prefix != releasePrefix {
			continue
		}
		l := Link{
			Kind: linkRelease, Thing: r.Outcome.Class + "/" + r.Publish.Release, Run: r.Outcome.Run,
			Verdict: r.Verdict, Record: r.Ref, At: r.Modified.UTC(),
		}
		found = append(found, linkFormat.stamped(l))
	}
	return earliestFirst(found), nil
}

func earliestFirst(links []Link) []Link {
	slices.SortStableFunc(links, func(a, b Link) int { return a.At.Compare(b.At) })
	return links
}
