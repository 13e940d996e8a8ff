package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/defectforge/defectforge/activities"
	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/folder"
	"github.com/defectforge/defectforge/storage/memory"
)

type assessOptions struct {
	real, candidates, holdout, policy string
	seed                              uint64
}

func assessCommand(a *app) *cobra.Command {
	var o assessOptions
	c := &cobra.Command{
		Use:   "assess --real SRC --candidates SRC",
		Short: "Judge images from any generator as a run judges its own",
		Long: `Judge candidate images, whatever made them, against the real images: whether
they copy real ones, how varied they are, and how much they look like them. Every SRC is
a folder or s3://bucket/prefix. Give as --holdout real images that the generator
never saw; without it a fifth of the real images is held out, by groups of similar
images, which says less where the generator was trained on them.

Exit status: 0 the set passes, 3 it does not, 2 usage, 1 something failed.`,
		Example: `  defectforge assess --real photos/scratches --candidates generated
  defectforge assess --real train --holdout unseen --candidates generated --policy strict.yaml --json`,
		Args: cobra.NoArgs,
		RunE: a.loading(func(c *cobra.Command, _ []string) error {
			return assess(c.Context(), a, o)
		}),
	}
	f := c.Flags()
	f.StringVar(&o.real, "real", "", "real images that the generator was trained on")
	f.StringVar(&o.candidates, "candidates", "", "images to judge")
	f.StringVar(&o.holdout, "holdout", "", "real images that the generator never saw (default: a fifth of --real)")
	f.StringVar(&o.policy, "policy", "production", strings.Join(spec.PolicyNames(), ", ")+", or a YAML file")
	f.Uint64Var(&o.seed, "seed", 1, "seed of subsamples and bootstraps")
	return c
}

// rejectedLine is a candidate that was rejected, and the real image it is nearest to.
type rejectedLine struct {
	Candidate string  `json:"candidate"`
	Nearest   string  `json:"nearest"`
	Distance  float64 `json:"distance"`
	Reason    string  `json:"reason"`
}

// assessReport is the command's JSON.
type assessReport struct {
	Verdict    string                     `json:"verdict"`
	Policy     string                     `json:"policy"`
	Scope      string                     `json:"scope"`
	Training   int                        `json:"real"`
	Holdout    int                        `json:"holdout"`
	Candidates int                        `json:"candidates"`
	Rules      []spec.Judged              `json:"rules"`
	Rejected   []rejectedLine             `json:"rejected"`
	Unreadable []ledger.Quarantined       `json:"unreadable"`
	Measures   map[string]quality.Measure `json:"measures"`
	Notes      []string                   `json:"notes"`
}

func assess(ctx context.Context, a *app, o assessOptions) error {
	policy, err := config.Policy(o.policy)
	if err != nil {
		return console.AsUsage(err)
	}
	s := sources{app: a, buckets: map[string]storage.Reader{}}
	defer s.close()
	in, err := s.input(ctx, o)
	if err != nil {
		return err
	}
	in.Policy = policy
	dir, err := os.MkdirTemp("", "defectforge-assess-*")
	if err != nil {
		return fmt.Errorf("create scratch folder: %w", err)
	}
	defer os.RemoveAll(dir)
	judge := activities.Judge{Store: storage.New(memory.InFolder(dir)), Sources: s.open, Scratch: dir}
	judged, err := judge.JudgeImages(ctx, in)
	if err != nil {
		return fmt.Errorf("assess: %w", userError(err))
	}
	report := reportOf(judged, in)
	if err := showAssessment(a, report); err != nil {
		return err
	}
	if report.Verdict != spec.Pass {
		return console.Exit(console.ExitNotApproved)
	}
	return nil
}

// userError makes the status of errors that the user can mend that of usage.
func userError(err error) error {
	if kind := activities.FailureType(err); kind == step.ErrBadInput || kind == step.ErrTooFewImages {
		return console.AsUsage(err)
	}
	return err
}

