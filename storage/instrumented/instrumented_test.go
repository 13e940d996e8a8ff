package instrumented

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/memory"
	"github.com/defectforge/defectforge/storage/storagetest"
)

func TestObservedBucketKeepsTheContract(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	storagetest.Run(t, func(*testing.T) storage.Bucket {
		return New(memory.New(), m, noop.NewTracerProvider().Tracer(""))
	})
}

// watched is a bucket with five objects whose calls fail where plan says so.
func watched(t *testing.T, plan func(storagetest.Call) storagetest.Fault) (*Bucket, *prometheus.Registry, *tracetest.InMemoryExporter) {
	t.Helper()
	inner := memory.New()
	for _, key := range []string{"a/1", "a/2", "b"} {
		_, err := inner.Put(t.Context(), key, strings.NewReader("12345"), 5, storage.Digest([]byte("12345")), storage.Condition{})
		require.NoError(t, err)
	}
	r, spans := prometheus.NewRegistry(), tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
	return New(storagetest.NewFaulty(inner, plan), NewMetrics(r), tracer), r, spans
}

func count(t *testing.T, r *prometheus.Registry, op, outcome string) int {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != "defectforge_store_call_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == op && m.GetLabel()[1].GetValue() == outcome {
				return int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

func TestCallsAreCountedByOutcome(t *testing.T) {
	b, r, spans := watched(t, func(c storagetest.Call) storagetest.Fault {
		if c.Method == "Sync" || c.Key == "broken" {
			return storagetest.Before
		}
		return storagetest.None
	})
	ctx, stage := b.tracer.Start(t.Context(), "stage")
	store := storage.New(b)
	_, err := store.PutNamed(ctx, "c", []byte("1234567"))
	require.NoError(t, err)
	_, err = b.Put(ctx, "c", strings.NewReader("x"), 1, storage.Digest([]byte("x")), storage.Condition{IfAbsent: true})
	require.ErrorIs(t, err, storage.ErrPrecondition)
	_, _, err = store.ReadNamed(ctx, "b", 100)
	require.NoError(t, err)
	_, err = b.Stat(ctx, "nothing")
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, _, err = b.Get(ctx, "broken")
	require.ErrorIs(t, err, storagetest.ErrInjected)
	for range b.List(ctx, "a/") {
	}
	for range b.List(ctx, "a/") {
		break
	}
	for _, err := range b.List(ctx, "broken") {
		require.Error(t, err)
	}
	require.NoError(t, b.Delete(ctx, "c"))
	require.Error(t, b.Sync(ctx))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = b.Stat(cancelled, "b")
	require.ErrorIs(t, err, context.Canceled)

	for _, want := range []struct {
		op, outcome string
		n           int
	}{
		{"put", OK, 1}, {"put", Precondition, 1}, {"get", OK, 1}, {"get", Failed, 1}, {"stat", NotFound, 1},
		{"stat", Cancelled, 1}, {"list", OK, 2}, {"list", Failed, 1}, {"delete", OK, 1}, {"sync", Failed, 1},
	} {
		assert.Equal(t, want.n, count(t, r, want.op, want.outcome), "%s %s", want.op, want.outcome)
	}
	assert.NoError(t, testutil.GatherAndCompare(r, strings.NewReader(`
# HELP defectforge_store_bytes_total Bytes of objects written (put) and read (get).
# TYPE defectforge_store_bytes_total counter
defectforge_store_bytes_total{op="get"} 5
defectforge_store_bytes_total{op="put"} 7
`), "defectforge_store_bytes_total"))

	stage.End()
	failed := map[string]bool{}
	for _, s := range spans.GetSpans() {
		for _, a := range s.Attributes {
			assert.Contains(t, []string{"defectforge.key", "defectforge.prefix", "defectforge.keys", "defectforge.bytes", "defectforge.outcome"}, string(a.Key))
		}
		if s.Status.Code == codes.Error {
			failed[s.Name] = true
		}
	}
	assert.Len(t, spans.GetSpans(), 12)
	assert.Equal(t, map[string]bool{"store get": true, "store list": true, "store sync": true}, failed,
		"missing objects and conditions that do not hold are no failures")
}

// A reader that breaks half-way is a failed get.
func TestBrokenReader(t *testing.T) {
	b, r, _ := watched(t, func(storagetest.Call) storagetest.Fault { return storagetest.None })
	_, c := b.begin(t.Context(), opGet)
	body := &reader{call: c, r: io.NopCloser(io.MultiReader(strings.NewReader("123"), broken{}))}
	_, err := io.ReadAll(body)
	require.Error(t, err)
	assert.Zero(t, count(t, r, "get", Failed), "not before it is closed")
	require.NoError(t, body.Close())
	require.NoError(t, body.Close())
	assert.Equal(t, 1, count(t, r, "get", Failed))
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// The store's spans hang below the stage's, and there are none without one.
func TestSpansHaveParents(t *testing.T) {
	b, _, spans := watched(t, func(storagetest.Call) storagetest.Fault { return storagetest.None })
	_, err := b.Stat(t.Context(), "b")
	require.NoError(t, err)
	ctx, parent := b.tracer.Start(t.Context(), "stage")
	_, err = b.Stat(ctx, "b")
	require.NoError(t, err)
	parent.End()
	got := spans.GetSpans()
	require.Len(t, got, 2)
	assert.Equal(t, parent.SpanContext().SpanID(), got[0].Parent.SpanID())
}
