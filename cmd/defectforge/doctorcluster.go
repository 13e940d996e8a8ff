package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/process"
	"github.com/defectforge/defectforge/config"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/release"
)

// cluster checks a configured Temporal and store, each as far as it answers.
func (d *doctor) cluster(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*doctorPatience)
	defer cancel()
	place, _ := d.app.cfg.Place() // checked by the caller
	s := d.app.process.Unconnected(place)
	defer s.Close()
	if err := s.ConnectTemporal(ctx); err != nil {
		d.fail("temporal", "check TEMPORAL_ADDRESS, TEMPORAL_TLS_... and TEMPORAL_API_KEY, and that the server runs", "%v", err)
	} else {
		d.temporal(ctx, s)
	}
	if err := s.ConnectStore(ctx); err != nil {
		d.fail("store", process.StoreRemedy(err, d.app.cfg.Store.Bucket), "%v", err)
		return
	}
	d.ok("store", "%s, bucket %s, credentials accepted", d.app.cfg.Store.Endpoint, d.app.cfg.Store.Bucket)
	d.clock(ctx)
	d.conditional(ctx, s.Bucket)
	d.publisher(ctx, s.Bucket)
}

func (d *doctor) temporal(ctx context.Context, s *process.Session) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	ns := s.Place.Namespace
	_, err := s.Temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: ns})
	if err != nil {
		d.fail("temporal", "create the namespace with `temporal operator namespace create --namespace "+ns+"`, or set TEMPORAL_NAMESPACE",
			"namespace %s: %v", ns, err)
		return
	}
	d.ok("temporal", "answers, namespace %s exists", ns)
	missing, err := process.MissingSearchAttributes(ctx, s.Temporal, ns)
	fixed := false
	if err == nil && len(missing) > 0 && d.fix {
		_, err = process.EnsureSearchAttributes(ctx, s.Temporal, ns)
		fixed = err == nil
	}
	switch {
	case err != nil:
		d.warn("search attributes", process.CreateCommand(ns, missing), "%v", err)
	case fixed:
		d.ok("search attributes", "registered %s", strings.Join(missing, ", "))
	case len(missing) > 0:
		d.fail("search attributes", "`defectforge doctor --fix` registers them, or: "+process.CreateCommand(ns, missing),
			"missing: %s", strings.Join(missing, ", "))
	default:
		d.ok("search attributes", "all registered")
	}
}

// Stores refuse requests whose time differs by more than a quarter of an hour.
const (
	skewWarn = 10 * time.Second
	skewFail = 10 * time.Minute
)

func (d *doctor) clock(ctx context.Context) {
	scheme := "http://"
	if d.app.cfg.Store.Secure {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+d.app.cfg.Store.Endpoint+"/", nil)
	if err != nil {
		return // the endpoint's own check says more
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	_ = resp.Body.Close()
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		d.ok("clock", "the store gives no time")
		return
	}
	skew := began.Sub(there).Abs()
	const remedy = "set this machine's clock by NTP"
	switch {
	case skew > skewFail:
		d.fail("clock", remedy, "differs from the store's by %s; it will refuse requests", skew.Round(time.Second))
	case skew > skewWarn:
		d.warn("clock", remedy, "differs from the store's by %s", skew.Round(time.Second))
	default:
		d.ok("clock", "agrees with the store's")
	}
}

// conditional checks what publishing rests on: that a write which must not
// replace anything does not.
func (d *doctor) conditional(ctx context.Context, b storage.Bucket) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	key := "doctor/probe-" + strings.ToLower(rand.Text())
	put := func(text string, c storage.Condition) (storage.Info, error) {
		raw := []byte(text)
		return b.Put(ctx, key, bytes.NewReader(raw), int64(len(raw)), storage.Digest(raw), c)
	}
	defer func() { _ = b.Delete(context.WithoutCancel(ctx), key) }() // a probe left behind does no harm
	const remedy = "allow reading, writing and deleting in the bucket"
	first, err := put("first", storage.Condition{IfAbsent: true})
	if err != nil {
		d.fail("conditional writes", remedy, "write a probe: %v", err)
		return
	}
	_, absent := put("second", storage.Condition{IfAbsent: true})
	_, stale := put("third", storage.Condition{IfETag: "00000000000000000000000000000000"})
	_, right := put("fourth", storage.Condition{IfETag: first.ETag})
	switch {
	case !errors.Is(absent, storage.ErrPrecondition) || !errors.Is(stale, storage.ErrPrecondition):
		d.fail("conditional writes", "use a store that honours If-None-Match and If-Match; publishing is not safe without",
			"not honoured: If-None-Match gave %v, If-Match %v", absent, stale)
	case right != nil:
		d.fail("conditional writes", remedy, "If-Match with the right ETag: %v", right)
	default:
		d.ok("conditional writes", "honoured")
	}
}

// publisher checks that the publisher may write below releases/, and that the
// store's own credential may not.
func (d *doctor) publisher(ctx context.Context, trainer storage.Bucket) {
	own, err := d.app.process.Publisher(config.RoleIO)
	if err != nil {
		d.fail("publisher", "check publisher.access_key and publisher.secret_key", "%v", err)
		return
	}
	if own == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	// No class has this name, and nothing lists it.
	key := release.Root + "-doctor/probe-" + strings.ToLower(rand.Text())
	put := func(b storage.Bucket) error {
		raw := []byte("probe")
		_, err := b.Put(ctx, key, bytes.NewReader(raw), int64(len(raw)), storage.Digest(raw), storage.Condition{})
		return err
	}
	clean := func(b storage.Bucket) { _ = b.Delete(context.WithoutCancel(ctx), key) } // a probe left behind does no harm
	const remedy = "see deploy/policies: the publisher writes below releases/, the store's credential everywhere else"
	if err := put(own); err != nil {
		d.fail("publisher", remedy, "write a probe: %v", err)
		return
	}
	clean(own)
	if put(trainer) == nil {
		clean(trainer)
		d.warn("publisher", remedy, "the store's own credential may write below releases/ as well")
		return
	}
	d.ok("publisher", "may write below releases/, and the store's own credential may not")
}
