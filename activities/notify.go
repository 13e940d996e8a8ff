package activities

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"go.temporal.io/sdk/activity"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

const (
	// noticeType begins the types of our events.
	noticeType = "io.defectforge."
	// SignatureHeader carries "sha256=" and the HMAC-SHA256 of the body, in
	// lower-case hex, where the webhook has a secret.
	SignatureHeader = "X-Defectforge-Signature-256"
	// webhookPatience bounds one call.
	webhookPatience = 15 * time.Second
)

// Webhook is where notices go.
type Webhook struct {
	URL    string // empty for nowhere
	Secret string // signs the body; empty for no signature
}

// Notifier sends word to whoever a run waits for.
type Notifier struct {
	Webhook Webhook
	Client  *http.Client // nil for one of its own
	Lineage Lineage      // gets the events of runs that failed
}

// Notify posts the notice as a CloudEvent, structured JSON of version 1.0. Its
// identifier is the same in every attempt, so that a receiver can recognise a
// repetition. Without a webhook nothing is sent, and that is no failure.
// Redirections are not followed: the body is for one address alone.
func (n Notifier) Notify(ctx context.Context, in step.NotifyInput) (step.NotifyResult, error) {
	n.Lineage.failed(ctx, in.Notice)
	if n.Webhook.URL == "" {
		return step.NotifyResult{}, nil
	}
	body, err := cloudEvent(in.Notice, activity.GetInfo(ctx).ScheduledTime)
	if err != nil {
		return step.NotifyResult{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, webhookPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.Webhook.URL, bytes.NewReader(body))
	if err != nil {
		return step.NotifyResult{}, ledger.Permanent(step.ErrBadInput, "notify.webhook: %w", bare(err))
	}
	request.Header.Set("Content-Type", event.ApplicationCloudEventsJSON+"; charset=utf-8")
	if n.Webhook.Secret != "" {
		mac := hmac.New(sha256.New, []byte(n.Webhook.Secret))
		mac.Write(body)
		request.Header.Set(SignatureHeader, "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	if err := deliver(n.Client, request, "webhook"); err != nil {
		return step.NotifyResult{}, err
	}
	return step.NotifyResult{Sent: true}, nil
}

// deliver sends a request to what, which must accept it; the answer's body is
// ignored. It follows no redirections, and its errors name no addresses.
func deliver(client *http.Client, request *http.Request, what string) error {
	client = cmp.Or(client, &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }})
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("call %s at %s: %w", what, request.URL.Host, bare(err))
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // so that the connection can be used again
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("call %s at %s: it answered %s", what, request.URL.Host, answer.Status)
	}
	return nil
}

// cloudEvent renders a notice.
func cloudEvent(n step.Notice, at time.Time) ([]byte, error) {
	e := event.New(event.CloudEventsVersionV1)
	e.SetID(spec.Digest([]any{n.Kind, n.Run}))
	e.SetType(noticeType + n.Kind)
	e.SetSource("/" + ledger.RunPrefix(n.Run))
	e.SetSubject(n.Run.WorkflowID)
	e.SetTime(at.UTC())
	if err := e.SetData(event.ApplicationJSON, n); err != nil {
		return nil, fmt.Errorf("encode notice: %w", err)
	}
	if err := e.Validate(); err != nil {
		return nil, ledger.Permanent(step.ErrBadInput, "notice: %w", err)
	}
	raw, err := json.Marshal(e)
	return raw, ledger.Wrap("encode notice", err)
}

// bare is err without the address that a client puts into it: many webhooks have
// a secret in theirs.
func bare(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}
