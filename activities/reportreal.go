package activities

import (
	"context"
	"fmt"
	"slices"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/report"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/picture"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

const (
	// maxShard bounds a shard that the report reads whole, in bytes.
	maxShard = 256 << 20
	// gridShards bounds the shards that the grid of training images comes from.
	gridShards = 2
)

// real names the training images that the page shows beside the candidates, and
// reads them and the candidates' nearest ones from the shards, one shard at a
// time. Without tensors there are none.
func (r Reporter) real(ctx context.Context, tensors step.Ref, dataset ledger.Dataset, data *report.Data) (map[string][]byte, error) {
	if tensors.IsZero() || data.Samples == nil {
		return nil, nil
	}
	index, err := ledger.Tensors.Read(ctx, r.Store, tensors)
	if err != nil {
		return nil, fmt.Errorf("tensors: %w", err)
	}
	names := make(map[string]string, len(dataset.Images))
	for _, im := range dataset.Images {
		names[im.SHA256] = im.Name
	}
	for _, sha := range spreadOut(index, data.RealWanted()) {
		data.Samples.Real = append(data.Samples.Real, report.Real{Name: names[sha], SHA256: sha})
	}
	wanted := data.Shown().Real
	out := make(map[string][]byte, len(wanted))
	for _, shard := range index.Shards {
		if !slices.ContainsFunc(shard.Images, func(sha string) bool { return slices.Contains(wanted, sha) }) {
			continue
		}
		if err := r.fromShard(ctx, shard, wanted, out); err != nil {
			return nil, fmt.Errorf("shard %s: %w", shard.Ref.Key, err)
		}
	}
	return out, nil
}

// spreadOut picks at most n training images, evenly from the first shards.
func spreadOut(index ledger.TensorIndex, n int) []string {
	var from []string
	shards := 0
	for _, shard := range index.Shards {
		if shard.Split == ledger.SplitTraining && shards < gridShards {
			from = append(from, shard.Images...)
			shards++
		}
	}
	n = min(n, len(from))
	out := make([]string, n)
	for i := range out {
		out[i] = from[i*len(from)/n]
	}
	return out
}

// fromShard adds the wanted images of a shard to out, as PNG.
func (r Reporter) fromShard(ctx context.Context, shard ledger.Shard, wanted []string, out map[string][]byte) error {
	raw, err := r.Store.Read(ctx, storage.Object(shard.Ref), maxShard)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	pixels, err := shard.Pixels(raw)
	if err != nil {
		return err
	}
	for row, sha := range shard.Images {
		if !slices.Contains(wanted, sha) {
			continue
		}
		if out[sha], err = picture.EncodePNG(pixels[row*spec.ImageLen : (row+1)*spec.ImageLen]); err != nil {
			return err
		}
	}
	return nil
}
