package report

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
	"github.com/defectforge/defectforge/model/spec/spectest"
)

// render gives the page's text and its parsed tree.
func render(t *testing.T, d Data, p Pictures) (string, *html.Node) {
	t.Helper()
	raw, err := d.HTML(p)
	require.NoError(t, err)
	root, err := html.Parse(bytes.NewReader(raw))
	require.NoError(t, err)
	return string(raw), root
}

func all(root *html.Node, match func(*html.Node) bool) []*html.Node {
	var out []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && match(n) {
			out = append(out, n)
		}
	}
	return out
}

func tags(root *html.Node, name string) []*html.Node {
	return all(root, func(n *html.Node) bool { return n.Data == name })
}

func byID(t *testing.T, root *html.Node, id string) *html.Node {
	t.Helper()
	found := all(root, func(n *html.Node) bool { return attr(n, "id") == id })
	require.Len(t, found, 1, "elements with id %s", id)
	return found[0]
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}

// value is the exact number of the one data element below n.
func value(t *testing.T, n *html.Node) float64 {
	t.Helper()
	found := tags(n, "data")
	require.Len(t, found, 1)
	v, err := strconv.ParseFloat(attr(found[0], "value"), 64)
	require.NoError(t, err)
	return v
}

// values are the exact numbers below n, in order.
func values(t *testing.T, n *html.Node) []float64 {
	t.Helper()
	var out []float64
	for _, data := range tags(n, "data") {
		v, err := strconv.ParseFloat(attr(data, "value"), 64)
		require.NoError(t, err)
		out = append(out, v)
	}
	return out
}

func TestPageLoadsNothing(t *testing.T) {
	d, pics := complete(t, 120)
	raw, root := render(t, d, pics)
	for _, n := range all(root, func(*html.Node) bool { return true }) {
		require.NotContains(t, []string{"script", "link", "iframe", "object", "embed", "base", "form"}, n.Data)
		for _, a := range n.Attr {
			switch a.Key {
			case "src", "href", "srcset", "xlink:href", "action", "data", "poster":
				require.Regexp(t, `^(data:image/(png|jpeg);base64,|#)`, a.Val)
			}
			require.False(t, strings.HasPrefix(a.Key, "on"), "handler %s", a.Key)
		}
	}
	require.NotRegexp(t, `@import|url\(|https?://`, regexp.MustCompile(`base64,[A-Za-z0-9+/=]+`).ReplaceAllString(raw, ""))
	policy := all(root, func(n *html.Node) bool { return attr(n, "http-equiv") == "Content-Security-Policy" })
	require.Len(t, policy, 1)
	require.Contains(t, attr(policy[0], "content"), "default-src 'none'")
}

