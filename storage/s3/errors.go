package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/defectforge/defectforge/storage"
)

// Error is a refusal or failure of the store.
type Error struct {
	Op     string // what was tried, and on what
	Code   string // of S3, may be empty
	Status int    // of HTTP, 0 if there was no answer
	Text   string // free of secrets
	kind   error  // for errors.Is
}

func (e *Error) Error() string {
	text := e.Op
	if e.kind != nil {
		text += ": " + e.kind.Error()
	}
	if e.Text != "" && (e.kind == nil || e.kind.Error() != e.Text) {
		text += ": " + e.Text
	}
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	return text
}

func (e *Error) Unwrap() error { return e.kind }

// fail describes err, which came from the library while doing op.
func (c *Client) fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	e := &Error{Op: op, Text: c.scrub(reason(err))}
	var response minio.ErrorResponse
	if errors.As(err, &response) {
		e.Code, e.Status = response.Code, response.StatusCode
	}
	switch {
	case ctx.Err() != nil:
		e.kind = context.Cause(ctx)
		if !errors.Is(e.kind, ctx.Err()) {
			e.kind = ctx.Err()
		}
		e.Text = ""
	case errors.Is(err, storage.ErrCorrupt):
		e.kind, e.Text = storage.ErrCorrupt, strings.TrimPrefix(e.Text, storage.ErrCorrupt.Error()+": ")
	default:
		e.kind = kind(e.Code, e.Status)
	}
	if e.Code == "NotImplemented" {
		e.Text += "; the store lacks a function that publishing needs (conditional writes)"
	}
	return e
}

// kind is the driver contract's error for what the store said.
func kind(code string, status int) error {
	switch code {
	case "NoSuchKey", "NoSuchBucket", "NotFound":
		return storage.ErrNotFound
	case "PreconditionFailed":
		return storage.ErrPrecondition
	case "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "BadDigest":
		return storage.ErrCorrupt
	}
	switch status {
	case http.StatusNotFound:
		return storage.ErrNotFound
	case http.StatusPreconditionFailed:
		return storage.ErrPrecondition
	}
	return nil
}

// reason is err's text without the URL that net/http puts in front of it.
func reason(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}

func (c *Client) scrub(text string) string {
	for _, s := range c.secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	return text
}

func (b *Bucket) op(verb, key string) string {
	if key == "" {
		return fmt.Sprintf("%s bucket %q at %s", verb, b.name, b.client.host)
	}
	return fmt.Sprintf("%s %q in bucket %q", verb, key, b.name)
}
