package activities

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

// maxCandidatePicture bounds a picture that the report reads, in bytes.
const maxCandidatePicture = 16 << 20

// Reporter renders what a run made and decided.
type Reporter struct {
	Store *storage.Store
}

// Report stores the run's report and the release's, each as a page and as JSON.
// Stages that the outcome does not have are named as missing; one whose
// documents can't be read is an error.
func (r Reporter) Report(ctx context.Context, in step.ReportInput) (step.ReportResult, error) {
	data, pictures, err := r.gather(ctx, in.Outcome)
	if err != nil {
		return step.ReportResult{}, err
	}
	var out step.ReportResult
	if out.HTML, out.JSON, err = r.render(ctx, data, pictures); err != nil {
		return step.ReportResult{}, fmt.Errorf("report of the run: %w", err)
	}
	if out.ReleaseHTML, out.ReleaseJSON, err = r.render(ctx, data.ForRelease(), pictures); err != nil {
		return step.ReportResult{}, fmt.Errorf("report of the release: %w", err)
	}
	return out, nil
}

func (r Reporter) render(ctx context.Context, data report.Data, pictures report.Pictures) (html, twin step.Ref, err error) {
	page, err := data.HTML(pictures)
	if err != nil {
		return html, twin, err
	}
	raw, err := data.JSON()
	if err != nil {
		return html, twin, err
	}
	stored, err := r.Store.PutArtifact(ctx, page, ".html")
	if err != nil {
		return html, twin, fmt.Errorf("store page: %w", err)
	}
	html = step.Ref(stored)
	if stored, err = r.Store.PutArtifact(ctx, raw, ".json"); err != nil {
		return html, twin, fmt.Errorf("store JSON: %w", err)
	}
	return html, step.Ref(stored), nil
}

// gather reads what the stages of o left in the store.
func (r Reporter) gather(ctx context.Context, o step.Outcome) (report.Data, report.Pictures, error) {
	none := report.Pictures{}
	data, err := report.New(o.Class, o.Recipe, o.Decided())
	if err != nil {
		return data, none, err
	}
	data.Unpublished = o.Unpublished
	data.Run = &report.Run{
		WorkflowID: o.Run.WorkflowID, RunID: o.Run.RunID, Source: o.Source,
		Times: o.Times, ImagesPerSecond: o.Train.ImagesPerSecond, Cached: o.Preprocess.Cached,
	}
	data.Digests = append(data.Digests, digestsOf(o)...)
	if err := r.decision(ctx, o, &data); err != nil {
		return data, none, err
	}
	dataset, err := r.intake(ctx, o.Ingest, &data)
	if err != nil {
		return data, none, err
	}
	if data.Intake != nil {
		data.Intake.Coloured = o.Preprocess.Coloured
	}
	if err := r.training(ctx, o, &data); err != nil {
		return data, none, err
	}
	pictures, err := r.candidates(ctx, o, &data)
	if err != nil {
		return data, none, err
	}
	pictures.Real, err = r.real(ctx, o.Preprocess.Tensors, dataset, &data)
	return data, pictures, err
}

// decision enters the verdict, the policy behind it, what was measured for it,
// and what was decided after it.
func (r Reporter) decision(ctx context.Context, o step.Outcome, data *report.Data) error {
	if o.Policy.Name != "" {
		data.Policy = &report.Policy{Name: o.Policy.Name, Approval: o.Policy.Approval, DeadlineHours: o.Policy.DeadlineHours}
		data.Digests = append(data.Digests, report.Digest{Name: "Policy", SHA256: spec.Digest(o.Policy)})
	}
	if u := o.Utility; u.Done || u.Why != "" {
		data.Utility = &report.Utility{
			Helps: u.Helps, Harms: u.Harms, Summary: u.Summary, Why: u.Why, Notes: u.Notes, Classes: u.Classes,
			Pairs: u.Pairs, Seen: u.Generator, Train: u.Train, Test: u.Test, Arms: u.Arms, Gains: u.Gains, TextureGains: u.TextureGains,
		}
	}
	if o.Approval.By != "" {
		data.Approval = &o.Approval
	}
	data.Deadline = o.Deadline
	if o.Assess.Verdict == "" {
		return nil
	}
	data.Decision = &report.Decision{Verdict: o.Assess.Verdict, Scope: o.Assess.Scope, Rules: o.Assess.Rules}
	if data.Policy == nil && o.Assess.Policy != "" {
		data.Policy = &report.Policy{Name: o.Assess.Policy}
	}
	if o.Assess.Measures.IsZero() {
		return nil
	}
	doc, err := ledger.Measures.Read(ctx, r.Store, o.Assess.Measures)
	if err != nil {
		return fmt.Errorf("measures: %w", err)
	}
	data.Measures, data.Notes = report.Listed(doc.Measures), doc.Notes
	return nil
}

