package release_test

import (
	"context"
	"fmt"

	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/release"
)

// A release is published, opened and read. Instead of memory.New, s3.Open gives
// the bucket of a server; a folder that `defectforge releases pull` has made is
// opened with OpenDir.
func Example() {
	ctx := context.Background()
	bucket := memory.New()
	_, err := release.Publish(ctx, bucket, release.Draft{Class: "scratches", Files: []release.DraftFile{
		{Path: "images/scratches/a.png", Data: []byte("the bytes of a PNG file"), Fields: map[string]any{"latent_index": 7}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}

	set, err := release.Open(ctx, bucket, "scratches", release.Newest)
	if err != nil {
		fmt.Println(err)
		return
	}
	if set.Withdrawn != nil {
		fmt.Println(set.Withdrawn)
		return
	}
	for sample, err := range set.Samples(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(sample.Path, sample.Label, sample.Metadata["latent_index"], len(sample.PNG))
	}
	// Output: images/scratches/a.png scratches 7 23
}