func TestPageShowsWhatTheTwinSays(t *testing.T) {
	d, pics := complete(t, 120)
	_, root := render(t, d, pics)
	raw, err := d.JSON()
	require.NoError(t, err)
	var twin Data
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&twin))
	again, err := twin.JSON()
	require.NoError(t, err)
	require.Equal(t, string(raw), string(again))

	for id, want := range map[string]float64{
		"intake-found": float64(twin.Intake.Found), "intake-usable": float64(twin.Intake.Usable),
		"intake-quarantined": float64(twin.Intake.Quarantined), "intake-duplicates": float64(twin.Intake.Duplicates),
		"intake-near-duplicates": float64(twin.Intake.NearDuplicates), "intake-groups": float64(twin.Intake.Groups),
		"intake-training": float64(twin.Intake.Training), "intake-holdout": float64(twin.Intake.Holdout),
		"distance-accepted": float64(twin.Distance.Accepted), "distance-rejected": float64(twin.Distance.Rejected),
		"distance-repeated": float64(twin.Distance.Repeated), "distance-blank": float64(twin.Distance.Blank),
		"distance-real": float64(twin.Distance.Real), "distance-nearest": twin.Distance.Nearest,
		"distance-reject-at": twin.Distance.RejectAt, "distance-tail-at": twin.Distance.TailAt,
		"distance-tail-share": twin.Distance.TailShare, "distance-transformed": twin.Distance.Transformed,
		"distance-transformed-reject-at": twin.Distance.TransformedRejectAt,
		"intake-selection":               float64(twin.Intake.Selection),
		"training-epochs":                float64(twin.Training.Epochs), "training-steps": float64(twin.Training.Steps),
		"training-loss-real": twin.Training.LossReal, "training-loss-fake": twin.Training.LossFake,
		"training-loss-g": twin.Training.LossG, "training-d-real": twin.Training.DReal, "training-d-fake": twin.Training.DFake,
		"training-images-per-second": twin.Run.ImagesPerSecond,
	} {
		require.Equal(t, want, value(t, byID(t, root, id)), id)
	}
	require.Contains(t, text(byID(t, root, "decision")), twin.Next)
	rows := tags(byID(t, root, "decision"), "tr")[1:]
	require.Len(t, rows, len(twin.Decision.Rules))
	for i, rule := range twin.Decision.Rules {
		said := text(rows[i])
		for _, want := range []string{rule.Name, label(rule.Name), rule.Outcome, sentence(rule.Reason)} {
			require.Contains(t, said, want)
		}
		want := []float64{rule.Value}
		if rule.Low != nil {
			want = append(want, *rule.Low, *rule.High)
		}
		want = append(want, rule.Threshold)
		if rule.Reference != nil {
			want = append(want, *rule.Reference)
		}
		require.Equal(t, want, values(t, rows[i]))
	}
	for i, row := range tags(byID(t, root, "measures"), "tr")[1:] {
		require.Contains(t, text(row), twin.Measures[i].Name)
		require.Equal(t, twin.Measures[i].Value, values(t, row)[0])
	}
	evaluations := tags(tags(byID(t, root, "training"), "details")[0], "tr")[1:]
	for i, e := range twin.Training.Choice.Evaluations {
		require.Equal(t, []float64{e.KID, e.KIDPixels, e.KIDTexture, e.Spread}, values(t, evaluations[i]))
		require.Equal(t, e.Epoch == twin.Training.Choice.Epoch, strings.Contains(text(evaluations[i]), "chosen"))
	}
	digests := text(byID(t, root, "digests"))
	for _, g := range twin.Digests {
		require.Contains(t, digests, g.SHA256)
	}
	for _, c := range twin.Samples.Images {
		require.Contains(t, digests, c.SHA256)
	}
	settings := text(byID(t, root, "settings"))
	for _, s := range twin.Settings {
		require.Contains(t, settings, s.Name+s.Text())
	}
}

func TestDecisionComesFirst(t *testing.T) {
	d, pics := complete(t, 20)
	_, root := render(t, d, pics)
	var order []string
	for _, s := range tags(root, "section") {
		order = append(order, attr(s, "id"))
	}
	require.Equal(t, []string{"decision", "candidates", "rejected", "closest", "utility", "training", "measures",
		"neighbours", "intake", "time", "settings", "digests"}, order)
	decision := byID(t, root, "decision")
	require.Contains(t, text(decision), "Copying, variety and likeness were judged.")
	require.Contains(t, text(decision), "Pass")
}

func TestAnUnknownVerdictIsNoPass(t *testing.T) {
	d, pics := complete(t, 1)
	d.Decision.Verdict = "splendid"
	_, root := render(t, d, pics)
	require.Equal(t, spec.Inconclusive, attr(byID(t, root, "decision"), "class"))
}

