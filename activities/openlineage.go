package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
)

// Events of OpenLineage 2-0-2, https://openlineage.io/spec/2-0-2/OpenLineage.json,
// as far as runs have something to say.
const (
	lineageProducer = "https://github.com/defectforge/defectforge"
	lineageSchema   = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
	facetSchemas    = "https://openlineage.io/spec/facets/"
	// ownFacetSchema is the schema of our own facet, which has what no standard
	// one has.
	ownFacetSchema = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet"
	// lineagePatience bounds one event: a run does not wait for lineage.
	lineagePatience = 5 * time.Second
	lineageStart    = "START"
	lineageComplete = "COMPLETE"
	lineageFail     = "FAIL"
)

// Lineage is where OpenLineage events go.
type Lineage struct {
	Endpoint string // the whole address, as http://marquez:5000/api/v1/lineage; empty for nowhere
	APIKey   string // a bearer token; empty for none
	// Namespace is that of jobs, Bucket the one that releases lie in.
	Namespace, Bucket string
	Client            *http.Client // nil for one of its own
}

type lineageEvent struct {
	EventType string           `json:"eventType"`
	EventTime time.Time        `json:"eventTime"`
	Run       lineageRun       `json:"run"`
	Job       lineageJob       `json:"job"`
	Inputs    []lineageDataset `json:"inputs"`
	Outputs   []lineageDataset `json:"outputs"`
	Producer  string           `json:"producer"`
	SchemaURL string           `json:"schemaURL"`
}

type lineageRun struct {
	RunID  string         `json:"runId"` // a UUID
	Facets map[string]any `json:"facets,omitempty"`
}

type lineageJob struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

type lineageDataset struct {
	Namespace    string         `json:"namespace"`
	Name         string         `json:"name"`
	Facets       map[string]any `json:"facets,omitempty"`
	OutputFacets map[string]any `json:"outputFacets,omitempty"`
}

// facet is a standard facet, at the version of its schema.
func facet(name, version string, fields map[string]any) map[string]any {
	fields["_producer"], fields["_schemaURL"] = lineageProducer, facetSchemas+version+"/"+name+".json#/$defs/"+name
	return fields
}

func versionFacet(digest string) map[string]any {
	return map[string]any{"version": facet("DatasetVersionDatasetFacet", "1-0-1", map[string]any{"datasetVersion": digest})}
}

// event begins an event about a run.
func (l Lineage) event(kind string, run step.Run, class string, source step.Source, dataset string) lineageEvent {
	id := run.RunID
	if uuid.Validate(id) != nil {
		id = uuid.NewSHA1(uuid.NameSpaceURL, []byte(lineageProducer+"/"+ledger.RunPrefix(run))).String()
	}
	e := lineageEvent{
		EventType: kind, EventTime: time.Now().UTC(), Run: lineageRun{RunID: id}, Job: lineageJob{l.Namespace, "augment." + class},
		Inputs: []lineageDataset{}, Outputs: []lineageDataset{}, Producer: lineageProducer, SchemaURL: lineageSchema,
	}
	if source.Bucket != "" {
		in := lineageDataset{Namespace: "s3://" + source.Bucket, Name: source.Folder()}
		if in.Name == "" {
			in.Name = "/"
		}
		if dataset != "" {
			in.Facets = versionFacet(dataset)
		}
		e.Inputs = append(e.Inputs, in)
	}
	return e
}

// started sends that a run has begun.
func (l Lineage) started(ctx context.Context, in step.IngestInput) {
	if l.Endpoint == "" {
		return
	}
	info := activity.GetInfo(ctx)
	if info.Attempt > 1 {
		return
	}
	l.send(ctx, l.event(lineageStart, executionOf(info), in.Class, in.Source, ""))
}

// executionOf is the run that an activity belongs to.
func executionOf(info activity.Info) step.Run {
	return step.Run{WorkflowID: info.WorkflowExecution.ID, RunID: info.WorkflowExecution.RunID}
}

// idle sends that a run found nothing to do.
func (l Lineage) idle(ctx context.Context, in step.ChangeInput, out step.ChangeResult) {
	if out.Verdict == "" {
		return
	}
	e := l.event(lineageComplete, executionOf(activity.GetInfo(ctx)), in.Class, step.Source{}, "")
	e.Run.Facets = map[string]any{
		"defectforge": ownFacet(map[string]any{"verdict": out.Verdict, "reason": out.Reason, "release": out.Release}),
	}
	l.send(ctx, e)
}

// recorded sends how a recorded run ended, with what it read and made. Failed
// runs are left to failed.
func (l Lineage) recorded(ctx context.Context, in step.RecordRunInput, record step.Ref) {
	if l.Endpoint == "" || in.Failure != "" {
		return
	}
	l.send(ctx, l.completed(in, record))
}

func (l Lineage) completed(in step.RecordRunInput, record step.Ref) lineageEvent {
	o := in.Outcome
	e := l.event(lineageComplete, o.Run, o.Class, o.Source, o.Ingest.Dataset.SHA256)
	e.Run.Facets = map[string]any{"defectforge": ownFacet(map[string]any{
		"verdict": in.Verdict, "recipe": o.Recipe.Name, "recipe_sha256": spec.Digest(o.Recipe), "policy": o.Policy.Name,
		"dataset": o.Ingest.Dataset.Key, "checkpoint": o.Train.Checkpoint.Key, "record": record.Key,
	})}
	if in.Publish.Release != "" {
		e.Outputs = append(e.Outputs, lineageDataset{
			Namespace: "s3://" + l.Bucket, Name: in.Publish.Prefix, Facets: versionFacet(in.Publish.ManifestSHA256),
			OutputFacets: map[string]any{
				"outputStatistics": facet("OutputStatisticsOutputDatasetFacet", "1-0-2", map[string]any{"rowCount": in.Publish.Images}),
			},
		})
	}
	return e
}

// failed sends that a run could not do its work.
func (l Lineage) failed(ctx context.Context, n step.Notice) {
	if l.Endpoint == "" || n.Kind != step.NoticeFailed || n.Failure == nil {
		return
	}
	e := l.event(lineageFail, n.Run, n.Class, step.Source{}, "")
	e.Run.Facets = map[string]any{"errorMessage": facet("ErrorMessageRunFacet", "1-0-1", map[string]any{
		"message": n.Failure.Type + ": " + n.Failure.Message, "programmingLanguage": "Go",
	})}
	l.send(ctx, e)
}

func ownFacet(fields map[string]any) map[string]any {
	fields["_producer"], fields["_schemaURL"] = lineageProducer, ownFacetSchema
	return fields
}

// send posts an event. A failure to do so is only logged: no run fails for it.
func (l Lineage) send(ctx context.Context, e lineageEvent) {
	if l.Endpoint == "" {
		return
	}
	if err := l.post(ctx, e); err != nil {
		activity.GetLogger(ctx).Warn("Lineage event not sent", "type", e.EventType, "error", err)
	}
}

func (l Lineage) post(ctx context.Context, e lineageEvent) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return ledger.Wrap("encode event", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lineagePatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.Endpoint, bytes.NewReader(raw))
	if err != nil {
		return ledger.Wrap("lineage.endpoint", bare(err))
	}
	request.Header.Set("Content-Type", "application/json")
	if l.APIKey != "" {
		request.Header.Set("Authorization", "Bearer "+l.APIKey)
	}
	return deliver(l.Client, request, "lineage endpoint")
}
