package activities

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// Publisher makes releases of approved candidates.
type Publisher struct {
	Store *storage.Store
	// Releases is the same bucket through a credential that may write below
	// releases/; nil where Store's may.
	Releases storage.Bucket
	// Signer signs manifests; nil leaves them unsigned.
	Signer release.Signer
	// License is that of the images, as release.Draft takes it.
	License string
}

// Publish puts the accepted candidates, with what is known about each, into a
// release. The release's name follows from its content: repeated, it finds its
// own work.
func (p Publisher) Publish(ctx context.Context, in step.PublishInput) (step.PublishResult, error) {
	if in.Assess.Verdict != spec.Pass {
		return step.PublishResult{}, ledger.Permanent(step.ErrBadInput, "verdict %q: only a set that passed is published", in.Assess.Verdict)
	}
	if !in.Approval.Approved {
		return step.PublishResult{}, ledger.Permanent(step.ErrBadInput, "approval: not given; only an approved set is published")
	}
	images, err := p.images(ctx, in)
	if err != nil {
		return step.PublishResult{}, err
	}
	draft := release.Draft{
		Class: in.Class, Files: images, Attributes: attributes(in), License: p.License,
		Pixels: pixels(in), About: about(in),
	}
	for path, ref := range map[string]step.Ref{
		"report.html": in.Report.ReleaseHTML, "report.json": in.Report.ReleaseJSON, "measures.json": in.Assess.Measures,
		"utility.json": in.Utility.Details,
	} {
		if !ref.IsZero() {
			draft.Files = append(draft.Files, release.DraftFile{Path: path, Object: storage.Object(ref)})
		}
	}
	var options []release.Option
	if p.Signer != nil {
		options = append(options, release.WithSigner(p.Signer))
	}
	bucket := p.Releases
	if bucket == nil {
		bucket = p.Store.Bucket()
	}
	out, err := release.Publish(ctx, bucket, draft, options...)
	if err != nil {
		return step.PublishResult{}, err
	}
	return step.PublishResult{
		Release: out.Release, Prefix: strings.TrimSuffix(out.Prefix, "/"), ManifestSHA256: out.ManifestSHA256,
		Images: out.Images, Sequence: int64(out.Sequence),
	}, nil
}

// images lists the accepted candidates as files of the release.
func (p Publisher) images(ctx context.Context, in step.PublishInput) ([]release.DraftFile, error) {
	set, err := ledger.ReadChecked(ctx, p.Store, in.Candidates, in.Neighbours)
	if err != nil {
		return nil, err
	}
	if set.Checkpoint != in.Checkpoint.SHA256 {
		return nil, ledger.Permanent(step.ErrBadInput,
			"candidates of checkpoint %s: the release would be of checkpoint %s", set.Checkpoint, in.Checkpoint.SHA256)
	}
	var files []release.DraftFile
	for _, c := range set.Accepted() {
		files = append(files, release.DraftFile{
			Path:   fmt.Sprintf("%s/%s/%s-%06d.png", release.ImageDir, in.Class, in.Class, c.Index),
			Object: storage.Object(c.Image), Fields: fields(in, set.Seed, c.Check),
		})
	}
	if len(files) == 0 {
		return nil, ledger.Permanent(step.ErrBadInput, "no candidate of %d was accepted: nothing to publish", len(set.Candidates))
	}
	return files, nil
}

// fields say where an image comes from and how near it is to real ones. A real
// image is named by its content alone: file names of the source stay with the
// run. The seed is text: readers round numbers of 64 bits.
func fields(in step.PublishInput, seed uint64, check ledger.CandidateCheck) map[string]any {
	f := map[string]any{
		"label": in.Class, "seed": strconv.FormatUint(seed, 10), "latent_index": check.Index,
		"checkpoint_sha256": in.Checkpoint.SHA256, "sha256": check.SHA256,
	}
	if len(check.Nearest) > 0 {
		f["nearest_real"] = map[string]any{"sha256": check.Nearest[0].SHA256, "distance": check.Nearest[0].Distance}
		f["nearest_training_distance"] = check.Training
	}
	if n := check.Transformed; n != nil {
		f["nearest_transformed"] = map[string]any{"sha256": n.SHA256, "distance": n.Distance, "how": n.How}
	}
	return f
}

func attributes(in step.PublishInput) map[string]string {
	all := map[string]string{
		"verdict":           in.Assess.Verdict,
		"policy":            in.Assess.Policy,
		"scope":             in.Assess.Scope,
		"approval":          in.Approval.By,
		datasetAttribute:    in.Dataset.SHA256,
		"checkpoint_sha256": in.Checkpoint.SHA256,
		"candidates_sha256": in.Candidates.SHA256,
		"neighbours_sha256": in.Neighbours.SHA256,
		"recipe":            in.Recipe.Name,
		recipeAttribute:     spec.Digest(in.Recipe),
		"seed":              strconv.FormatUint(in.Recipe.Seed, 10),
	}
	if in.Policy.Name != "" { // runs of earlier versions do not say
		all[policyAttribute] = spec.Digest(in.Policy)
	}
	if in.Approval.By == step.ByPerson {
		all["approved_by"], all["approval_reason"] = in.Approval.Who, in.Approval.Why
	}
	if in.Utility.Done {
		all["utility"] = in.Utility.Summary
	}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}

