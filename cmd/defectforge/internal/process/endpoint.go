package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
)

// endpoint serves what the outside asks of a worker: /metrics, /healthz (it
// lives) and /readyz (it can work). Nil where none is configured.
type endpoint struct {
	address  string
	server   *http.Server
	ready    *readiness
	draining atomic.Bool
}

// serveMetrics opens the endpoint of metrics.listen.
func (p *Process) serveMetrics(ctx context.Context, s *Session) (*endpoint, error) {
	if p.cfg.Metrics.Listen == "" {
		return nil, nil
	}
	t, err := p.observed(ctx)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.cfg.Metrics.Listen)
	if err != nil {
		return nil, console.Usage("metrics.listen: %w; choose another address, as each process needs its own", err)
	}
	e := &endpoint{address: l.Addr().String(), ready: &readiness{checks: s.checks(), fail: func(name string, err error) {
		p.log.Warn("not ready", "check", name, "error", err)
	}}}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", e.readyz)
	e.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := e.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("metrics and health are no longer served", "error", err)
		}
	}()
	p.console.Say("metrics    %s, also /healthz and /readyz", e.url())
	return e, nil
}

// url is where metrics are, "" where nothing is served.
func (e *endpoint) url() string {
	if e == nil {
		return ""
	}
	return "http://" + e.address + "/metrics"
}

// drain makes the endpoint say that no more work is taken on.
func (e *endpoint) drain() {
	if e != nil {
		e.draining.Store(true)
	}
}

func (e *endpoint) close() {
	if e != nil {
		_ = e.server.Close() // a request that is under way gets no answer
	}
}

// readyz says by its status whether the worker can work, and by its body what
// it lacks. Reasons are only logged: anybody may ask.
func (e *endpoint) readyz(w http.ResponseWriter, r *http.Request) {
	if e.draining.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "draining: running stages are handed over")
		return
	}
	found := e.ready.look(r.Context())
	for _, f := range found {
		if f.err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			break
		}
	}
	for _, f := range found {
		state := "ok"
		if f.err != nil {
			state = "does not answer as it should"
		}
		fmt.Fprintf(w, "%s: %s\n", f.name, state)
	}
}

// checks are what a worker needs.
func (s *Session) checks() []readinessCheck {
	return []readinessCheck{
		{"temporal", func(ctx context.Context) error {
			_, err := s.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
			return err
		}},
		{"store", func(ctx context.Context) error {
			exists, err := s.Bucket.Exists(ctx)
			if err == nil && !exists {
				err = errors.New("the bucket does not exist")
			}
			return err
		}},
	}
}

type readinessCheck struct {
	name string
	run  func(context.Context) error
}

type finding struct {
	name string
	err  error
}

const (
	readinessPatience = 5 * time.Second
	readinessFresh    = 5 * time.Second // findings are kept this long, no matter how many ask
)

// readiness runs checks when somebody asks, and not too often.
type readiness struct {
	checks []readinessCheck
	fail   func(name string, err error)

	mu    sync.Mutex
	at    time.Time
	found []finding
}

func (r *readiness) look(ctx context.Context) []finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found != nil && time.Since(r.at) < readinessFresh {
		return r.found
	}
	// A request that goes away does not cut this short: others get the same
	// findings.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readinessPatience)
	defer cancel()
	found := make([]finding, len(r.checks))
	var group sync.WaitGroup
	for i, c := range r.checks {
		group.Go(func() { found[i] = finding{c.name, c.run(ctx)} })
	}
	group.Wait()
	for _, f := range found {
		if f.err != nil {
			r.fail(f.name, f.err)
		}
	}
	r.at, r.found = time.Now(), found
	return found
}
