package storagetest

import (
	"os"
	"testing"
)

// RealStore returns the endpoint and keys of an S3 store to test against, from
// DEFECTFORGE_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY. Without them it
// skips the test, or fails it if DEFECTFORGE_REQUIRE_S3 is 1.
func RealStore(t *testing.T) (endpoint, accessKey, secretKey string) {
	t.Helper()
	endpoint = os.Getenv("DEFECTFORGE_TEST_S3_ENDPOINT")
	if endpoint == "" {
		const missing = "set DEFECTFORGE_TEST_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY to test against an S3 store"
		if os.Getenv("DEFECTFORGE_REQUIRE_S3") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return endpoint, os.Getenv("DEFECTFORGE_TEST_S3_ACCESS_KEY"), os.Getenv("DEFECTFORGE_TEST_S3_SECRET_KEY")
}
