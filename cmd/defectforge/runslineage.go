package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// lineageReport is the JSON object of `runs lineage` for a release: the chain from
// source images to published files.
type lineageReport struct {
	Class          string              `json:"class"`
	Release        string              `json:"release"`
	Prefix         string              `json:"prefix"`
	ManifestSHA256 string              `json:"manifest_sha256"`
	Withdrawn      *release.Withdrawal `json:"withdrawn,omitempty"`
	// Runs are those that made the release, the earliest first; the rest comes from
	// the first's record. It is empty where no record is left.
	Runs         []ledger.Link         `json:"runs"`
	Source       *step.Source          `json:"source,omitempty"`
	Dataset      step.Ref              `json:"dataset"`
	Images       []ledger.DatasetImage `json:"images"` // used, with their splits
	Quarantined  int                   `json:"quarantined"`
	Duplicates   int                   `json:"duplicates"`
	Tensors      step.Ref              `json:"tensors"`
	Recipe       string                `json:"recipe"`
	RecipeSHA256 string                `json:"recipe_sha256"`
	Policy       string                `json:"policy"`
	Verdict      string                `json:"verdict"`
	Approval     *step.Approval        `json:"approval,omitempty"`
	Checkpoint   step.Ref              `json:"checkpoint"`
	Epoch        int                   `json:"epoch"`
	Candidates   step.Ref              `json:"candidates"`
	Drawn        int                   `json:"drawn"`
	Accepted     int                   `json:"accepted"`
	Report       step.Ref              `json:"report"`
	Files        []release.File        `json:"files"`
}

func lineageCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lineage CLASS[/RELEASE] | SHA256",
		Short: "Show what a release was made of, from source images to published files",
		Long: `Show what a release was made of, from source images to published files, and by
which runs; the latest of the class where no release is named. For the SHA-256 of
a data set, recipe, checkpoint or report: the runs that read or made it.`,
		Example: `  defectforge runs lineage scratches
  defectforge runs lineage scratches/0123456789abcdef --json`,
		Args: exactly(1, "a release, as CLASS or CLASS/RELEASE, or a SHA-256"),
		RunE: func(c *cobra.Command, args []string) error {
			return withStore(a, c, func(ctx context.Context, s *process.Session) error {
				if raw, err := hex.DecodeString(args[0]); err == nil && len(raw) == 32 {
					return showRunsOf(ctx, a, s.Store, args[0])
				}
				n, err := parseRelease(args, "", "")
				if err == nil {
					n, err = resolveRelease(ctx, a, s.Bucket, n, false)
				}
				if err != nil {
					return err
				}
				return showLineage(ctx, a, s.Store, n)
			})
		},
		ValidArgsFunction: completeReleases(a, 1),
	}
}

// lineageOf lists the runs that read or made whatever has a digest.
func showRunsOf(ctx context.Context, a *app, s *storage.Store, digest string) error {
	links, err := ledger.LinksOf(ctx, s, digest)
	if err != nil {
		return err
	}
	if len(links) == 0 {
		return fmt.Errorf("%s: no run is known that read or made it; `defectforge runs list` shows runs with their data sets", digest)
	}
	if a.console.JSON() {
		return a.console.Emit(struct {
			SHA256 string        `json:"sha256"`
			Runs   []ledger.Link `json:"runs"`
		}{digest, links})
	}
	for _, l := range links {
		a.console.Print("%-10s of %s, %s: %s", l.Kind, l.Run.WorkflowID, console.Dash(l.Verdict), l.Record.Key)
	}
	return nil
}

