package s3

import (
	"context"
	"iter"

	"github.com/minio/minio-go/v7"

	"github.com/defectforge/defectforge/storage"
)

// Folders implements storage.FolderLister.
func (b *Bucket) Folders(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		owner := false
		for info := range b.client.core.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: prefix, FetchOwner: &owner}) {
			err := info.Err
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(storage.Info{}, b.client.fail(ctx, b.op("list", prefix), err))
				return
			}
			if info.Key != prefix && !yield(describe(info.Key, info), nil) {
				return
			}
		}
		// The library ends quietly where the context does.
		if err := ctx.Err(); err != nil {
			yield(storage.Info{}, b.client.fail(ctx, b.op("list", prefix), err))
		}
	}
}
