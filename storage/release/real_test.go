package release_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
	"github.com/defectforge/defectforge/storage/storagetest"
)

func TestDrillRealStore(t *testing.T) {
	endpoint, access, secret := storagetest.RealStore(t)
	class := fmt.Sprintf("drill-%d", time.Now().UnixNano())
	var bucket storage.Bucket
	Drill(t, func(t *testing.T) storage.Bucket {
		b, err := s3.Open(t.Context(), s3.Config{Endpoint: endpoint, AccessKey: access, SecretKey: secret, Bucket: "defectforge-test", CreateBucket: true})
		if err != nil {
			t.Fatal(err)
		}
		bucket = b
		return b
	}, class)
	for _, key := range keys(t, bucket, "releases/"+class+"/") {
		if err := bucket.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
}
