package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/defectforge/defectforge/model/kernel"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/s3"
)

// Outcomes of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "fail"
)

// check is one line of `doctor`.
type check struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// doctor gathers checks.
type doctor struct {
	p      *program
	fix    bool
	checks []check
}

func (d *doctor) ok(name, format string, args ...any) {
	d.checks = append(d.checks, check{name, checkOK, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(name, remedy, format string, args ...any) {
	d.checks = append(d.checks, check{name, checkWarn, fmt.Sprintf(format, args...), remedy})
}

func (d *doctor) fail(name, remedy, format string, args ...any) {
	d.checks = append(d.checks, check{name, checkFail, fmt.Sprintf(format, args...), remedy})
}

func (p *program) doctorCommand() *cobra.Command {
	var fix bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check machine, store and Temporal, and say what to do",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.load(c); err != nil {
				return err
			}
			return p.doctor(c.Context(), fix)
		},
	}
	c.Flags().BoolVar(&fix, "fix", false, "register missing search attributes")
	return c
}

const doctorPatience = 20 * time.Second

func (p *program) doctor(ctx context.Context, fix bool) error {
	place, err := p.cfg.Place()
	if err != nil {
		return err
	}
	d := &doctor{p: p, fix: fix}
	d.machine()
	if place.Embedded {
		d.embedded(ctx)
	} else {
		d.cluster(ctx)
	}
	return d.tell()
}

func (d *doctor) tell() error {
	bad := 0
	for _, c := range d.checks {
		if c.Status == checkFail {
			bad++
		}
		d.p.print("%s  %-18s %s", d.p.paint.state(fmt.Sprintf("%-4s", c.Status)), c.Name, c.Detail)
		if c.Remedy != "" {
			d.p.print("      %-18s -> %s", "", c.Remedy)
		}
	}
	if d.p.json {
		if err := d.p.emit(struct {
			OK     bool    `json:"ok"`
			Checks []check `json:"checks"`
		}{bad == 0, d.checks}); err != nil {
			return err
		}
	}
	if bad > 0 {
		return &statusError{exitFailed, nil}
	}
	return nil
}

const (
	leastMemory = 2 << 30
	leastDisk   = 2 << 30
)

func (d *doctor) machine() {
	features := kernel.Features()
	if features == "go" {
		d.warn("processor", "training works, but slower; an x86-64 machine with AVX2 is several times as fast", "no vector instructions that are made use of, %s", runtime.GOARCH)
	} else {
		d.ok("processor", "%s, %s", runtime.GOARCH, features)
	}
	asked, cpus := d.p.cfg.Worker.Threads, runtime.GOMAXPROCS(0)
	if asked > cpus {
		d.warn("threads", "set worker.threads to "+strconv.Itoa(cpus)+" or 0: more would only slow each other, and Temporal, down", "%d are asked for, %d are used: there are no more processors", asked, cpus)
	} else {
		d.ok("threads", "%d of %d processors", d.p.threads(), cpus)
	}
	switch free, known := freeMemory(); {
	case !known:
		d.ok("memory", "how much is free is not known on %s", runtime.GOOS)
	case free < leastMemory:
		d.warn("memory", "close other programs, or train with lower depths", "%s free; the classic recipe wants about %s", humanize.IBytes(free), humanize.IBytes(leastMemory))
	default:
		d.ok("memory", "%s free", humanize.IBytes(free))
	}
}

// embedded checks the data folder and the stack in it, by running it.
func (d *doctor) embedded(ctx context.Context) {
	if !d.dataDir() {
		return
	}
	running, err := attachStack(ctx, d.p.cfg.Config)
	if err == nil && running == nil && !d.ports() {
		return
	}
	began := time.Now()
	s, err := d.p.open(ctx)
	if err != nil {
		d.fail("embedded stack", "see "+filepath.Join(d.p.cfg.DataDir, "logs"), "%v", err)
		return
	}
	defer s.close(d.p)
	if s.stack.mine() {
		d.ok("embedded stack", "starts, in %s", timeWords(time.Since(began).Seconds()))
	} else {
		d.ok("embedded stack", "runs already, UI at %s", s.stack.UIURL)
	}
	d.temporal(ctx, s)
	d.conditional(ctx, s.bucket)
}