// digestsOf names what the stages read and made.
func digestsOf(o step.Outcome) []report.Digest {
	checkpoint, curves := trained(o)
	var out []report.Digest
	for _, d := range []struct {
		name string
		ref  step.Ref
	}{
		{"Data set", o.Ingest.Dataset},
		{"Tensors", o.Preprocess.Tensors},
		{"Checkpoint", checkpoint},
		{"Curves", curves},
		{"Candidates", o.Sample.Candidates},
		{"Neighbours", o.Check.Neighbours},
		{"Sheet of nearest images", o.Check.Sheet},
		{"Measures", o.Assess.Measures},
		{"Utility scores", o.Utility.Details},
	} {
		if !d.ref.IsZero() {
			out = append(out, report.Digest{Name: d.name, SHA256: d.ref.SHA256, Size: d.ref.Size})
		}
	}
	return out
}

// intake enters what came in, and returns the data set.
func (r Reporter) intake(ctx context.Context, in step.IngestResult, data *report.Data) (ledger.Dataset, error) {
	if in.Dataset.IsZero() {
		return ledger.Dataset{}, nil
	}
	doc, err := ledger.Datasets.Read(ctx, r.Store, in.Dataset)
	if err != nil {
		return doc, fmt.Errorf("data set: %w", err)
	}
	out := &report.Intake{
		Found: in.Found, Usable: in.Usable, Quarantined: in.Quarantined,
		Duplicates: in.Duplicates, NearDuplicates: in.NearDuplicates,
		Groups: in.Groups, Training: in.Training, Holdout: in.Holdout, Selection: in.Selection, LeftOut: in.LeftOut,
		CutAway: in.CutAway, Levels: in.Levels, MorePages: in.MorePages, Transparent: in.Transparent,
		Grouping:      grouping(doc.Grouping),
		Quarantine:    make([]report.Quarantine, len(doc.Quarantine)),
		DuplicateList: make([]report.Duplicate, len(doc.Duplicates)),
	}
	for i, q := range doc.Quarantine {
		out.Quarantine[i] = report.Quarantine(q)
	}
	for i, d := range doc.Duplicates {
		out.DuplicateList[i] = report.Duplicate(d)
	}
	data.Intake = out
	return doc, nil
}

// grouping says in words how groups of similar images were found.
func grouping(kind string) string {
	switch kind {
	case ledger.GroupedByOverlap:
		return "perceptual hash and by overlap of what they show"
	case ledger.GroupedByHash:
		return "perceptual hash alone, the set being too large to compare every pair"
	}
	return kind
}

// trained is what the training of o left: the chosen state, or the last one.
func trained(o step.Outcome) (checkpoint, curves step.Ref) {
	if o.Choice != nil {
		return o.Choice.Checkpoint, o.Choice.Curves
	}
	return o.Train.Checkpoint, o.Train.Curves
}

// training enters how the training went. Its numbers come from the curves where
// there are any: a training that was found has them, and no last leg.
func (r Reporter) training(ctx context.Context, o step.Outcome, data *report.Data) error {
	data.Rollbacks, data.Alarm = o.Rollbacks, o.Train.Alarm
	checkpoint, curves := trained(o)
	t := o.Train
	out := &report.Training{
		Epochs: t.Epoch, Steps: t.Step, Points: []report.Point{},
		LossReal: t.LossReal, LossFake: t.LossFake, LossG: t.LossG, DReal: t.DReal, DFake: t.DFake,
	}
	if c := o.Choice; c != nil {
		data.Rollbacks, data.Alarm = c.Rollbacks, nil
		out.Epochs = c.LastEpoch
		if len(c.Evaluations) > 0 {
			out.Choice = &report.Choice{Epoch: c.Epoch, Step: c.Step, Reason: c.Reason, Evaluations: c.Evaluations}
		}
	}
	if checkpoint.IsZero() {
		return nil
	}
	data.Training = out
	if curves.IsZero() {
		return nil
	}
	doc, err := ledger.ReadCurves(ctx, r.Store, curves)
	if err != nil {
		return fmt.Errorf("curves: %w", err)
	}
	out.Follow(report.Curves{
		LossReal: doc.LossReal, LossFake: doc.LossFake, LossG: doc.LossG, DReal: doc.DReal, DFake: doc.DFake,
	}, doc.StepsPerEpoch)
	if doc.Steps() > 0 {
		l := lastEpoch(doc)
		out.LossReal, out.LossFake, out.LossG, out.DReal, out.DFake = l.Real, l.Fake, l.G, l.DReal, l.DFake
	}
	return nil
}

