package campaign

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/defectforge/defectforge/activities/ledger"
	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/storage"
)

const (
	// maxItems bounds a plan.
	maxItems = 100_000
	// A page of a plan travels through history, so it is small.
	pageItems = 200
	pageBytes = 40 << 10
	// maxItemName bounds an item's name, in bytes.
	maxItemName = 120
)

// plan is the list of a campaign's runs, in pages that are documents themselves.
type plan struct {
	ledger.Header
	Items int        `json:"items"`
	Pages []step.Ref `json:"pages"`
}

type planPage struct {
	ledger.Header
	Items []step.PlanItem `json:"items"`
}

var (
	planFormat = ledger.Format[plan]{Name: "defectforge.plan/1"}
	pageFormat = ledger.Format[planPage]{Name: "defectforge.plan-page/1"}
)

// Planner makes and reads plans of campaigns.
type Planner struct {
	Store   *storage.Store
	Sources func(ctx context.Context, bucket string) (storage.Reader, error)
	// Progress, if set, is called with the classes found so far; the total is 0.
	Progress func(done, total int)
}

// PlanCampaign makes the plan of one run for each folder directly below the
// source. No folders are a permanent failure of type step.ErrBadInput.
func (p Planner) PlanCampaign(ctx context.Context, in step.PlanInput) (step.PlanResult, error) {
	if in.Source.Bucket == "" {
		return step.PlanResult{}, ledger.Permanent(step.ErrBadInput, "source.bucket is empty; name the bucket whose prefixes are the classes")
	}
	bucket, err := p.Sources(ctx, in.Source.Bucket)
	if err != nil {
		return step.PlanResult{}, fmt.Errorf("open source bucket %q: %w", in.Source.Bucket, err)
	}
	names, loose, err := p.folders(ctx, bucket, in.Source)
	if err != nil {
		return step.PlanResult{}, err
	}
	prefix, out := in.Source.Folder(), step.PlanResult{Items: len(names), Loose: loose}
	if len(names) == 0 {
		return step.PlanResult{}, ledger.Permanent(step.ErrBadInput,
			"s3://%s/%s has no prefixes directly below it, but %d objects; a campaign makes a class of each prefix",
			in.Source.Bucket, prefix, loose)
	}
	classes := Classes(names)
	items := make([]step.PlanItem, len(names))
	for i, name := range names {
		items[i] = step.PlanItem{
			Index: i, Name: name, Class: classes[i], Source: step.Source{Bucket: in.Source.Bucket, Prefix: prefix + name + "/"},
		}
	}
	out.Plan, err = StorePlan(ctx, p.Store, items)
	return out, err
}

// folders names the folders directly below the source, sorted, and counts the
// objects beside them.
func (p Planner) folders(ctx context.Context, bucket storage.Reader, source step.Source) (names []string, loose int, err error) {
	prefix := source.Folder()
	for info, err := range storage.Folders(ctx, bucket, prefix) {
		if err != nil {
			return nil, 0, fmt.Errorf("list s3://%s/%s: %w", source.Bucket, prefix, err)
		}
		name, isFolder := strings.CutSuffix(strings.TrimPrefix(info.Key, prefix), "/")
		if !isFolder || name == "" {
			loose++
			continue
		}
		if names = append(names, name); len(names) > maxItems {
			return nil, 0, ledger.Permanent(step.ErrBadInput,
				"s3://%s/%s has more than %d prefixes directly below it; name a smaller part of the bucket", source.Bucket, prefix, maxItems)
		}
		if p.Progress != nil {
			p.Progress(len(names), 0)
		}
	}
	slices.Sort(names)
	return names, loose, nil
}

var noClassBytes = regexp.MustCompile(`[^a-z0-9_-]+`)

// Classes gives each folder's name the class that it stands for: itself, where
// that is a class name, else one made of it. Different names get different
// classes.
func Classes(names []string) []string {
	out := make([]string, len(names))
	taken := map[string]bool{}
	for i, name := range names {
		if spec.ValidName(name) {
			out[i], taken[name] = name, true
		}
	}
	for i, name := range names {
		if out[i] != "" {
			continue
		}
		class := strings.Trim(noClassBytes.ReplaceAllString(strings.ToLower(name), "-"), "-_")
		if !spec.ValidName(class) || taken[class] {
			// Names that their letters do not distinguish get a digest.
			class = strings.Trim(class[:min(len(class), 50)]+"-"+storage.Digest([]byte(name))[:8], "-")
		}
		out[i], taken[class] = class, true
	}
	return out
}

// StorePlan stores the plan of items, in their order.
func StorePlan(ctx context.Context, store *storage.Store, items []step.PlanItem) (step.Ref, error) {
	doc := plan{Items: len(items), Pages: []step.Ref{}}
	var page planPage
	size := 0
	flush := func() error {
		if len(page.Items) == 0 {
			return nil
		}
		ref, err := pageFormat.Put(ctx, store, page)
		doc.Pages = append(doc.Pages, ref)
		page, size = planPage{}, 0
		return ledger.Wrap("store page of plan", err)
	}
	for _, item := range items {
		if len(item.Name) > maxItemName {
			item.Name = strings.ToValidUTF8(item.Name[:maxItemName-3], "") + "..."
		}
		raw, err := json.Marshal(item)
		if err != nil {
			return step.Ref{}, fmt.Errorf("encode plan: %w", err)
		}
		if len(page.Items) == pageItems || size+len(raw) > pageBytes {
			if err := flush(); err != nil {
				return step.Ref{}, err
			}
		}
		page.Items, size = append(page.Items, item), size+len(raw)
	}
	if err := flush(); err != nil {
		return step.Ref{}, err
	}
	ref, err := planFormat.Put(ctx, store, doc)
	return ref, ledger.Wrap("store plan", err)
}

// ReadPlan returns one page of a plan.
func (p Planner) ReadPlan(ctx context.Context, in step.ReadPlanInput) (step.ReadPlanResult, error) {
	doc, err := readPlan(ctx, p.Store, in.Plan)
	if err != nil {
		return step.ReadPlanResult{}, err
	}
	if in.Page < 0 || in.Page > len(doc.Pages) {
		return step.ReadPlanResult{}, ledger.Permanent(step.ErrBadInput, "page %d of plan %s: it has %d", in.Page, in.Plan.Key, len(doc.Pages))
	}
	out := step.ReadPlanResult{Items: []step.PlanItem{}, Pages: len(doc.Pages), Total: doc.Items}
	if in.Page < len(doc.Pages) {
		out.Items, err = readPlanPage(ctx, p.Store, doc.Pages[in.Page])
	}
	return out, err
}

func readPlan(ctx context.Context, store *storage.Store, ref step.Ref) (plan, error) {
	doc, err := planFormat.Read(ctx, store, ref)
	return doc, ledger.Wrap("read plan", err)
}

func readPlanPage(ctx context.Context, store *storage.Store, ref step.Ref) ([]step.PlanItem, error) {
	doc, err := pageFormat.Read(ctx, store, ref)
	return doc.Items, ledger.Wrap("read page of plan", err)
}

// PlanItems returns all items of a plan.
func PlanItems(ctx context.Context, store *storage.Store, ref step.Ref) ([]step.PlanItem, error) {
	doc, err := readPlan(ctx, store, ref)
	if err != nil {
		return nil, err
	}
	var items []step.PlanItem
	for _, page := range doc.Pages {
		more, err := readPlanPage(ctx, store, page)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	return items, nil
}
