// Package instrumented counts, times and traces what a bucket is asked for. It is a
// decorator: drivers know nothing of it.
package instrumented

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/defectforge/defectforge/storage"
)

// Outcomes of a call, the values of the label "outcome". Missing objects and
// conditions that do not hold are answers, not failures: that is what was asked.
const (
	OK           = "ok"
	NotFound     = "not_found"
	Precondition = "precondition"
	Cancelled    = "cancelled"
	Failed       = "error"
)

// Operations, the values of the label "op".
const (
	opPut    = "put"
	opGet    = "get"
	opStat   = "stat"
	opList   = "list"
	opDelete = "delete"
	opSync   = "sync"
)

// Metrics are the counts of one or more buckets. Keys are not labels: there is no
// end to them.
type Metrics struct {
	calls *prometheus.HistogramVec
	bytes *prometheus.CounterVec
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "defectforge_store_call_duration_seconds",
			Help:    "Duration of calls to the store; a get lasts until its reader is closed, a list until its last key was taken.",
			Buckets: []float64{0.005, 0.025, 0.1, 0.5, 2.5, 10, 60},
		}, []string{"op", "outcome"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "defectforge_store_bytes_total",
			Help: "Bytes of objects written (put) and read (get).",
		}, []string{"op"}),
	}
	for _, op := range []string{opPut, opGet} {
		m.bytes.WithLabelValues(op)
	}
	for _, op := range ops { // zero from the start, so that the first failure is seen as an increase
		m.calls.WithLabelValues(op, Failed)
	}
	r.MustRegister(m.calls, m.bytes)
	return m
}

var ops = []string{opPut, opGet, opStat, opList, opDelete, opSync}

// Values are the values that labels can have, by metric and label.
func Values() map[string]map[string][]string {
	return map[string]map[string][]string{
		"defectforge_store_call_duration_seconds": {
			"op":      ops,
			"outcome": {OK, NotFound, Precondition, Cancelled, Failed},
		},
		"defectforge_store_bytes_total": {"op": {opPut, opGet}},
	}
}

// Bucket is an instrumented storage.Bucket.
type Bucket struct {
	bucket  storage.Bucket
	metrics *Metrics
	tracer  trace.Tracer
}

// New instruments b. Spans are children of the caller's; where there is none, as
// outside of stages, calls are not traced.
func New(b storage.Bucket, m *Metrics, t trace.Tracer) *Bucket {
	return &Bucket{bucket: b, metrics: m, tracer: t}
}

// call is one call under way.
type call struct {
	b     *Bucket
	op    string
	began time.Time
	span  trace.Span
}

func (b *Bucket) begin(ctx context.Context, op string, attributes ...attribute.KeyValue) (context.Context, *call) {
	span := trace.SpanFromContext(ctx)
	if span.SpanContext().IsValid() {
		ctx, span = b.tracer.Start(ctx, "store "+op, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	}
	return ctx, &call{b: b, op: op, began: time.Now(), span: span}
}

// end records the call's outcome and returns err.
func (c *call) end(err error) error {
	result := outcome(err)
	c.b.metrics.calls.WithLabelValues(c.op, result).Observe(time.Since(c.began).Seconds())
	c.span.SetAttributes(attribute.String("defectforge.outcome", result))
	if result == Failed {
		c.span.SetStatus(codes.Error, err.Error())
	}
	c.span.End()
	return err
}

func (c *call) moved(n int64) {
	c.b.metrics.bytes.WithLabelValues(c.op).Add(float64(n))
	c.span.SetAttributes(sizeOf(n))
}

func outcome(err error) string {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, storage.ErrNotFound):
		return NotFound
	case errors.Is(err, storage.ErrPrecondition):
		return Precondition
	case errors.Is(err, context.Canceled):
		return Cancelled
	}
	return Failed
}

func keyOf(key string) attribute.KeyValue { return attribute.String("defectforge.key", key) }
func sizeOf(n int64) attribute.KeyValue   { return attribute.Int64("defectforge.bytes", n) }

// Put implements storage.Bucket.
func (b *Bucket) Put(
	ctx context.Context, key string, body io.ReadSeeker, size int64, sha256 string, cond storage.Condition,
) (storage.Info, error) {
	ctx, c := b.begin(ctx, opPut, keyOf(key))
	info, err := b.bucket.Put(ctx, key, body, size, sha256, cond)
	if err == nil {
		c.moved(size)
	}
	return info, c.end(err)
}

// Get implements storage.Bucket.
func (b *Bucket) Get(ctx context.Context, key string) (io.ReadCloser, storage.Info, error) {
	ctx, c := b.begin(ctx, opGet, keyOf(key))
	r, info, err := b.bucket.Get(ctx, key)
	if err != nil {
		return nil, info, c.end(err)
	}
	return &reader{r: r, call: c}, info, nil
}

// reader ends a get when it is closed.
type reader struct {
	r      io.ReadCloser
	call   *call
	n      int64
	failed error
	closed bool
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		r.failed = err
	}
	return n, err
}

func (r *reader) Close() error {
	err := r.r.Close()
	if !r.closed {
		r.closed = true
		r.call.moved(r.n)
		_ = r.call.end(r.failed) // reported by Read
	}
	return err
}

// Stat implements storage.Bucket.
func (b *Bucket) Stat(ctx context.Context, key string) (storage.Info, error) {
	ctx, c := b.begin(ctx, opStat, keyOf(key))
	info, err := b.bucket.Stat(ctx, key)
	return info, c.end(err)
}

// List implements storage.Bucket.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return b.list(ctx, prefix, b.bucket.List)
}

// Folders implements storage.FolderLister as well as the bucket beneath does.
func (b *Bucket) Folders(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return b.list(ctx, prefix, func(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
		return storage.Folders(ctx, b.bucket, prefix)
	})
}

func (b *Bucket) list(
	ctx context.Context, prefix string, list func(context.Context, string) iter.Seq2[storage.Info, error],
) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		ctx, c := b.begin(ctx, opList, attribute.String("defectforge.prefix", prefix))
		keys, failed := 0, error(nil)
		defer func() {
			c.span.SetAttributes(attribute.Int("defectforge.keys", keys))
			_ = c.end(failed) // yielded
		}()
		for info, err := range list(ctx, prefix) {
			if failed = err; err == nil {
				keys++
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete implements storage.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	ctx, c := b.begin(ctx, opDelete, keyOf(key))
	return c.end(b.bucket.Delete(ctx, key))
}

// Sync implements storage.Bucket.
func (b *Bucket) Sync(ctx context.Context) error {
	ctx, c := b.begin(ctx, opSync)
	return c.end(b.bucket.Sync(ctx))
}
