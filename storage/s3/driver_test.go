package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
)

func put(t *testing.T, b storage.Bucket, data string, cond storage.Condition) (storage.Info, error) {
	t.Helper()
	return b.Put(t.Context(), "key", strings.NewReader(data), int64(len(data)), storage.Digest([]byte(data)), cond)
}

// TestReplyLost: the first write takes place, but its answer gets lost. The
// library repeats it, and the store refuses the repetition.
func TestReplyLost(t *testing.T) {
	for name, cond := range map[string]storage.Condition{"if absent": {IfAbsent: true}, "if ETag": {IfETag: storage.Digest([]byte("old"))[:32]}} {
		f, b := newFake(t)
		if cond.IfETag != "" {
			f.objects["key"] = fakeObject{data: []byte("old"), digest: storage.Digest([]byte("old"))}
		}
		lost := false
		f.after = func(w http.ResponseWriter, _ *http.Request) bool {
			if lost {
				return false
			}
			lost = true
			return hangUp(w)
		}
		info, err := put(t, b, "mine", cond)
		if err != nil || info.SHA256 != storage.Digest([]byte("mine")) {
			t.Errorf("%s: own success is %+v, %v", name, info, err)
		}
		if !lost || f.count("PUT") < 2 {
			t.Errorf("%s: nothing was repeated", name)
		}
		if _, err := put(t, b, "theirs", cond); !errors.Is(err, storage.ErrPrecondition) {
			t.Errorf("%s: other content: %v", name, err)
		}
	}
}

func TestConflictIsRepeated(t *testing.T) {
	f, b := newFake(t)
	conflicts := 2
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || conflicts == 0 {
			return false
		}
		conflicts--
		return refuse(w, http.StatusConflict, "ConditionalRequestConflict", "try again")
	}
	if _, err := put(t, b, "data", storage.Condition{IfAbsent: true}); err != nil {
		t.Fatal(err)
	}
	if n := f.count("PUT"); n != 3 {
		t.Errorf("%d writes, want 3", n)
	}
}

func TestOverloadIsRepeated(t *testing.T) {
	f, b := newFake(t)
	failures := 2
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		if failures == 0 {
			return false
		}
		failures--
		return refuse(w, http.StatusServiceUnavailable, "SlowDown", "later")
	}
	if _, err := put(t, b, "data", storage.Condition{}); err != nil {
		t.Fatal(err)
	}
}

// TestEarlyRefusal: the store refuses a large write without reading it and
// hangs up, so that the client sees a broken connection only.
func TestEarlyRefusal(t *testing.T) {
	f, b := newFake(t)
	f.objects["key"] = fakeObject{data: []byte("theirs")}
	f.before = func(w http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodPut && hangUp(w) }
	data := bytes.Repeat([]byte("x"), 2<<20)
	_, err := b.Put(t.Context(), "key", bytes.NewReader(data), int64(len(data)), storage.Digest(data), storage.Condition{IfAbsent: true})
	if !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("large: %v", err)
	}
	if n := f.count("PUT"); n != 0 {
		t.Errorf("a large body was sent %d times in vain", n)
	}
	if _, err := put(t, b, "small", storage.Condition{IfAbsent: true}); !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("small: %v", err)
	}
}

// TestForeignObject: the object in the way was written by another tool, without
// a digest.
func TestForeignObject(t *testing.T) {
	f, b := newFake(t)
	f.objects["key"] = fakeObject{data: []byte("same")}
	if info, err := put(t, b, "same", storage.Condition{IfAbsent: true}); err != nil || info.SHA256 != storage.Digest([]byte("same")) {
		t.Errorf("the same bytes: %+v, %v", info, err)
	}
	if _, err := put(t, b, "else", storage.Condition{IfAbsent: true}); !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("other bytes of equal length: %v", err)
	}
	f.objects["key"] = fakeObject{data: []byte("same"), digest: "no digest"}
	if info, err := b.Stat(t.Context(), "key"); err != nil || info.SHA256 != "" {
		t.Errorf("metadata that is no digest: %+v, %v", info, err)
	}
}

func TestTruncatedBody(t *testing.T) {
	f, b := newFake(t)
	if _, err := put(t, b, "whole", storage.Condition{}); err != nil {
		t.Fatal(err)
	}
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		_, _ = w.Write([]byte("wh"))
		_ = http.NewResponseController(w).Flush()
		return hangUp(w)
	}
	r, _, err := b.Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err == nil {
		t.Errorf("read %q without an error", data)
	}
}

func TestErrorsTellNoSecrets(t *testing.T) {
	f, b := newFake(t)
	leak := "denied for " + accessKey + " with " + secretKey
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"403": func(w http.ResponseWriter, _ *http.Request) bool {
			return refuse(w, 403, "SignatureDoesNotMatch", leak)
		},
		"501":     func(w http.ResponseWriter, _ *http.Request) bool { return refuse(w, 501, "NotImplemented", leak) },
		"no XML":  func(w http.ResponseWriter, _ *http.Request) bool { http.Error(w, leak, 400); return true },
		"missing": func(w http.ResponseWriter, _ *http.Request) bool { return refuse(w, 404, "NoSuchBucket", leak) },
	} {
		f.before = answer
		_, putErr := put(t, b, "x", storage.Condition{})
		_, _, getErr := b.Get(t.Context(), "key")
		var listErr error
		for _, listErr = range b.List(t.Context(), "") {
		}
		for _, err := range []error{putErr, getErr, listErr, b.Delete(t.Context(), "key")} {
			if err == nil {
				t.Errorf("%s: no error", name)
				continue
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
				if strings.Contains(text, accessKey) || strings.Contains(text, secretKey) {
					t.Errorf("%s: the error shows a secret", name)
				}
			}
			if name == "missing" && !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("a missing bucket: %v", err)
			}
		}
	}
}

func TestMissingBucket(t *testing.T) {
	created := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			created = true
		case !created:
			refuse(w, http.StatusNotFound, "NoSuchKey", "as one store says it")
		}
	}))
	defer server.Close()
	config := s3.Config{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: accessKey, SecretKey: secretKey}
	if _, err := s3.Open(t.Context(), config); !errors.Is(err, storage.ErrNotFound) || !strings.Contains(err.Error(), `"bucket"`) {
		t.Errorf("a missing bucket: %v", err)
	}
	config.CreateBucket = true
	if _, err := s3.Open(t.Context(), config); err != nil || !created {
		t.Errorf("create: %v", err)
	}
}

func TestSync(t *testing.T) {
	var calls atomic.Int64
	failures := int64(2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/sync" {
			w.WriteHeader(http.StatusNotFound)
		} else if calls.Add(1) <= failures {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	open := func(url string) *s3.Bucket {
		c, err := s3.Connect(t.Context(), s3.Config{Endpoint: server.URL, AccessKey: accessKey, SecretKey: secretKey, SyncURL: url})
		if err != nil {
			t.Fatal(err)
		}
		return c.Bucket("bucket")
	}
	if err := open(server.URL + "/sync").Sync(t.Context()); err != nil || calls.Load() != 3 {
		t.Errorf("sync: %v after %d calls", err, calls.Load())
	}
	if err := open("").Sync(t.Context()); err != nil || calls.Load() != 3 {
		t.Errorf("sync without an address: %v", err)
	}
}
