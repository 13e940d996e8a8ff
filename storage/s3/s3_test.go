package s3_test

import (
	"os"
	"testing"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
	"github.com/defectforge/defectforge/storage/storagetest"
)

// realStore is a store to test against, or skips the test.
func realStore(t *testing.T) s3.Config {
	t.Helper()
	config := s3.Config{
		Endpoint:     os.Getenv("DEFECTFORGE_TEST_S3_ENDPOINT"),
		AccessKey:    os.Getenv("DEFECTFORGE_TEST_S3_ACCESS_KEY"),
		SecretKey:    os.Getenv("DEFECTFORGE_TEST_S3_SECRET_KEY"),
		Bucket:       "defectforge-test",
		CreateBucket: true,
	}
	if config.Endpoint == "" {
		const missing = "set DEFECTFORGE_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY to test against a real store"
		if os.Getenv("DEFECTFORGE_REQUIRE_S3") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return config
}

func TestRealStore(t *testing.T) {
	config := realStore(t)
	storagetest.Run(t, func(t *testing.T) storage.Bucket {
		b, err := s3.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
}
