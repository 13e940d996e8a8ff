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

	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
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

func (p *program) runsCompareCommand() *cobra.Command {
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
				return usageError("%s takes 2 to %d runs or releases, %d given; see `%s --help`", c.CommandPath(), report.MaxCompared, len(args), c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			return p.runsCompare(c.Context(), args, out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "where to write the page (default: below the data folder)")
	return c
}

func (p *program) runsCompare(ctx context.Context, names []string, out string) error {
	s, err := p.openStore(ctx)
	if err != nil {
		return err
	}
	defer s.close(p)
	var runs []report.Compared
	var outcomes []step.Outcome
	for _, name := range names {
		run, outcome, err := p.compared(ctx, s, name)
		if err != nil {
			return err
		}
		runs = append(runs, run)
		if outcome != nil {
			outcomes = append(outcomes, *outcome)
		}
	}
	c, err := report.Compare(runs)
	if err != nil {
		return err
	}
	if len(runs) == 2 && len(outcomes) == 2 {
		stages, err := story(outcomes[0], outcomes[1])
		if err != nil {
			return err
		}
		for _, s := range stages {
			c.Stages = append(c.Stages, report.StageWhy{Stage: s.Stage, Reused: s.Reused, Why: s.Why})
		}
	}
	page, err := c.HTML()
	if err != nil {
		return err
	}
	if out == "" {
		out = filepath.Join(p.cfg.DataDir, reportFolder, "comparisons", spec.Digest(names)[:12]+".html")
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return fmt.Errorf("create report folder: %w", err)
		}
	}
	if err := os.WriteFile(out, page, 0o644); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	if p.json {
		return p.emit(comparisonReport{out, c})
	}
	p.printComparison(c)
	p.print("page       %s", out)
	return nil
}

// printComparison prints the facts and what differs in parameters.
func (p *program) printComparison(c report.Comparison) {
	for _, f := range c.Facts {
		p.print("%-10s %s", strings.ToLower(f.Name), strings.Join(dashes(f.Values), "  |  "))
	}
	for _, s := range c.Settings {
		if !s.Same {
			p.print("parameter  %s: %s", s.Name, strings.Join(dashes(s.Values), "  |  "))
		}
	}
	for _, m := range c.Measures {
		if !m.Same && m.Label != "" {
			p.print("measure    %s: %s", m.Name, strings.Join(dashes(m.Values), "  |  "))
		}
	}
}

func dashes(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = dash(v)
	}
	return out
}

// compared reads one of the runs or releases of a comparison; a run's outcome
// comes with it.
func (p *program) compared(ctx context.Context, s *session, name string) (report.Compared, *step.Outcome, error) {
	keys, err := p.twinKeys(ctx, s, name)
	if err != nil {
		return report.Compared{}, nil, err
	}
	for _, key := range keys {
		raw, _, err := s.store.ReadNamed(ctx, key+"report.json", maxTwin)
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
		if out.Pictures, err = pictures(ctx, s.store, data); err != nil {
			return out, nil, fmt.Errorf("%s: %w", name, err)
		}
		record, err := recordAt(ctx, s.store, key+"run.json")
		if errors.Is(err, storage.ErrNotFound) {
			return out, nil, nil // a release
		}
		return out, &record.Outcome, err
	}
	return report.Compared{}, nil, fmt.Errorf("%s: neither a recorded run nor a release; `defectforge runs list` and `releases list` show names", name)
}

// twinKeys are the places, each ending with a slash, where the report of a run or
// a release may lie.
func (p *program) twinKeys(ctx context.Context, s *session, name string) ([]string, error) {
	first, second, two := strings.Cut(name, "/")
	if two {
		return []string{"runs/" + storage.SafeName(first) + "/" + storage.SafeName(second) + "/", "releases/" + storage.SafeName(first) + "/" + storage.SafeName(second) + "/"}, nil
	}
	record, err := p.recorded(ctx, s, name, "")
	if err == nil {
		r := record.Outcome.Run
		return []string{strings.TrimSuffix(runKey(r.WorkflowID, r.RunID), "run.json")}, nil
	}
	if !errors.Is(err, errNoRecord) {
		return nil, err
	}
	if spec.ValidName(name) {
		latest, err := release.ReadLatest(ctx, s.store.Bucket(), name)
		switch {
		case err == nil:
			return []string{"releases/" + name + "/" + latest.Release + "/"}, nil
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
