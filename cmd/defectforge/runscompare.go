package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// maxTwin bounds a report's JSON twin, and maxPicture a candidate's PNG, in bytes.
const (
	maxTwin    = 256 << 20
	maxPicture = 16 << 20
)

// comparisonReport is the JSON object of `runs compare`.
type comparisonReport struct {
	Page string `json:"page"`
	report.Comparison
}

func runsCompareCommand(a *app) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "compare A B [C...]",
		Short: "Compare runs or releases: parameters, measures, curves and samples on one page",
		Long: fmt.Sprintf(`Compare 2 to %d runs or releases on one standalone HTML page: parameters, those
that differ first, samples side by side, measures, training curves, and where the
time went. For two runs it also says why each stage of the second was reused or
done.

A name is WORKFLOW (its latest recorded run), WORKFLOW/RUN, CLASS/RELEASE, or a
class that stands for its latest release.`, report.MaxCompared),
		Example: `  defectforge runs compare augment-scratches-0123456789ab augment-scratches-ba9876543210
  defectforge runs compare scratches/20260101-0123456789ab scratches --out compared.html`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > report.MaxCompared {
				return console.Usage("%s takes 2 to %d runs or releases, %d given; see `%s --help`",
					c.CommandPath(), report.MaxCompared, len(args), c.CommandPath())
			}
			return nil
		},
		RunE: a.loading(func(c *cobra.Command, args []string) error {
			return compareRuns(c.Context(), a, args, out)
		}),
		ValidArgsFunction: completeRuns(a, "", maxNames),
	}
	c.Flags().StringVar(&out, "out", "", "where to write the page (default: below the data folder)")
	return c
}

func compareRuns(ctx context.Context, a *app, names []string, out string) error {
	s, err := a.process.OpenStore(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	c, err := comparisonOf(ctx, s, names)
	if err != nil {
		return err
	}
	page, err := c.HTML()
	if err != nil {
		return err
	}
	if out == "" {
		out = reportFile(a, "comparisons", spec.Digest(names)[:12]+".html")
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return fmt.Errorf("create report folder: %w", err)
		}
	}
	if err := os.WriteFile(out, page, 0o644); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	if a.console.JSON() {
		return a.console.Emit(comparisonReport{out, c})
	}
	printComparison(a, c)
	a.console.Print("page       %s", out)
	return nil
}

// comparisonOf reads the runs or releases of these names and compares them.
func comparisonOf(ctx context.Context, s *process.Session, names []string) (report.Comparison, error) {
	var runs []report.Compared
	var outcomes []step.Outcome
	for _, name := range names {
		run, outcome, err := readCompared(ctx, s, name)
		if err != nil {
			return report.Comparison{}, err
		}
		runs = append(runs, run)
		if outcome != nil {
			outcomes = append(outcomes, *outcome)
		}
	}
	c, err := report.Compare(runs)
	if err != nil || len(runs) != 2 || len(outcomes) != 2 {
		return c, err
	}
	stages, err := report.Story(outcomes[0], outcomes[1])
	for _, s := range stages {
		c.Stages = append(c.Stages, report.StageWhy{Stage: s.Stage, Reused: s.Reused, Why: s.Why})
	}
	return c, err
}

// printComparison prints the facts and what differs in parameters.
func printComparison(a *app, c report.Comparison) {
	for _, f := range c.Facts {
		a.console.Print("%-10s %s", strings.ToLower(f.Name), strings.Join(console.Dashes(f.Values), "  |  "))
	}
	for _, s := range c.Settings {
		if !s.Same {
			a.console.Print("parameter  %s: %s", s.Name, strings.Join(console.Dashes(s.Values), "  |  "))
		}
	}
	for _, m := range c.Measures {
		if !m.Same && m.Label != "" {
			a.console.Print("measure    %s: %s", m.Name, strings.Join(console.Dashes(m.Values), "  |  "))
		}
	}
}

// readCompared reads one of the runs or releases of a comparison; a run's outcome
// comes with it.
func readCompared(ctx context.Context, s *process.Session, name string) (report.Compared, *step.Outcome, error) {
	keys, err := twinKeys(ctx, s, name)
	if err != nil {
		return report.Compared{}, nil, err
	}
	for _, key := range keys {
		raw, _, err := s.Store.ReadNamed(ctx, key+"report.json", maxTwin)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return report.Compared{}, nil, fmt.Errorf("read the report of %s: %w", name, err)
		}
		data, err := report.DecodeData(raw)
		if err != nil {
			return report.Compared{}, nil, fmt.Errorf("%s: %w", name, err)
		}
		out := report.Compared{Name: name, Data: data}
		if out.Pictures, err = pictures(ctx, s.Store, data); err != nil {
			return out, nil, fmt.Errorf("%s: %w", name, err)
		}
		record, err := ledger.RunBelow(ctx, s.Store, key)
		if errors.Is(err, storage.ErrNotFound) {
			return out, nil, nil // a release
		}
		return out, &record.Outcome, err
	}
	return report.Compared{}, nil, fmt.Errorf("%s: neither a recorded run nor a release; "+
		"`defectforge runs list` and `releases list` show names", name)
}

// twinKeys are the places, each ending with a slash, where the report of a run or
// a release may lie.
func twinKeys(ctx context.Context, s *process.Session, name string) ([]string, error) {
	first, second, two := strings.Cut(name, "/")
	if two {
		return []string{
			ledger.RunPrefix(step.Run{WorkflowID: first, RunID: second}),
			release.Prefix(storage.SafeName(first), storage.SafeName(second)),
		}, nil
	}
	record, err := recordOf(ctx, s, name, "")
	if err == nil {
		return []string{ledger.RunPrefix(record.Outcome.Run)}, nil
	}
	if !errors.Is(err, errNoRecord) {
		return nil, err
	}
	if spec.ValidName(name) {
		latest, err := release.ReadLatest(ctx, s.Store.Bucket(), name)
		switch {
		case err == nil:
			return []string{release.Prefix(name, latest.Release)}, nil
		case !errors.Is(err, storage.ErrNotFound):
			return nil, fmt.Errorf("latest release of %s: %w", name, err)
		}
	}
	return nil, nil
}

// pictures reads the candidates that a comparison shows.
func pictures(ctx context.Context, store *storage.Store, data report.Data) (map[int][]byte, error) {
	out := map[int][]byte{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchAtOnce)
	for _, c := range data.Grid() {
		key, err := storage.ArtifactKey(c.SHA256, ".png")
		if err != nil {
			return nil, fmt.Errorf("candidate %d: %w", c.Index, err)
		}
		g.Go(func() error {
			raw, err := store.Read(ctx, storage.Object{Key: key, SHA256: c.SHA256, Size: c.Size}, maxPicture)
			if errors.Is(err, storage.ErrNotFound) {
				return nil // cleaned up: the page shows the others
			}
			if err != nil {
				return fmt.Errorf("read candidate %d: %w", c.Index, err)
			}
			mu.Lock()
			defer mu.Unlock()
			out[c.Index] = raw
			return nil
		})
	}
	return out, g.Wait()
}
