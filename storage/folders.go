package storage

import (
	"context"
	"iter"
	"strings"
)

// FolderLister is a bucket whose store lists folders without their content.
type FolderLister interface {
	// Folders yields the keys below prefix that lie directly there, and the
	// folders directly below it, as Infos whose Key ends with a slash, in no order,
	// page by page in bounded memory. It stops at the first error.
	Folders(ctx context.Context, prefix string) iter.Seq2[Info, error]
}

// Folders yields what lies directly below prefix, "" or ending with a slash: the
// objects, and each folder once, with a Key that ends with a slash, in no order.
// Buckets that can't list folders are listed in full.
func Folders(ctx context.Context, b Reader, prefix string) iter.Seq2[Info, error] {
	if l, ok := b.(FolderLister); ok {
		return l.Folders(ctx, prefix)
	}
	return func(yield func(Info, error) bool) {
		last := ""
		for info, err := range b.List(ctx, prefix) {
			if err != nil {
				yield(Info{}, err)
				return
			}
			rest := strings.TrimPrefix(info.Key, prefix)
			if rest == "" {
				continue // a folder's own marker
			}
			if folder, _, deep := strings.Cut(rest, "/"); deep {
				if folder+"/" == last {
					continue
				}
				last = folder + "/"
				info = Info{Key: prefix + last}
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}