func reportOf(j activities.Judgement, in activities.JudgeInput) assessReport {
	r := assessReport{
		Verdict: j.Assess.Verdict, Policy: j.Assess.Policy, Scope: j.Assess.Scope, Rules: j.Assess.Rules,
		Training: j.Ingest.Training, Holdout: j.Ingest.Holdout, Candidates: len(j.Names) + len(j.Unreadable),
		Rejected: []rejectedLine{}, Unreadable: append([]ledger.Quarantined{}, j.Unreadable...),
		Measures: j.Measures.Taken, Notes: append([]string{}, j.Measures.Notes...),
	}
	if in.Holdout == nil {
		r.Notes = append(r.Notes, fmt.Sprintf("no --holdout was given: %d of the real images were held out by groups; "+
			"a generator that was trained on them makes the comparison with the hold-out say less", j.Ingest.Holdout))
	}
	for i, c := range j.Neighbours.Candidates {
		if c.Accepted {
			continue
		}
		nearest, _ := j.Neighbours.Culprit(c)
		r.Rejected = append(r.Rejected, rejectedLine{j.Names[i], nearest.Name, nearest.Distance, c.Reason})
	}
	return r
}

func showAssessment(a *app, r assessReport) error {
	if a.console.JSON() {
		return a.console.Emit(r)
	}
	a.console.Print("verdict: %s, by policy %s", r.Verdict, r.Policy)
	a.console.Print("%d candidates, %d rejected; %d real images and %d held out", r.Candidates, len(r.Rejected), r.Training, r.Holdout)
	a.console.Print("")
	err := a.console.Table("table", func(w io.Writer) {
		fmt.Fprintln(w, "RULE\tVALUE\tBOUND\tREAL\tOUTCOME")
		for _, rule := range r.Rules {
			reference := "-"
			if rule.Reference != nil {
				reference = fmt.Sprintf("%.3g", *rule.Reference)
			}
			fmt.Fprintf(w, "%s\t%.3g\t%s %.3g\t%s\t%s\n", rule.Name, rule.Value, rule.Side, rule.Threshold, reference, rule.Outcome)
		}
	})
	if err != nil {
		return err
	}
	for _, rule := range r.Rules {
		if rule.Outcome != spec.Pass {
			a.console.Print("\n%s: %s", rule.Outcome, rule.Reason)
		}
	}
	printRejected(a, r)
	for _, note := range r.Notes {
		a.console.Print("note: %s", note)
	}
	a.console.Print("\n%s", r.Scope)
	return nil
}

// printRejected prints the first candidates that were rejected or could not be
// read.
func printRejected(a *app, r assessReport) {
	const shown = 10
	for i, line := range r.Rejected {
		if i == shown {
			a.console.Print("... and %d more; --json lists all", len(r.Rejected)-shown)
			break
		}
		if i == 0 {
			a.console.Print("\nrejected:")
		}
		a.console.Print("  %s: %s", line.Candidate, line.Reason)
	}
	for _, u := range r.Unreadable[:min(len(r.Unreadable), shown)] {
		a.console.Print("  %s: cannot be read: %s", u.Name, u.Reason)
	}
}

// sources are the places that images are read from.
type sources struct {
	app     *app
	session *process.Session
	buckets map[string]storage.Reader // folders, by the name they are given
}

func (s *sources) close() {
	if s.session != nil {
		s.session.Close()
	}
}

// input says what to judge, and makes its places known.
func (s *sources) input(ctx context.Context, o assessOptions) (in activities.JudgeInput, err error) {
	in = activities.JudgeInput{Ingest: spec.Classic().Ingest, Overfit: spec.Classic().Overfit, Seed: o.seed}
	in.Ingest.MinImages = 3
	if in.Real, err = s.add(ctx, "--real", o.real); err != nil {
		return in, err
	}
	if in.Candidates, err = s.add(ctx, "--candidates", o.candidates); err != nil {
		return in, err
	}
	if o.holdout != "" {
		held, err := s.add(ctx, "--holdout", o.holdout)
		if err != nil {
			return in, err
		}
		in.Holdout = &held
	}
	return in, nil
}

// add makes a folder or s3://bucket/prefix known. The store is opened for the
// latter only.
func (s *sources) add(ctx context.Context, flag, src string) (step.Source, error) {
	if src == "" {
		return step.Source{}, console.Usage("%s: not given; name a folder of images or s3://bucket/prefix", flag)
	}
	source, remote, err := parseS3(flag, src)
	if err != nil {
		return source, err
	}
	if remote {
		if s.session == nil {
			s.session, err = s.app.process.OpenStore(ctx)
		}
		return source, err
	}
	files, _, err := scanFolder(ctx, flag, src)
	if err != nil {
		return source, err
	}
	s.buckets[flag] = folder.NewFiles("", files)
	return step.Source{Bucket: flag}, nil
}

func (s *sources) open(ctx context.Context, bucket string) (storage.Reader, error) {
	if b, ok := s.buckets[bucket]; ok {
		return b, nil
	}
	return s.session.Source(ctx, bucket)
}