func showLineage(ctx context.Context, a *app, s *storage.Store, n releaseName) error {
	opened, err := release.Open(ctx, s.Bucket(), n.class, n.release)
	if err != nil {
		return missingRelease(err)
	}
	m := opened.Manifest
	r := lineageReport{
		Class: m.Class, Release: m.Release, Prefix: strings.TrimSuffix(release.Prefix(m.Class, m.Release), "/"),
		ManifestSHA256: opened.ManifestSHA256, Withdrawn: opened.Withdrawn,
		Recipe: m.Attributes["recipe"], RecipeSHA256: m.Attributes["recipe_sha256"], Policy: m.Attributes["policy"],
		Verdict: m.Attributes["verdict"], Dataset: step.Ref{SHA256: m.Attributes["dataset_sha256"]},
		Checkpoint: step.Ref{SHA256: m.Attributes["checkpoint_sha256"]},
		Candidates: step.Ref{SHA256: m.Attributes["candidates_sha256"]},
		Runs:       []ledger.Link{}, Images: []ledger.DatasetImage{}, Files: m.Files,
	}
	links, err := ledger.LinksOf(ctx, s, m.Class+"/"+m.Release)
	if err == nil && len(links) == 0 {
		links, err = ledger.RunsThatMade(ctx, s, r.Prefix)
	}
	if err != nil {
		return err
	}
	if r.Runs = append(r.Runs, links...); len(links) > 0 {
		if err := r.record(ctx, s, links[0]); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	if err := r.images(ctx, s); err != nil {
		return err
	}
	if a.console.JSON() {
		return a.console.Emit(r)
	}
	printLineage(a, r)
	return nil
}

// record fills in what the record of a run that made the release says.
func (r *lineageReport) record(ctx context.Context, s *storage.Store, l ledger.Link) error {
	record, err := ledger.ReadRun(ctx, s, l.Record)
	if err != nil {
		return err
	}
	o := record.Outcome
	r.Source, r.Dataset, r.Tensors = &o.Source, o.Ingest.Dataset, o.Preprocess.Tensors
	r.Checkpoint, r.Candidates, r.Report = o.Train.Checkpoint, o.Sample.Candidates, record.Report.HTML
	r.Recipe, r.RecipeSHA256, r.Policy, r.Epoch = o.Recipe.Name, spec.Digest(o.Recipe), o.Policy.Name, o.Train.Epoch
	r.Drawn, r.Accepted = o.Sample.Count, o.Check.Accepted
	if o.Approval.By != "" {
		r.Approval = &o.Approval
	}
	return nil
}

// images lists the source images, where the data set's manifest is left.
func (r *lineageReport) images(ctx context.Context, s *storage.Store) error {
	set, ref, err := ledger.DatasetBy(ctx, s, r.Dataset.SHA256)
	if errors.Is(err, storage.ErrNotFound) {
		return nil // the release names none, or it has been cleaned up
	}
	if err != nil {
		return err
	}
	r.Dataset = ref
	r.Images, r.Quarantined, r.Duplicates = append(r.Images, set.Images...), len(set.Quarantine), len(set.Duplicates)
	return nil
}

func printLineage(a *app, r lineageReport) {
	splits := map[string]int{}
	for _, i := range r.Images {
		splits[i.Split]++
	}
	if r.Source != nil {
		a.console.Print("source     s3://%s/%s", r.Source.Bucket, r.Source.Prefix)
	}
	if len(r.Images) > 0 {
		a.console.Print("images     %d: %d for training, %d held out, %d for selection; left out: %d quarantined, %d duplicates",
			len(r.Images), splits[ledger.SplitTraining], splits[ledger.SplitHoldout], splits[ledger.SplitSelection], r.Quarantined, r.Duplicates)
	}
	ref := func(name string, ref step.Ref, more string) {
		if ref.SHA256 != "" {
			a.console.Print("%-10s %s%s", name, ref.SHA256, more)
		}
	}
	ref("data set", r.Dataset, "")
	ref("tensors", r.Tensors, "")
	a.console.Print("recipe     %s, sha256 %s", console.Dash(r.Recipe), console.Dash(r.RecipeSHA256))
	ref("checkpoint", r.Checkpoint, console.Either(r.Epoch > 0, fmt.Sprintf(", epoch %d", r.Epoch), ""))
	ref("candidates", r.Candidates, console.Either(r.Drawn > 0, fmt.Sprintf(", %d drawn, %d accepted", r.Drawn, r.Accepted), ""))
	a.console.Print("verdict    %s by policy %s", console.Dash(r.Verdict), console.Dash(r.Policy))
	ref("report", r.Report, "")
	for _, l := range r.Runs {
		a.console.Print("run        %s, record %s", l.Run.WorkflowID, l.Record.Key)
	}
	if len(r.Runs) == 0 {
		a.console.Print("run        no record is left")
	}
	var bytes int64
	for _, f := range r.Files {
		bytes += f.Size
	}
	a.console.Print("release    %s: %d files, %s; manifest sha256 %s",
		r.Prefix, len(r.Files), humanize.IBytes(uint64(bytes)), r.ManifestSHA256)
	if r.Withdrawn != nil {
		a.console.Say("%v; do not use it", r.Withdrawn)
	}
}
