package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"

	"github.com/defectforge/defectforge/activities/observe"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/storage"
	"github.com/defectforge/defectforge/storage/instrumented"
	"github.com/defectforge/defectforge/workflows"
)

// telemetry is what this process reports of itself: metrics, and traces where
// the environment names a collector.
type telemetry struct {
	registry *prometheus.Registry
	stages   *observe.Metrics
	store    *instrumented.Metrics
	sdk      client.MetricsHandler // nil where nobody can ask
	tracer   trace.Tracer
	tracing  interceptor.Interceptor // nil without a collector
	provider *sdktrace.TracerProvider
}

// observed makes the process's telemetry, the first time.
func (p *Process) observed(ctx context.Context) (*telemetry, error) {
	if p.telemetry != nil {
		return p.telemetry, nil
	}
	t := &telemetry{registry: prometheus.NewRegistry(), tracer: noop.NewTracerProvider().Tracer("")}
	t.stages, t.store = observe.NewMetrics(t.registry), instrumented.NewMetrics(t.registry)
	v := ReadVersion()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "defectforge_build_info", Help: "1, with what this program was built from.",
	}, []string{"version", "revision", "go"})
	build.WithLabelValues(v.Version, v.Revision, v.Go).Set(1)
	t.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if p.cfg.Metrics.Listen != "" {
		if err := t.countSDK(p); err != nil {
			return nil, err
		}
	}
	if err := t.trace(ctx, p, v.Version); err != nil {
		return nil, err
	}
	p.telemetry = t
	return t, nil
}

// sdkBuckets are of the SDK's durations, in seconds: of requests as well as of
// stages.
var sdkBuckets = []float64{0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600, 3600}

// countSDK makes the Temporal SDK's own metrics part of the registry.
func (t *telemetry) countSDK(p *Process) error {
	exporter, err := otelprom.New(otelprom.WithRegisterer(t.registry), otelprom.WithoutScopeInfo(), otelprom.WithoutTargetInfo())
	if err != nil {
		return fmt.Errorf("prepare the SDK's metrics: %w", err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter), metric.WithView(metric.NewView(
		metric.Instrument{Kind: metric.InstrumentKindHistogram},
		metric.Stream{Aggregation: metric.AggregationExplicitBucketHistogram{Boundaries: sdkBuckets, NoMinMax: true}},
	)))
	t.sdk = opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter: provider.Meter("temporal-sdk-go"), UseMonotonicCounters: true,
		OnError: func(err error) { p.log.Warn("a metric of the SDK is left out", "error", err) },
	})
	return nil
}

// trace sends spans where OTEL_EXPORTER_OTLP_ENDPOINT, or its kin for traces
// alone, says. The exporters read the other OTEL_EXPORTER_OTLP_ variables, the
// provider those of sampling and limits.
func (t *telemetry) trace(ctx context.Context, p *Process, version string) error {
	exporter, err := traceExporter(ctx)
	if err != nil || exporter == nil {
		return err
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "defectforge"), attribute.String("service.version", version)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return console.Usage("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { p.log.Warn("traces are not sent", "error", err) }))
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	t.tracer = t.provider.Tracer("defectforge")
	// Questions are asked every second while somebody watches.
	t.tracing, err = opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{Tracer: t.tracer, DisableQueryTracing: true})
	if err != nil {
		return fmt.Errorf("prepare traces: %w", err)
	}
	return nil
}

// traceExporter is the exporter that the environment asks for, nil for none.
func traceExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	kind := cmp.Or(os.Getenv("OTEL_TRACES_EXPORTER"), "otlp")
	if endpoint == "" || kind == "none" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	if kind != "otlp" {
		return nil, console.Usage("OTEL_TRACES_EXPORTER: %q: choose otlp or none", kind)
	}
	protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	var exporter sdktrace.SpanExporter
	var err error
	switch protocol {
	case "http/protobuf":
		exporter, err = otlptracehttp.New(ctx)
	case "grpc":
		exporter, err = otlptracegrpc.New(ctx)
	default:
		return nil, console.Usage("OTEL_EXPORTER_OTLP_PROTOCOL: %q: choose http/protobuf or grpc", protocol)
	}
	if err != nil {
		return nil, console.Usage("OTEL_EXPORTER_OTLP_ENDPOINT and its kin: %w", err)
	}
	return exporter, nil
}

// client adds what the connection to Temporal is observed with.
func (t *telemetry) client(o *client.Options) {
	if t.sdk != nil {
		o.MetricsHandler = t.sdk
	}
	if t.tracing != nil {
		o.Interceptors = append(o.Interceptors, t.tracing)
	}
}

// bucket observes b.
func (t *telemetry) bucket(b storage.Bucket) storage.Bucket {
	return instrumented.New(b, t.store, t.tracer)
}

// observer observes stages.
func (t *telemetry) observer(p *Process) interceptor.WorkerInterceptor {
	o := observe.Observer{Log: p.stageLog(), Metrics: t.stages, Class: workflows.DefectClass}
	return o.Interceptor()
}

// lastSpans is how long the end waits for spans to be sent.
const lastSpans = 5 * time.Second

func (t *telemetry) close() error {
	if t.provider == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	return t.provider.Shutdown(ctx)
}
