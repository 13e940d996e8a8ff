package process

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	sdk "go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
)

// Session is what a command works with: connections, and the stack that they
// lead to.
type Session struct {
	// Place is the configured Temporal, with the namespace that is used.
	Place config.Place
	// Stack is nil in a cluster.
	Stack *Stack
	// Temporal is nil where only the store is open.
	Temporal sdk.Client
	// Payloads reads what Temporal keeps.
	Payloads client.Payloads
	// Bucket and Store are the same bucket, the latter observed and with digests
	// checked. They are nil where only Temporal is connected.
	Bucket *s3.Bucket
	Store  *storage.Store

	process *Process
	observe func(storage.Bucket) storage.Bucket
}

// Owns reports whether this process runs the stack, so that nobody but this
// process works on anything.
func (s *Session) Owns() bool { return s.Stack != nil && s.Stack.Mine() }

// Client starts and follows workflows.
func (s *Session) Client() *client.Client {
	return &client.Client{
		Temporal: s.Temporal, Payloads: s.Payloads, Namespace: s.Place.Namespace, Queue: s.process.cfg.Temporal.TaskQueue,
	}
}

const stopPatience = 40 * time.Second

// Close ends connections, and the stack where this process runs it.
func (s *Session) Close() {
	if s.Temporal != nil {
		s.Temporal.Close()
	}
	if s.Bucket != nil {
		s.Bucket.Client().Close()
	}
	if s.Owns() {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		if err := s.Stack.stop(ctx); err != nil {
			s.process.log.Warn("stop the embedded stack", "error", err)
		}
	}
}

// Open connects to Temporal and the store: the cluster's, those of an embedded
// stack that runs already, or those of one started for this process.
func (p *Process) Open(ctx context.Context) (*Session, error) {
	place, err := p.cfg.Place()
	if err != nil {
		return nil, err
	}
	s := p.Unconnected(place)
	if place.Embedded {
		if s.Stack, err = p.embeddedStack(ctx); err != nil {
			return nil, err
		}
	}
	if err = s.ConnectTemporal(ctx); err == nil {
		err = s.ConnectStore(ctx)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("%w; `defectforge doctor` says what to do", err)
	}
	return s, nil
}

// OpenStore connects to the store alone: whoever verifies or fetches releases
// needs no Temporal.
func (p *Process) OpenStore(ctx context.Context) (*Session, error) {
	if p.cfg.Store.Endpoint == "" {
		return p.Open(ctx)
	}
	s := p.Unconnected(config.Place{})
	if err := s.ConnectStore(ctx); err != nil {
		return nil, fmt.Errorf("%w; %s", err, StoreRemedy(err, p.cfg.Store.Bucket))
	}
	return s, nil
}

// ErrNothingRuns: there is no stack and no cluster to ask.
var ErrNothingRuns = errors.New("no stack runs")

// Glance is a session with a cluster, or with a stack that runs already, which
// is connected to nothing yet. It starts nothing.
func (p *Process) Glance(ctx context.Context) (*Session, error) {
	place, err := p.cfg.Place()
	if p.cfg.Store.Endpoint != "" {
		return p.Unconnected(place), nil // the store alone is enough for releases
	}
	if err != nil {
		return nil, err
	}
	s := p.Unconnected(place)
	if s.Stack, err = p.Running(ctx); err == nil && s.Stack == nil {
		err = ErrNothingRuns
	}
	return s, err
}

// Unconnected is a session for a place that is connected to nothing yet.
func (p *Process) Unconnected(place config.Place) *Session { return &Session{Place: place, process: p} }

// ConnectTemporal connects to Temporal, the stack's where there is one.
func (s *Session) ConnectTemporal(ctx context.Context) error {
	p, options := s.process, s.Place.Client
	if s.Stack != nil {
		options = sdk.Options{HostPort: s.Stack.TemporalAddress, Namespace: s.Stack.Namespace}
		s.Place.Namespace = s.Stack.Namespace
	}
	options.Logger = p.temporalLogger()
	kept, err := p.payloads()
	if err != nil {
		return err
	}
	options.DataConverter, options.FailureConverter = kept.Data, kept.Failures
	t, err := p.observed(ctx)
	if err != nil {
		return err
	}
	t.client(&options)
	c, err := sdk.DialContext(ctx, options)
	if err != nil {
		return fmt.Errorf("connect to Temporal at %s: %w", options.HostPort, err)
	}
	s.Temporal, s.Payloads = c, kept
	return nil
}

// ConnectStore opens the bucket, the stack's where there is one.
func (s *Session) ConnectStore(ctx context.Context) error {
	p, c := s.process, s.process.cfg.Store
	options := p.storeConfig(c.AccessKey, c.SecretKey)
	options.CreateBucket = c.CreateBucket
	if s.Stack != nil {
		options = s3.Config{
			Endpoint: s.Stack.StoreEndpoint, Region: c.Region, Bucket: c.Bucket,
			AccessKey: s.Stack.accessKey, SecretKey: s.Stack.secretKey,
			CreateBucket: true, SyncURL: s.Stack.sync,
		}
	}
	b, err := s3.Open(ctx, options)
	if err != nil {
		return fmt.Errorf("open the store at %s: %w", options.Endpoint, err)
	}
	t, err := p.observed(ctx)
	if err != nil {
		return err
	}
	s.Bucket, s.observe = b, t.bucket
	s.Store = storage.New(s.observe(b))
	return nil
}

// StoreRemedy says what to do where the store could not be opened.
func StoreRemedy(err error, bucket string) string {
	switch {
	case errors.Is(err, s3.ErrNoCredentials):
		return "set DEFECTFORGE_STORE_ACCESS_KEY and DEFECTFORGE_STORE_SECRET_KEY, or AWS_ACCESS_KEY_ID and " +
			"AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN"
	case errors.Is(err, storage.ErrNotFound):
		return "create the bucket " + bucket + ", or set DEFECTFORGE_STORE_CREATE_BUCKET=true"
	}
	return "check store.endpoint, store.secure (https or http) and the credentials' permissions"
}

// Source opens a bucket that images are read from.
func (s *Session) Source(_ context.Context, bucket string) (storage.Reader, error) {
	return s.observe(s.Bucket.Client().Bucket(bucket)), nil
}

// RunURL is a workflow's page in the embedded web UI, "" in a cluster, whose
// UI's address is not known here.
func (s *Session) RunURL(run step.Run) string {
	if s.Stack == nil {
		return ""
	}
	return s.Stack.UIURL + "/namespaces/" + url.PathEscape(s.Stack.Namespace) + "/workflows/" +
		url.PathEscape(run.WorkflowID) + "/" + url.PathEscape(run.RunID) + "/history"
}