func TestPicturesStandBesideRealOnes(t *testing.T) {
	d, pics := complete(t, 120)
	d.Samples.Images[13].Match = &Neighbour{Name: "turned.jpg", SHA256: "r5", Distance: 0.5, Split: "training", Transform: "mirrored"}
	d.Distance.TransformedRejectAt = 1
	_, root := render(t, d, pics)
	grids := all(byID(t, root, "candidates"), func(n *html.Node) bool { return attr(n, "class") == "grid" })
	require.Len(t, grids, 2)
	generated, real := tags(grids[0], "img"), tags(grids[1], "img")
	require.Len(t, generated, maxGrid)
	require.Len(t, real, maxGrid)
	require.Equal(t, "Candidate 0", attr(generated[0], "alt"))
	require.Equal(t, "Real training image train_0.jpg", attr(real[0], "alt"))
	for _, n := range tags(grids[0], "figcaption") {
		require.NotEqual(t, "#3", text(n), "a rejected candidate among the accepted")
	}
	// The likeliest copies lead.
	rejected := tags(byID(t, root, "rejected"), "figure")
	require.Len(t, rejected, 12)
	require.Contains(t, text(rejected[0]), "#13 beside real turned.jpg, distance 0.5 (mirrored)")
	require.Contains(t, text(rejected[0]), "Too near to a real image.")
	require.Contains(t, text(rejected[1]), "#3 beside real real_3.jpg")
	require.Equal(t, dataURLOf(pics.Candidates[13]), attr(tags(rejected[0], "img")[0], "src"))
	require.Equal(t, dataURLOf(pics.Real["r5"]), attr(tags(rejected[0], "img")[1], "src"))
	closest := tags(byID(t, root, "closest"), "figure")
	require.Len(t, closest, maxClosest)
	require.Contains(t, text(closest[0]), "#0 beside real real_0.jpg")
	for _, n := range tags(root, "img") {
		require.NotEmpty(t, attr(n, "alt"))
	}
}

func dataURLOf(raw []byte) string { return string(dataURL("image/png", raw)) }