// candidates fills in data's samples and distances, and reads their pictures.
func (r Reporter) candidates(ctx context.Context, o step.Outcome, data *report.Data) (report.Pictures, error) {
	pictures := report.Pictures{}
	if o.Sample.Candidates.IsZero() {
		return pictures, nil
	}
	list, err := ledger.Candidates.Read(ctx, r.Store, o.Sample.Candidates)
	if err != nil {
		return pictures, fmt.Errorf("candidates: %w", err)
	}
	data.Samples = samples(list)
	if !o.Check.Neighbours.IsZero() {
		checks, err := ledger.Neighbours.Read(ctx, r.Store, o.Check.Neighbours)
		if err != nil {
			return pictures, fmt.Errorf("neighbours: %w", err)
		}
		set, err := ledger.Join(list, checks)
		if err != nil {
			return pictures, fmt.Errorf("neighbours %s: %w", o.Check.Neighbours.Key, err)
		}
		addChecks(data, o.Check, set)
	}
	pictures.Candidates, err = r.shown(ctx, list, data.Shown().Candidates)
	return pictures, err
}

func samples(list ledger.CandidateList) *report.Samples {
	out := &report.Samples{Images: make([]report.Candidate, len(list.Images))}
	for i, c := range list.Images {
		out.Images[i] = report.Candidate{Index: c.Index, SHA256: c.Image.SHA256, Size: c.Image.Size}
	}
	return out
}

// addChecks enters the overfit check's outcome.
func addChecks(data *report.Data, c step.OverfitResult, set ledger.CheckedSet) {
	doc := set.Checks
	data.Samples.Checked = true
	for i, candidate := range set.Candidates {
		image, check := &data.Samples.Images[i], candidate.Check
		image.Accepted, image.Reason = check.Accepted, check.Reason
		for _, n := range check.Nearest {
			image.Nearest = append(image.Nearest, neighbour(n))
		}
		image.Match = match(check, doc)
	}
	data.Distance = &report.Distances{
		Real: c.Real, Accepted: c.Accepted, Rejected: c.Rejected, Repeated: c.Repeated, Blank: c.Blank,
		RejectAt: c.RejectAt, TransformedRejectAt: doc.TransformedRejectAt, DisguisedRejectAt: doc.DisguisedRejectAt,
		TailAt: c.TailAt, TailShare: c.TailShare, Transformed: c.TransformedShare,
		Nearest: c.Nearest, RealNearest: doc.RealNearest, Notes: doc.Notes,
	}
}

func neighbour(n ledger.Neighbour) report.Neighbour {
	return report.Neighbour{Name: n.Name, SHA256: n.SHA256, Distance: n.Distance, Split: n.Split}
}

// match is the transformed training image where the candidate is nearer to it
// than to any as it is, each by its own threshold, and of a copy in disguise the real
// image; nil otherwise, and for plain copies, whose reason names the image as it is.
func match(check ledger.CandidateCheck, doc ledger.NeighbourList) *report.Neighbour {
	if len(check.Nearest) > 0 && check.Nearest[0].Distance < doc.RejectAt {
		return nil
	}
	if d := check.Disguised; d != nil && d.Distance < doc.DisguisedRejectAt && !nearer(check.Transformed, doc.TransformedRejectAt) {
		n := neighbour(d.Neighbour)
		n.Transform, n.Disguised = d.How, true
		return &n
	}
	t := check.Transformed
	if t == nil || len(check.Nearest) > 0 && !(t.Distance*doc.RejectAt < check.Nearest[0].Distance*doc.TransformedRejectAt) {
		return nil
	}
	n := neighbour(t.Neighbour)
	n.Transform = t.How
	return &n
}

func nearer(t *ledger.TransformedNeighbour, at float64) bool { return t != nil && t.Distance < at }

// shown reads the pictures of the candidates with the given indices.
func (r Reporter) shown(ctx context.Context, list ledger.CandidateList, indices []int) (map[int][]byte, error) {
	refs := make(map[int]step.Ref, len(list.Images))
	for _, c := range list.Images {
		refs[c.Index] = c.Image
	}
	out := make(map[int][]byte, len(indices))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, i := range indices {
		group.Go(func() error {
			raw, err := r.Store.Read(ctx, storage.Object(refs[i]), maxCandidatePicture)
			if err != nil {
				return fmt.Errorf("read candidate %d: %w", i, err)
			}
			mu.Lock()
			defer mu.Unlock()
			out[i] = raw
			return nil
		})
	}
	return out, group.Wait()
}