func (d *doctor) dataDir() bool {
	dir := d.p.cfg.DataDir
	const remedy = "make it writable, or choose another with --data-dir"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		d.fail("data folder", remedy, "%v", err)
		return false
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		d.fail("data folder", remedy, "%v", err)
		return false
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	d.ok("data folder", "%s is writable", dir)
	switch free, known := freeDisk(dir); {
	case !known:
		d.ok("disk", "how much is free is not known on %s", runtime.GOOS)
	case free < leastDisk:
		d.warn("disk", "free some, or choose another --data-dir", "%s free", humanize.IBytes(free))
	default:
		d.ok("disk", "%s free", humanize.IBytes(free))
	}
	return true
}

// ports checks those that are configured; others are drawn from the free ones.
func (d *doctor) ports() bool {
	c, good := d.p.cfg.Devstack, true
	for _, p := range []struct {
		field string
		port  int
	}{{"devstack.temporal_port", c.TemporalPort}, {"devstack.ui_port", c.UIPort}, {"devstack.store_port", c.StorePort}} {
		if p.port == 0 {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)))
		if err != nil {
			good = false
			d.fail("ports", "set "+p.field+" to another port, or to 0 for a free one", "%s: %d: %v", p.field, p.port, err)
			continue
		}
		_ = l.Close()
	}
	if good {
		d.ok("ports", "those configured are free")
	}
	return good
}

// cluster checks a configured Temporal and store, each as far as it answers.
func (d *doctor) cluster(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*doctorPatience)
	defer cancel()
	place, _ := d.p.cfg.Place() // checked by the caller
	s := &session{place: place}
	defer s.close(d.p)
	if err := d.p.connectTemporal(ctx, s); err != nil {
		d.fail("temporal", "check TEMPORAL_ADDRESS, TEMPORAL_TLS_... and TEMPORAL_API_KEY, and that the server runs", "%v", err)
	} else {
		d.temporal(ctx, s)
	}
	if err := d.p.connectStore(ctx, s); err != nil {
		d.fail("store", storeRemedy(err, d.p.cfg.Store.Bucket), "%v", err)
		return
	}
	d.ok("store", "%s, bucket %s, credentials accepted", d.p.cfg.Store.Endpoint, d.p.cfg.Store.Bucket)
	d.clock(ctx)
	d.conditional(ctx, s.bucket)
	d.publisher(ctx, s.bucket)
}

func storeRemedy(err error, bucket string) string {
	switch {
	case errors.Is(err, s3.ErrNoCredentials):
		return "set DEFECTFORGE_STORE_ACCESS_KEY and DEFECTFORGE_STORE_SECRET_KEY, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN"
	case errors.Is(err, storage.ErrNotFound):
		return "create the bucket " + bucket + ", or set DEFECTFORGE_STORE_CREATE_BUCKET=true"
	}
	return "check store.endpoint, store.secure (https or http) and the credentials' permissions"
}

func (d *doctor) temporal(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	ns := s.place.Namespace
	if _, err := s.temp.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: ns}); err != nil {
		d.fail("temporal", "create the namespace with `temporal operator namespace create --namespace "+ns+"`, or set TEMPORAL_NAMESPACE", "namespace %s: %v", ns, err)
		return
	}
	d.ok("temporal", "answers, namespace %s exists", ns)
	missing, err := missingSearchAttributes(ctx, s.temp, ns)
	fixed := false
	if err == nil && len(missing) > 0 && d.fix {
		_, err = ensureSearchAttributes(ctx, s.temp, ns)
		fixed = err == nil
	}
	switch {
	case err != nil:
		d.warn("search attributes", createCommand(ns, missing), "%v", err)
	case fixed:
		d.ok("search attributes", "registered %s", strings.Join(missing, ", "))
	case len(missing) > 0:
		d.fail("search attributes", "`defectforge doctor --fix` registers them, or: "+createCommand(ns, missing), "missing: %s", strings.Join(missing, ", "))
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
	if d.p.cfg.Store.Secure {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+d.p.cfg.Store.Endpoint+"/", nil)
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
		d.ok("clock", "the store tells no time")
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
	defer func() { _ = b.Delete(context.WithoutCancel(ctx), key) }() // a probe left behind is in nobody's way
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
