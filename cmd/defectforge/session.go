package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
)

// embedded is the stack that this process runs, or that another process runs
// for the same data folder.
type embedded struct {
	TemporalAddress, Namespace, UIURL         string
	StoreEndpoint, AccessKey, SecretKey, Sync string

	failed <-chan error                // a part died for good; nil where attached
	stop   func(context.Context) error // nil where attached
}

// mine reports whether this process runs the stack, and so should run a worker.
func (e *embedded) mine() bool { return e.stop != nil }

// session is what a command works with.
type session struct {
	place config.Place
	stack *embedded // nil in a cluster
	temp  client.Client
	// payloads reads what temp leaves as Temporal keeps it.
	payloads payloads
	bucket   *s3.Bucket
	store    *storage.Store

	observe func(storage.Bucket) storage.Bucket
}

const stopPatience = 40 * time.Second

// close ends connections and the stack, if it is ours.
func (s *session) close(p *program) {
	if s.temp != nil {
		s.temp.Close()
	}
	if s.bucket != nil {
		s.bucket.Client().Close()
	}
	if s.stack != nil && s.stack.mine() {
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		if err := s.stack.stop(ctx); err != nil {
			p.log.Warn("stop the embedded stack", "error", err)
		}
	}
}

// open connects to Temporal and the store: the cluster's, those of an embedded
// stack that runs already, or those of one started for this process.
func (p *program) open(ctx context.Context) (*session, error) {
	place, err := p.cfg.Place()
	if err != nil {
		return nil, err
	}
	s := &session{place: place}
	if place.Embedded {
		if s.stack, err = p.embeddedStack(ctx); err != nil {
			return nil, err
		}
	}
	if err = p.connectTemporal(ctx, s); err == nil {
		err = p.connectStore(ctx, s)
	}
	if err != nil {
		s.close(p)
		return nil, fmt.Errorf("%w; `defectforge doctor` says what to do", err)
	}
	return s, nil
}

// openStore connects to the store alone: who verifies or fetches releases needs
// no Temporal.
func (p *program) openStore(ctx context.Context) (*session, error) {
	if p.cfg.Store.Endpoint == "" {
		return p.open(ctx)
	}
	s := &session{}
	if err := p.connectStore(ctx, s); err != nil {
		return nil, fmt.Errorf("%w; %s", err, storeRemedy(err, p.cfg.Store.Bucket))
	}
	return s, nil
}

// embeddedStack attaches to the stack of the data folder, or starts it. Another
// process may be just starting or stopping it, so both are tried for a while.
func (p *program) embeddedStack(ctx context.Context) (*embedded, error) {
	if err := p.logToFile(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(stopPatience)
	for {
		e, err := attachStack(ctx, p.cfg.Config)
		if err != nil {
			return nil, err
		}
		if e != nil {
			return e, nil
		}
		e, err = p.startOwnStack(ctx)
		if err == nil {
			return e, nil
		}
		if !errors.Is(err, errStackLocked) || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (p *program) connectTemporal(ctx context.Context, s *session) error {
	options := s.place.Client
	if s.stack != nil {
		options = client.Options{HostPort: s.stack.TemporalAddress, Namespace: s.stack.Namespace}
		s.place.Namespace = s.stack.Namespace
	}
	options.Logger = p.temporalLogger()
	kept, err := p.payloads()
	if err != nil {
		return err
	}
	options.DataConverter, options.FailureConverter = kept.data, kept.failures
	told, err := p.tell(ctx)
	if err != nil {
		return err
	}
	told.client(&options)
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return fmt.Errorf("connect to Temporal at %s: %w", options.HostPort, err)
	}
	s.temp, s.payloads = c, kept
	return nil
}

func (p *program) connectStore(ctx context.Context, s *session) error {
	c := p.cfg.Store
	options := p.storeConfig(c.AccessKey, c.SecretKey)
	options.CreateBucket = c.CreateBucket
	if s.stack != nil {
		options = s3.Config{
			Endpoint: s.stack.StoreEndpoint, Region: c.Region, Bucket: c.Bucket,
			AccessKey: s.stack.AccessKey, SecretKey: s.stack.SecretKey,
			CreateBucket: true, SyncURL: s.stack.Sync,
		}
	}
	b, err := s3.Open(ctx, options)
	if err != nil {
		return fmt.Errorf("open the store at %s: %w", options.Endpoint, err)
	}
	told, err := p.tell(ctx)
	if err != nil {
		return err
	}
	s.bucket, s.observe = b, told.bucket
	s.store = storage.New(s.observe(b))
	return nil
}

// source opens the bucket that images are read from.
func (s *session) source(ctx context.Context, bucket string) (storage.Reader, error) {
	return s.observe(s.bucket.Client().Bucket(bucket)), nil
}

// runURL is the run's page in the embedded web UI, "" in a cluster, whose UI's
// address nobody told us.
func (s *session) runURL(run step.Run) string {
	if s.stack == nil {
		return ""
	}
	return s.stack.UIURL + "/namespaces/" + url.PathEscape(s.stack.Namespace) + "/workflows/" +
		url.PathEscape(run.WorkflowID) + "/" + url.PathEscape(run.RunID) + "/history"
}

func (s *session) linkNote(run step.Run) string {
	if u := s.runURL(run); u != "" {
		return ", history at " + u
	}
	return ""
}
