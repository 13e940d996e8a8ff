package report

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/model/spec"
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

func TestPageTellsWhatTheTwinTells(t *testing.T) {
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
		"distance-tail-share": twin.Distance.TailShare,
		"training-epochs":     float64(twin.Training.Epochs), "training-steps": float64(twin.Training.Steps),
		"training-loss-real": twin.Training.LossReal, "training-loss-fake": twin.Training.LossFake,
		"training-loss-g": twin.Training.LossG, "training-d-real": twin.Training.DReal, "training-d-fake": twin.Training.DFake,
		"training-images-per-second": twin.Run.ImagesPerSecond,
	} {
		require.Equal(t, want, value(t, byID(t, root, id)), id)
	}
	rows := tags(byID(t, root, "decision"), "tr")[1:]
	require.Len(t, rows, len(twin.Decision.Rules))
	for i, rule := range twin.Decision.Rules {
		cells := tags(rows[i], "td")
		require.Equal(t, rule.Name, text(tags(rows[i], "th")[0]))
		require.Equal(t, rule.Value, value(t, cells[0]))
		require.Equal(t, rule.Threshold, value(t, cells[1]))
		require.Contains(t, text(cells[2]), rule.Outcome)
		require.Equal(t, rule.Reason, text(cells[3]))
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
	require.Equal(t, []string{"decision", "intake", "candidates", "neighbours", "training", "time", "settings", "digests"}, order)
	decision := byID(t, root, "decision")
	require.Contains(t, text(decision), "Only copying was judged.")
	require.Contains(t, text(decision), "Pass")
}

func TestAnUnknownVerdictIsNoPass(t *testing.T) {
	d, pics := complete(t, 1)
	d.Decision.Verdict = "splendid"
	_, root := render(t, d, pics)
	require.Equal(t, step.Inconclusive, attr(byID(t, root, "decision"), "class"))
}

func TestGridShowsAcceptedAndFlagsRejected(t *testing.T) {
	d, pics := complete(t, 120)
	_, root := render(t, d, pics)
	grids := all(byID(t, root, "candidates"), func(n *html.Node) bool { return strings.HasPrefix(attr(n, "class"), "grid") })
	require.Len(t, grids, 2)
	accepted, rejected := tags(grids[0], "img"), tags(grids[1], "img")
	require.Len(t, accepted, maxAccepted)
	require.Len(t, rejected, 12)
	require.Equal(t, "Candidate 0", attr(accepted[0], "alt"))
	require.Equal(t, "Candidate 3, rejected: too near to a real image", attr(rejected[0], "alt"))
	for _, n := range append(accepted, rejected...) {
		require.Contains(t, attr(n, "src"), "data:image/png;base64,")
	}
	for _, n := range accepted {
		require.NotContains(t, attr(n, "alt"), "rejected")
	}
	// The likeliest copies lead the table of neighbours.
	rows := tags(byID(t, root, "neighbours"), "tr")[1:]
	require.Len(t, rows, maxClosest)
	require.Equal(t, "3", text(tags(rows[0], "th")[0]))
	require.Equal(t, d.Samples.Images[3].Nearest[0].Distance, value(t, rows[0]))
}

func TestNamesCannotInjectMarkup(t *testing.T) {
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}</style><!--`
	d, pics := complete(t, 12)
	plain, _ := render(t, d, pics)
	d.Class, d.Decision.Scope, d.Intake.Grouping = hostile, hostile, hostile
	d.Decision.Rules[0].Name, d.Decision.Rules[0].Reason, d.Decision.Rules[0].Outcome = hostile, hostile, hostile
	d.Intake.Quarantine[0] = Quarantine{hostile, hostile}
	d.Intake.DuplicateList[0] = Duplicate{hostile, hostile, hostile}
	d.Samples.Images[3].Reason, d.Samples.Images[3].SHA256 = hostile, hostile
	d.Samples.Images[3].Nearest[0].Name, d.Samples.Images[3].Nearest[0].Split = hostile, hostile
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
	r := spec.Quick()
	r.Train.LegEpochs, r.Train.KeepCheckpoints = 25, 9
	other, err := New("scratches", r)
	require.NoError(t, err)
	b.Settings = other.Settings
	b.Digests = append(other.Digests, b.Digests[2:]...)
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
	for _, leak := range []string{a.Run.WorkflowID, a.Run.RunID, a.Run.Source.Prefix, "411.7", "41.5"} {
		require.NotContains(t, text(root), leak)
		require.NotContains(t, string(jsonA), leak)
	}
	require.NotNil(t, a.Run, "ForRelease changed the run's own data")
}

func TestMissingPartsAreNamed(t *testing.T) {
	full, pics := complete(t, 12)
	none, err := New("scratches", spec.Quick())
	require.NoError(t, err)
	cases := map[string]struct {
		data Data
		pics Pictures
		want []string
	}{
		"nothing":     {none, Pictures{}, []string{"Ingest did not finish", "Training did not finish", "No candidates", "not compared", "No verdict"}},
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
		}(), pics, []string{"not compared", "No verdict"}},
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
			}
		})
	}
}
