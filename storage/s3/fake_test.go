package s3_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
)

const (
	accessKey = "AKIAPLANTEDACCESSKEY"
	secretKey = "planted/Secret+Key/0123456789"
)

// fake is a store of one bucket that speaks just enough S3. What before and
// after return true for, they have answered themselves.
type fake struct {
	mu            sync.Mutex
	objects       map[string]fakeObject
	requests      []string
	before, after func(w http.ResponseWriter, r *http.Request) bool
	problem       string // found in a request
}

type fakeObject struct {
	data   []byte
	digest string
}

func (o fakeObject) etag() string { return `"` + storage.Digest(o.data)[:32] + `"` }

// newFake starts a store and opens its bucket.
func newFake(t *testing.T) (*fake, *s3.Bucket) {
	t.Helper()
	f := &fake{objects: map[string]fakeObject{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	b, err := s3.Open(t.Context(), s3.Config{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: accessKey, SecretKey: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if f.problem != "" {
			t.Error(f.problem)
		}
	})
	return f, b
}

func refuse(w http.ResponseWriter, status int, code, message string) bool {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
	return true
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter) bool {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
	return true
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/bucket/")
	f.requests = append(f.requests, r.Method+" "+key)
	if f.before != nil && f.before(w, r) {
		return
	}
	switch {
	case key == "":
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodPut:
		f.put(w, r, key)
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		o, exists := f.objects[key]
		if !exists {
			refuse(w, http.StatusNotFound, "NoSuchKey", "no such key")
			return
		}
		w.Header().Set("ETag", o.etag())
		if o.digest != "" {
			w.Header().Set("X-Amz-Meta-Sha256", o.digest)
		}
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Length", fmt.Sprint(len(o.data)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(o.data)
		}
	}
}

// put checks how the request protects its body.
func (f *fake) put(w http.ResponseWriter, r *http.Request, key string) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	sum := sha256.Sum256(data)
	digest := fmt.Sprintf("%x", sum)
	if r.Header.Get("X-Amz-Content-Sha256") != digest {
		refuse(w, http.StatusBadRequest, "XAmzContentSHA256Mismatch", "the digest differs")
		return
	}
	switch {
	case r.Header.Get("X-Amz-Checksum-Sha256") != base64.StdEncoding.EncodeToString(sum[:]):
		f.problem = "a PUT without the right checksum"
	case r.Header.Get("X-Amz-Meta-Sha256") != digest:
		f.problem = "a PUT without the right metadata"
	case r.ContentLength != int64(len(data)) || len(r.TransferEncoding) > 0 || r.Header.Get("Content-Encoding") != "":
		f.problem = "a PUT in chunks"
	case r.URL.RawQuery != "":
		f.problem = "a PUT in several requests: " + r.URL.RawQuery
	}
	o, exists := f.objects[key]
	if match := r.Header.Get("If-Match"); match != "" && (!exists || o.etag() != match) || r.Header.Get("If-None-Match") == "*" && exists {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed", "it is there")
		return
	}
	o = fakeObject{data: data, digest: digest}
	f.objects[key] = o
	if f.after != nil && f.after(w, r) {
		return
	}
	w.Header().Set("ETag", o.etag())
}

// count is how many requests began with prefix.
func (f *fake) count(prefix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}
