package activities

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/defectforge/defectforge/activities/ledger"
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
		return step.SampleResult{}, ledger.Permanent(step.ErrBadInput, "recipe: %w", err)
	}
	out, found, err := sampleMemo(in.Checkpoint, in.Recipe).Do(ctx, s.Store, in.Refresh, func() (step.SampleResult, error) {
		return s.draw(ctx, in)
	})
	out.Cached = found
	return out, err
}

// sampleMemo is where the samples of a checkpoint are remembered.
func sampleMemo(checkpoint step.Ref, r spec.Recipe) ledger.Memo[step.SampleResult] {
	return ledger.Memo[step.SampleResult]{
		Stage: "sample", Version: 1, Inputs: []any{checkpoint.SHA256, r.TrainingFingerprint(), r.Sample},
		Refs: func(ctx context.Context, s *storage.Store, r step.SampleResult) ([]step.Ref, error) {
			list, err := ledger.Candidates.Read(ctx, s, r.Candidates)
			refs := []step.Ref{r.Candidates}
			for _, c := range list.Images {
				refs = append(refs, c.Image)
			}
			return refs, err
		},
	}
}

// draw makes the images and lists them.
func (s Sampler) draw(ctx context.Context, in step.SampleInput) (step.SampleResult, error) {
	sampler, err := loadSampler(ctx, s.Store, s.Scratch, in.Checkpoint, in.Recipe)
	if err != nil {
		return step.SampleResult{}, err
	}
	defer sampler.Close()
	list := ledger.CandidateList{
		Checkpoint: in.Checkpoint.SHA256, Seed: in.Recipe.Seed, Images: make([]ledger.Candidate, in.Recipe.Sample.Count),
	}
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
		if err := s.put(ctx, chunk, first, pixels, in.Recipe.Model.ImageChannels()); err != nil {
			return step.SampleResult{}, err
		}
		count(first+len(chunk), len(list.Images))
	}
	ref, err := ledger.Candidates.Put(ctx, s.Store, list)
	if err != nil {
		return step.SampleResult{}, fmt.Errorf("store list of candidates: %w", err)
	}
	return step.SampleResult{Candidates: ref, Count: len(list.Images)}, nil
}

// loadSampler makes a sampler of a checkpoint's generator.
func loadSampler(ctx context.Context, store *storage.Store, folder string, checkpoint step.Ref, r spec.Recipe) (*model.Sampler, error) {
	dir, cleanUp, err := scratch(folder)
	if err != nil {
		return nil, err
	}
	defer cleanUp()
	path := filepath.Join(dir, "checkpoint"+ledger.CheckpointExt)
	if err := store.ReadToFile(ctx, storage.Object(checkpoint), path); err != nil {
		return nil, fmt.Errorf("fetch checkpoint %s: %w", checkpoint.Key, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	defer f.Close()
	sampler, err := model.LoadSampler(bufio.NewReaderSize(f, 1<<20), checkpoint.Size, r)
	if err != nil {
		return nil, fmt.Errorf("load checkpoint %s: %w", checkpoint.Key, err)
	}
	return sampler, nil
}

// put stores pixels, (n,channels,128,128), as PNGs, grey ones where there is one
// channel, and fills chunk with what they are.
func (s Sampler) put(ctx context.Context, chunk []ledger.Candidate, first int, pixels []uint8, channels int) error {
	encode := picture.EncodePNG
	if channels == 1 {
		encode = picture.EncodeGreyPNG
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(transfers)
	size := len(pixels) / len(chunk)
	for i := range chunk {
		group.Go(func() error {
			raw, err := encode(pixels[i*size : (i+1)*size])
			if err != nil {
				return fmt.Errorf("encode candidate %d: %w", first+i, err)
			}
			obj, err := s.Store.PutArtifact(ctx, raw, ".png")
			chunk[i] = ledger.Candidate{Index: first + i, Image: step.Ref(obj)}
			return ledger.Wrap(fmt.Sprintf("store candidate %d", first+i), err)
		})
	}
	return group.Wait()
}
