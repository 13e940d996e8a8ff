package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// Attributes of a release that say which inputs it was made of.
const (
	datasetAttribute = "dataset_sha256"
	recipeAttribute  = "recipe_sha256"
	policyAttribute  = "policy_sha256"
)

// ChangeChecker says whether a run would bring anything new.
type ChangeChecker struct {
	Store   *storage.Store
	Lineage Lineage
}

// CheckChange compares a run's inputs with those of runs that were decided
// before and of the class's latest release. What was decided is not decided
// again: the same inputs give the same bytes. A run goes on if its recipe or
// policy is new, and otherwise if enough images are.
func (c ChangeChecker) CheckChange(ctx context.Context, in step.ChangeInput) (step.ChangeResult, error) {
	if in.Class == "" || in.Dataset.IsZero() || in.MinNew < 0 {
		return step.ChangeResult{}, ledger.Permanent(step.ErrBadInput,
			"class %q, data set %q, min_new %d: needs a class, a data set and a minimum of at least 0", in.Class, in.Dataset.Key, in.MinNew)
	}
	known, err := ledger.DecisionsOn(ctx, c.Store, in)
	if err != nil {
		return step.ChangeResult{}, err
	}
	latest, err := c.latest(ctx, in.Class)
	if err != nil {
		return step.ChangeResult{}, err
	}
	out := step.ChangeResult{MinNew: in.MinNew}
	stand(&out, latest)
	if decided, err := c.decided(ctx, in, known, latest, &out); err != nil || decided {
		c.report(ctx, in, out, err)
		return out, err
	}
	if out.NewImages, err = c.fresh(ctx, in, known, latest); err != nil {
		return out, err
	}
	if out.NewImages < in.MinNew && !otherInputs(in, known, latest) {
		out.Verdict = step.Waiting
		out.Reason = fmt.Sprintf("waiting: %d of %d new images", out.NewImages, in.MinNew)
		c.report(ctx, in, out, nil)
		return out, nil
	}
	out.Reason = changeWords(in, known, latest, out.NewImages)
	return out, nil
}

// report sends the lineage event of a run that ends here.
func (c ChangeChecker) report(ctx context.Context, in step.ChangeInput, out step.ChangeResult, err error) {
	if err == nil && c.Lineage.Endpoint != "" {
		c.Lineage.idle(ctx, in, out)
	}
}

// latest is the class's newest release that has not been withdrawn, nil where
// there is none.
func (c ChangeChecker) latest(ctx context.Context, class string) (*release.Release, error) {
	return openUsable(ctx, c.Store, class, release.Newest)
}

func openUsable(ctx context.Context, s *storage.Store, class, name string) (*release.Release, error) {
	r, err := release.Open(ctx, s.Bucket(), class, name)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for release %s of class %s: %w", name, class, err)
	case r.Withdrawn != nil && name == release.Newest:
		return nil, nil
	}
	return r, nil
}

// stand names the release that the class stands on, if there is one.
func stand(out *step.ChangeResult, r *release.Release) {
	if r != nil {
		m := r.Manifest
		out.Release, out.Prefix, out.ManifestSHA256 = m.Release, strings.TrimSuffix(release.Prefix(m.Class, m.Release), "/"), r.ManifestSHA256
	}
}

// decided fills in out, and returns true, if these very inputs were decided
// before.
func (c ChangeChecker) decided(
	ctx context.Context, in step.ChangeInput, known []ledger.Decision, latest *release.Release, out *step.ChangeResult,
) (bool, error) {
	i := slices.IndexFunc(known, func(d ledger.Decision) bool { return d.Dataset.SHA256 == in.Dataset.SHA256 })
	if i < 0 {
		if latest == nil || in.Utility != nil || !madeOf(latest, in) || latest.Manifest.Attributes[datasetAttribute] != in.Dataset.SHA256 {
			return false, nil
		}
		out.Verdict, out.Reason = step.Unchanged, "data set, recipe and policy are those of release "+latest.Manifest.Release
		return true, nil
	}
	d := known[i]
	if d.Release == "" {
		out.Verdict, out.Decided = step.Unchanged, &d.Run
		out.Reason = fmt.Sprintf("data set, recipe and policy are those of run %s of %s: %s",
			d.Run.WorkflowID, d.At.Format("2006-01-02"), d.Words())
		return true, nil
	}
	made, err := openUsable(ctx, c.Store, in.Class, d.Release)
	if err != nil || made == nil { // whoever removed it wants it made again
		return false, err
	}
	out.Verdict, out.Decided = step.Unchanged, &d.Run
	if made.Withdrawn != nil {
		out.Reason = fmt.Sprintf("data set, recipe and policy are those of release %s, which was withdrawn: %s", d.Release, made.Withdrawn.Reason)
		return true, nil
	}
	stand(out, made)
	out.Reason = "data set, recipe and policy are those of release " + d.Release
	return true, nil
}

// madeOf reports whether a release was made with the input's recipe and policy.
func madeOf(r *release.Release, in step.ChangeInput) bool {
	a := r.Manifest.Attributes
	return a[recipeAttribute] == spec.Digest(in.Recipe) && a[policyAttribute] == spec.Digest(in.Policy)
}

// otherInputs reports whether the class has a release and was never run with
// this recipe and policy: then there is something to do without a new image.
func otherInputs(in step.ChangeInput, known []ledger.Decision, latest *release.Release) bool {
	return len(known) == 0 && latest != nil && !madeOf(latest, in)
}

// fresh counts the images that neither the latest release nor the last decided
// run with this recipe and policy had, by their bytes.
func (c ChangeChecker) fresh(ctx context.Context, in step.ChangeInput, known []ledger.Decision, latest *release.Release) (int, error) {
	var digests []string
	if latest != nil {
		digests = append(digests, latest.Manifest.Attributes[datasetAttribute])
	}
	if len(known) > 0 {
		digests = append(digests, known[len(known)-1].Dataset.SHA256)
	}
	seen := map[string]bool{}
	for _, digest := range digests {
		set, err := c.dataset(ctx, digest)
		if err != nil {
			return 0, err
		}
		for _, image := range set.Images {
			seen[image.SHA256] = true
		}
	}
	now, err := ledger.Datasets.Read(ctx, c.Store, in.Dataset)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, image := range now.Images {
		if !seen[image.SHA256] {
			n++
		}
	}
	return n, nil
}

// dataset reads a data set's manifest by its digest. One that is gone counts as
// empty: then all images are new.
func (c ChangeChecker) dataset(ctx context.Context, digest string) (ledger.Dataset, error) {
	set, _, err := ledger.DatasetBy(ctx, c.Store, digest)
	if errors.Is(err, storage.ErrNotFound) {
		return ledger.Dataset{}, nil // a release of another program may name none, too
	}
	return set, err
}

// changeWords say why the run goes on.
func changeWords(in step.ChangeInput, known []ledger.Decision, latest *release.Release, fresh int) string {
	switch {
	case latest == nil && len(known) == 0:
		return "the class has no release yet"
	case otherInputs(in, known, latest):
		return "recipe or policy are not those of release " + latest.Manifest.Release
	case latest == nil:
		return fmt.Sprintf("%d new images since run %s", fresh, known[len(known)-1].Run.WorkflowID)
	}
	return fmt.Sprintf("%d new images since release %s", fresh, latest.Manifest.Release)
}