// decided is the recipe with what it leaves to the images decided.
func decided(in step.PublishInput) spec.Recipe {
	if in.Images == (spec.Images{}) { // a workflow that began before they decided anything
		return in.Recipe
	}
	return in.Recipe.ForImages(in.Images)
}

// pixels says in words what the images are.
func pixels(in step.PublishInput) string {
	if decided(in).Model.ImageChannels() == 1 {
		return fmt.Sprintf("%dx%d grey", spec.Size, spec.Size)
	}
	return release.DefaultPixels
}

// networks says in words which kind of GAN made the images.
func networks(m spec.Model) string {
	kind, norm := "A DCGAN", " with spectral norm"
	if m.Generator == spec.GeneratorUpsample {
		kind = "A convolutional GAN whose generator upsamples"
	}
	if m.DiscriminatorNorm == spec.NormFree {
		norm = ""
	}
	return kind + norm
}

// about is the middle of the data set card: what the images are for, how they
// were made and judged, and what nobody should take them for.
func about(in step.PublishInput) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("## Uses\n")
	line("To train classifiers and detectors of the defect `%s`, besides real images and never in place of them. "+
		"Validate and test on real images alone: these repeat what the generator saw, and its mistakes.\n", in.Class)
	line("## Limits\n")
	line("The images are %s PNG. They show no more kinds of `%s` than the real images that the generator was trained on, "+
		"and say nothing on how often a kind occurs, how large it is, or where on a part it lies. "+
		"Each carries the one label `%s`; none has a box or mask.\n",
		pixels(in), in.Class, in.Class)
	line("## How they were made\n")
	line("%s, recipe `%s`, at most %d epochs, seed %d, trained on the data set with digest `%s`. For each image, "+
		"`metadata.jsonl` has the number of its latent (`latent_index`, drawn with `seed`), the checkpoint's digest, "+
		"and its nearest real image with the distance "+
		"(Euclidean over pixels in [-1,1]), as it is and, where that was looked for, mirrored, turned and shifted.\n",
		networks(in.Recipe.Model), in.Recipe.Name, decided(in).Train.Epochs, in.Recipe.Seed, in.Dataset.SHA256)
	if in.Levels > 0 {
		line("The real images have samples of more than 8 bits, which were scaled so that %d is white, for all of them alike.\n", in.Levels)
	}
	line("## How they were judged\n\n%s\n", in.Assess.Scope)
	line("| rule | outcome | reason |\n| --- | --- | --- |")
	clean := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, r := range in.Assess.Rules {
		line("| %s | %s | %s |", clean.Replace(r.Name), r.Outcome, clean.Replace(r.Reason))
	}
	helps(line, in.Utility)
	line("\n%s `report.html` shows the images beside the real ones nearest to them.", approved(in.Approval))
	return b.String()
}

// helps says what the utility study has shown, where there was one.
func helps(line func(format string, args ...any), u step.UtilityResult) {
	switch {
	case u.Why != "":
		line("\nWhether the images help a classifier could not be measured: %s.", oneLine(u.Why))
	case u.Done:
		line("\n### Do they help a classifier?\n\n%s.\n", oneLine(u.Summary))
		line("| trained on | macro-F1 | F1 of the class | macro-F1 by texture |\n| --- | --- | --- | --- |")
		for _, a := range u.Arms {
			line("| %s | %.3f | %.3f | %.3f |", spec.ArmNamed(a.Arm).Trained, a.MacroF1, a.ClassF1, a.TextureMacroF1)
		}
		line("\nThe last column is a second classifier, logistic regression over local patterns and gradients; the claim is the small net's.")
		line("\nClasses: %s. %d real training images and up to %d test images of a split, all classes together. `utility.json` has every score.",
			strings.Join(u.Classes, ", "), u.Train, u.Test)
		for _, n := range u.Notes {
			line("\n- %s.", oneLine(n))
		}
	}
}

// oneLine is text as the middle of a line, without a full stop.
func oneLine(s string) string { return strings.TrimSuffix(strings.Join(strings.Fields(s), " "), ".") }

// approved says who approved the set.
func approved(a step.Approval) string {
	if a.By == step.ByPerson {
		return fmt.Sprintf("Approved by %s: %s.", a.Who, oneLine(a.Why))
	}
	return "Approved by the policy, on this verdict alone; nobody has looked at the images."
}
