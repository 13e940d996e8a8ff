package activities

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

const (
	// sampleChunk is how many images are made before they are stored.
	sampleChunk = 32
	// transfers is how many objects are read or written at once.
	transfers = 16
)

// Sampler draws candidate images from a trained generator.
type Sampler struct {
	Store   *storage.Store
	Scratch string // folder for temporary files; empty means the system's
}

// Sample makes the recipe's number of images from the checkpoint, image i from
// seed and i alone, and stores each as a PNG named by its content. The same
// checkpoint and recipe are found, not drawn again.
func (s Sampler) Sample(ctx context.Context, in step.SampleInput) (step.SampleResult, error) {
	if err := in.Recipe.Validate(); err != nil {
		return step.SampleResult{}, permanent(step.ErrBadInput, "recipe: %w", err)
	}
	key := sampleKey(in.Checkpoint, in.Recipe)
	if !in.Refresh {
		if found, ok, err := s.recall(ctx, key); err != nil || ok {
			found.Cached = ok
			return found, err
		}
	}
	sampler, err := s.load(ctx, in)
	if err != nil {
		return step.SampleResult{}, err
	}
	defer sampler.Close()
	list := CandidateList{Checkpoint: in.Checkpoint.SHA256, Seed: in.Recipe.Seed, Images: make([]Candidate, in.Recipe.Sample.Count)}
	count := counter(ctx)
	for first := 0; first < len(list.Images); first += sampleChunk {
		if err := ctx.Err(); err != nil {
			return step.SampleResult{}, err
		}
		chunk := list.Images[first:min(first+sampleChunk, len(list.Images))]
		pixels, err := sampler.Images(first, len(chunk))
		if err != nil {
			return step.SampleResult{}, fmt.Errorf("sample: %w", err)
		}
		if err := s.put(ctx, chunk, first, model.ToRGB(pixels, in.Recipe.Model)); err != nil {
			return step.SampleResult{}, err
		}
		count(first+len(chunk), len(list.Images))
	}
	raw, err := list.Encode()
	if err != nil {
		return step.SampleResult{}, err
	}
	obj, err := s.Store.PutArtifact(ctx, raw, ".json")
	if err != nil {
		return step.SampleResult{}, fmt.Errorf("store list of candidates: %w", err)
	}
	out := step.SampleResult{Candidates: step.Ref(obj), Count: len(list.Images)}
	return out, wrap("remember candidates", s.Store.Remember(ctx, "sample", key, out))
}

// sampleKey names the samples of a checkpoint.
func sampleKey(checkpoint step.Ref, r spec.Recipe) string {
	return spec.Digest([]any{checkpoint.SHA256, r.TrainingFingerprint(), r.Sample})
}

// load makes a sampler of the checkpoint's generator.
func (s Sampler) load(ctx context.Context, in step.SampleInput) (*model.Sampler, error) {
	dir, release, err := scratch(s.Scratch)
	if err != nil {
		return nil, err
	}
	defer release()
	path := filepath.Join(dir, "checkpoint"+checkpointExt)
	if err := s.Store.ReadToFile(ctx, storage.Object(in.Checkpoint), path); err != nil {
		return nil, fmt.Errorf("fetch checkpoint %s: %w", in.Checkpoint.Key, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	defer f.Close()
	sampler, err := model.LoadSampler(bufio.NewReaderSize(f, 1<<20), in.Checkpoint.Size, in.Recipe)
	if err != nil {
		return nil, fmt.Errorf("load checkpoint %s: %w", in.Checkpoint.Key, err)
	}
	return sampler, nil
}

// put stores pixels, (n,3,128,128), and fills chunk with what they are.
func (s Sampler) put(ctx context.Context, chunk []Candidate, first int, pixels []uint8) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(transfers)
	for i := range chunk {
		group.Go(func() error {
			raw, err := picture.EncodePNG(pixels[i*spec.ImageLen : (i+1)*spec.ImageLen])
			if err != nil {
				return fmt.Errorf("encode candidate %d: %w", first+i, err)
			}
			obj, err := s.Store.PutArtifact(ctx, raw, ".png")
			chunk[i] = Candidate{Index: first + i, Image: step.Ref(obj)}
			return wrap(fmt.Sprintf("store candidate %d", first+i), err)
		})
	}
	return group.Wait()
}

// recall finds an earlier result whose images are all stored still.
func (s Sampler) recall(ctx context.Context, key string) (step.SampleResult, bool, error) {
	var found step.SampleResult
	if ok, err := s.Store.Recall(ctx, "sample", key, &found); err != nil || !ok {
		return step.SampleResult{}, false, wrap("look up earlier candidates", err)
	}
	if ok, err := present(ctx, s.Store, found.Candidates); err != nil || !ok {
		return step.SampleResult{}, false, err
	}
	list, err := readDocument(ctx, s.Store, found.Candidates, DecodeCandidateList)
	if err != nil {
		// Whatever is wrong with it, drawing anew mends it.
		return step.SampleResult{}, false, ctx.Err()
	}
	refs := make([]step.Ref, len(list.Images))
	for i, c := range list.Images {
		refs[i] = c.Image
	}
	ok, err := present(ctx, s.Store, refs...)
	return found, ok, err
}