func TestNamesCannotInjectMarkup(t *testing.T) {
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}</style><!--`
	d, pics := complete(t, 12)
	d.Decision.Rules[0].Outcome, d.Samples.Images[3].Nearest[0].Transform = "odd", "mirrored"
	plain, _ := render(t, d, pics)
	d.Class, d.Decision.Scope, d.Intake.Grouping, d.Policy.Name = hostile, hostile, hostile, hostile
	d.Training.Choice.Reason, d.Utility.Summary, d.Rollbacks[0].Alarm.Reason, d.Rollbacks[0].Alarm.Kind = hostile, hostile, hostile, hostile
	d.Utility.Arms[0].Arm, d.Utility.Gains[0].Over, d.Measures[0].Name = hostile, hostile, hostile
	d.Samples.Real[0].Name, d.Samples.Real[0].SHA256 = hostile, hostile
	pics.Real[hostile] = pics.Real["t0"]
	d.Approval = &step.Approval{Approved: true, By: step.ByPerson, Who: hostile, Why: hostile}
	d.Decision.Rules[0].Name, d.Decision.Rules[0].Reason, d.Decision.Rules[0].Outcome = hostile, hostile, hostile
	d.Intake.Quarantine[0] = Quarantine{hostile, hostile}
	d.Intake.DuplicateList[0] = Duplicate{hostile, hostile, hostile}
	d.Samples.Images[3].Reason, d.Samples.Images[3].SHA256 = hostile, hostile
	d.Samples.Images[3].Nearest[0].Name, d.Samples.Images[3].Nearest[0].Split = hostile, hostile
	d.Samples.Images[3].Nearest[0].Transform = hostile + hostile
	d.Run.WorkflowID, d.Run.RunID, d.Run.Source.Prefix, d.Run.Times[0].Stage = hostile, hostile, hostile, hostile
	d.Settings[0].Value, _ = json.Marshal(hostile)
	d.Digests[0] = Digest{Name: hostile, SHA256: hostile}
	raw, root := render(t, d, pics)
	require.Equal(t, shape(mustParse(t, plain)), shape(root), "the page's elements differ")
	require.NotContains(t, raw, "<script")
	require.Contains(t, text(tags(root, "h1")[0]), hostile)
}

func mustParse(t *testing.T, page string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	require.NoError(t, err)
	return root
}

// shape lists the elements of a page in order.
func shape(root *html.Node) []string {
	var out []string
	for _, n := range all(root, func(*html.Node) bool { return true }) {
		out = append(out, n.Data)
	}
	return out
}

func TestEqualInputGivesEqualBytes(t *testing.T) {
	d, pics := complete(t, 100)
	first, err := d.HTML(pics)
	require.NoError(t, err)
	for range 3 {
		other, otherPics := complete(t, 100)
		again, err := other.HTML(otherPics)
		require.NoError(t, err)
		require.True(t, bytes.Equal(first, again))
	}
}

func TestReleaseLeavesOutWhatRunsDifferIn(t *testing.T) {
	a, pics := complete(t, 12)
	b, _ := complete(t, 12)
	r := spectest.Quick()
	r.Train.LegEpochs, r.Train.KeepCheckpoints = 25, 9
	other, err := New("scratches", r, r)
	require.NoError(t, err)
	b.Settings = other.Settings
	b.Digests = append(other.Digests, b.Digests[2:]...)
	a.Approval = &step.Approval{Approved: true, By: step.ByPerson, Who: "A. Person", Why: "because", At: time.Unix(1e9, 0)}
	b.Approval = &step.Approval{Approved: true, By: step.ByPerson, Who: "B. Person", At: time.Unix(2e9, 0)}
	b.Run = &Run{WorkflowID: "another", RunID: "run", Times: []step.StageTime{{Stage: "Ingest", Seconds: 9}}}

	runA, _ := render(t, a, pics)
	runB, _ := render(t, b, pics)
	require.NotEqual(t, runA, runB)
	pageA, root := render(t, a.ForRelease(), pics)
	pageB, _ := render(t, b.ForRelease(), pics)
	require.Equal(t, pageA, pageB)
	jsonA, err := a.ForRelease().JSON()
	require.NoError(t, err)
	jsonB, err := b.ForRelease().JSON()
	require.NoError(t, err)
	require.Equal(t, string(jsonA), string(jsonB))
	for _, leak := range []string{a.Run.WorkflowID, a.Run.RunID, a.Run.Source.Prefix, "411.7", "41.5", "A. Person", "because", "2001"} {
		require.NotContains(t, text(root), leak)
		require.NotContains(t, string(jsonA), leak)
	}
	require.NotNil(t, a.Run, "ForRelease changed the run's own data")
}

func TestMissingPartsAreNamed(t *testing.T) {
	full, pics := complete(t, 12)
	none, err := New("scratches", spectest.Quick(), spectest.Quick())
	require.NoError(t, err)
	cases := map[string]struct {
		data Data
		pics Pictures
		want []string
	}{
		"nothing": {none, Pictures{}, []string{"Ingest did not finish", "Training did not finish", "No candidates",
			"not compared", "No verdict"}},
		"no decision": {func() Data { d := full; d.Decision = nil; return d }(), pics, []string{"No verdict"}},
		"no pictures": {full, Pictures{}, nil},
		"no curves": {func() Data {
			d, tr := full, *full.Training
			tr.Points = nil
			d.Training = &tr
			return d
		}(), pics, []string{"no curves"}},
		"unchecked": {func() Data {
			d := full
			d.Samples = &Samples{Images: []Candidate{{Index: 4, SHA256: "ff"}}}
			d.Distance, d.Decision = nil, nil
			return d
		}(), pics, []string{"no real images to show", "not compared", "No verdict"}},
		"training failed": {func() Data {
			d := none
			d.Intake = full.Intake
			d.Rollbacks, d.Alarm = full.Rollbacks, &full.Rollbacks[0].Alarm
			return d
		}(), Pictures{}, []string{"Training failed", "No candidates", "not compared", "No verdict"}},
		"no measures": {func() Data { d := full; d.Measures = nil; return d }(), pics, []string{"No measures"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, root := render(t, c.data, c.pics)
			raw, err := c.data.JSON()
			require.NoError(t, err)
			var twin Data
			require.NoError(t, json.Unmarshal(raw, &twin))
			require.Len(t, twin.Missing, len(c.want))
			if len(c.want) == 0 {
				require.Empty(t, all(root, func(n *html.Node) bool { return attr(n, "id") == "missing" }))
				return
			}
			said := text(byID(t, root, "missing"))
			for i, want := range c.want {
				require.Contains(t, said, want)
				require.Contains(t, twin.Missing[i], want)
			}
			if c.data.Decision == nil {
				require.Contains(t, text(byID(t, root, "decision")), "No verdict")
				require.Contains(t, text(byID(t, root, "decision")), "Not published")
			}
		})
	}
}
