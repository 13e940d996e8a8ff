package activities

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// Publisher makes releases of approved candidates.
type Publisher struct {
	Store *storage.Store
}

// Publish puts the accepted candidates, with what is known about each, into a
// release. The release's name follows from its content: repeated, it finds its
// own work.
func (p Publisher) Publish(ctx context.Context, in step.PublishInput) (step.PublishResult, error) {
	if in.Assess.Verdict != step.Pass {
		return step.PublishResult{}, permanent(step.ErrBadInput, "verdict %q: only a set that passed is published", in.Assess.Verdict)
	}
	images, err := p.images(ctx, in)
	if err != nil {
		return step.PublishResult{}, err
	}
	draft := release.Draft{Class: in.Class, Files: images, Attributes: attributes(in)}
	draft.Files = append(draft.Files, release.DraftFile{Path: release.CardName, Data: card(in, len(images))})
	for path, ref := range map[string]step.Ref{"report.html": in.Report.ReleaseHTML, "report.json": in.Report.ReleaseJSON} {
		if !ref.IsZero() {
			draft.Files = append(draft.Files, release.DraftFile{Path: path, Object: storage.Object(ref)})
		}
	}
	out, err := release.Publish(ctx, p.Store.Bucket(), draft)
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
	list, err := readDocument(ctx, p.Store, in.Candidates, DecodeCandidateList)
	if err != nil {
		return nil, err
	}
	checks, err := readDocument(ctx, p.Store, in.Neighbours, DecodeNeighbourList)
	if err != nil {
		return nil, err
	}
	if len(list.Images) != len(checks.Candidates) || list.Checkpoint != in.Checkpoint.SHA256 {
		return nil, permanent(step.ErrBadInput, "%d candidates of checkpoint %s with %d checks for checkpoint %s: do not belong together",
			len(list.Images), list.Checkpoint, len(checks.Candidates), in.Checkpoint.SHA256)
	}
	var files []release.DraftFile
	for i, c := range list.Images {
		check := checks.Candidates[i]
		if check.Index != c.Index || check.SHA256 != c.Image.SHA256 {
			return nil, permanent(step.ErrBadInput, "candidate %d, %s: its check is of candidate %d, %s", c.Index, c.Image.SHA256, check.Index, check.SHA256)
		}
		if !check.Accepted {
			continue
		}
		files = append(files, release.DraftFile{
			Path:   fmt.Sprintf("%s/%s-%06d.png", release.ImageDir, in.Class, c.Index),
			Object: storage.Object(c.Image), Fields: fields(in, list.Seed, check),
		})
	}
	if len(files) == 0 {
		return nil, permanent(step.ErrBadInput, "no candidate of %d was accepted: nothing to publish", len(list.Images))
	}
	return files, nil
}

// fields say where an image comes from. The nearest real image is named by
// its content alone: file names of the source stay with the run.
func fields(in step.PublishInput, seed uint64, check CandidateCheck) map[string]any {
	f := map[string]any{
		"label": in.Class, "seed": seed, "latent_index": check.Index,
		"checkpoint_sha256": in.Checkpoint.SHA256, "sha256": check.SHA256,
	}
	if len(check.Nearest) > 0 {
		f["nearest_real"] = map[string]any{"sha256": check.Nearest[0].SHA256, "distance": check.Nearest[0].Distance}
	}
	return f
}

func attributes(in step.PublishInput) map[string]string {
	return map[string]string{
		"verdict":           in.Assess.Verdict,
		"scope":             in.Assess.Scope,
		"dataset_sha256":    in.Dataset.SHA256,
		"checkpoint_sha256": in.Checkpoint.SHA256,
		"candidates_sha256": in.Candidates.SHA256,
		"neighbours_sha256": in.Neighbours.SHA256,
		"recipe":            in.Recipe.Name,
		"recipe_sha256":     spec.Digest(in.Recipe),
		"seed":              strconv.FormatUint(in.Recipe.Seed, 10),
	}
}

// card is the release's README.md: what the images are, how they were made and
// judged, and what nobody should take them for.
func card(in step.PublishInput, images int) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("---\npretty_name: %q\ntask_categories:\n- image-classification\ntags:\n- synthetic\n- defect\n---\n", "Synthetic images of "+in.Class)
	line("# Synthetic images of %s\n", in.Class)
	line("%d generated images, 128x128 RGB PNG, of the defect class `%s`. None is a photograph. Each carries the label `%s`.\n", images, in.Class, in.Class)
	line("```python\nfrom datasets import load_dataset\nimages = load_dataset(\"imagefolder\", data_dir=\"this folder\", split=\"train\")\n```\n")
	line("## How they were made\n")
	line("A DCGAN with spectral norm, recipe `%s`, %d epochs, seed %d, trained on the data set with digest `%s`. `metadata.jsonl` gives, for each image, "+
		"the number of its latent, the checkpoint, and the nearest real image with its distance.\n", in.Recipe.Name, in.Recipe.Train.Epochs, in.Recipe.Seed, in.Dataset.SHA256)
	line("## How they were judged\n\n%s\n", in.Assess.Scope)
	line("| rule | outcome | reason |\n| --- | --- | --- |")
	clean := strings.NewReplacer("|", `\|`, "\n", " ")
	for _, r := range in.Assess.Rules {
		line("| %s | %s | %s |", clean.Replace(r.Name), r.Outcome, clean.Replace(r.Reason))
	}
	line("\n`report.html` shows the images beside the real ones nearest to them. `manifest.json` lists every file with its size and SHA-256.")
	return []byte(b.String())
}
