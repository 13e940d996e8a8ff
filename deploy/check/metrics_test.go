package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const list = `# a list
jobs_total counter outcome=done|failed
wait_seconds histogram queue
steps gauge class
`

// checked is what the check says of a file with the text.
func checked(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := checkMetrics(write("metrics.txt", list), []string{write(name, text)}); err != nil {
		return err.Error()
	}
	return ""
}

func alert(expr, description string) string {
	return "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: " + expr +
		"\n    labels: {severity: info}\n    annotations: {summary: s, description: '" + description + "'}\n"
}

func TestQueries(t *testing.T) {
	for expr, want := range map[string]string{
		`sum by (outcome) (rate(jobs_total{outcome="failed"}[5m]))`:                   "",
		`histogram_quantile(0.9, sum by (queue, le) (rate(wait_seconds_bucket[5m])))`: "",
		`sum by (instance) (changes(steps[5m])) == 0 and on (instance) up_of_ours`:    "no worker exports up_of_ours",
		`rate(wait_seconds_sum[5m]) / rate(wait_seconds_count[5m]) > 1`:               "",
		`steps / on (class) group_left () max by (class) (steps)`:                     "",
		`absent(steps)`:                     "",
		`sum(steps`:                         "unclosed left parenthesis",
		`job_total`:                         "no worker exports job_total",
		`wait_seconds`:                      "no worker exports wait_seconds",
		`steps{klass="a"}`:                  "steps has no label klass",
		`jobs_total{outcome="ok"}`:          `the label outcome is never "ok"`,
		`jobs_total{outcome=~"done|gone"}`:  `is never "gone"`,
		`sum by (queue) (steps)`:            "SUM groups by queue, which is not there",
		`sum by (class) (sum(steps))`:       "groups by class",
		`steps / jobs_total`:                "nothing matches",
		`steps and on (outcome) jobs_total`: "matches by outcome, which one side lacks",
		`histogram_quantile(0.9, sum by (queue) (rate(wait_seconds_bucket[5m])))`: "without le",
	} {
		got := checked(t, "rules.yaml", alert("'"+expr+"'", "d"))
		if want == "" && got != "" || !strings.Contains(strings.ToLower(got), strings.ToLower(want)) {
			t.Errorf("%s: got %q, want %q", expr, got, want)
		}
	}
}

func TestRules(t *testing.T) {
	for text, want := range map[string]string{
		alert("sum by (class) (steps) > 1", "of {{ $labels.class }}"):    "",
		alert("sum(steps) > 1", "of {{ $labels.class }}"):                "the text speaks of the label class",
		strings.Replace(alert("steps > 1", "d"), "severity", "level", 1): "needs a severity",
		alert("steps > 1", "d") + "    four: 5m\n":                       "field four not found",
		alert("steps > 1", "d") + "    for: 5\n":                         "not a valid duration",
		"groups: []\n":                                                   "has no query",
	} {
		got := checked(t, "rules.yaml", text)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestDashboards(t *testing.T) {
	const panel = `{"id": 1, "type": "text", "title": "a", "gridPos": {"x": 0, "y": 0, "w": 12, "h": 8}, "options": {"mode": "markdown", "content": ""},
"targets": [{"refId": "A", "expr": "sum by (class) (steps{class=~\"$class\"})", "legendFormat": "{{class}}"}]}`
	board := func(panels ...string) string {
		return `{"title": "b", "schemaVersion": 39, "editable": true, "graphTooltip": 1, "panels": [` + strings.Join(panels, ",") + `]}`
	}
	if got := checked(t, "board.json", board(panel)); strings.Contains(got, "panel") {
		t.Errorf("a good panel: %s", got)
	}
	for _, c := range []struct{ old, new, want string }{
		{"{{class}}", "{{outcome}}", "the legend names the label outcome"},
		{"steps{", "step{", "no worker exports step"},
		{`"x": 0`, `"x": 13`, "24 columns"},
		{`"title"`, `"tittle"`, "unexpected field 'tittle'"},
	} {
		if got := checked(t, "board.json", board(strings.Replace(panel, c.old, c.new, 1))); !strings.Contains(got, c.want) {
			t.Errorf("%s for %s: got %q, want %q", c.new, c.old, got, c.want)
		}
	}
	second := strings.Replace(strings.Replace(panel, `"id": 1`, `"id": 2`, 1), `"x": 0`, `"x": 6`, 1)
	if got := checked(t, "board.json", board(panel, second)); !strings.Contains(got, `lies on "a"`) {
		t.Errorf("panels on each other: %q", got)
	}
}

func TestTriggers(t *testing.T) {
	source := []byte("type m struct {\n\tA string `keda:\"name=endpoint, order=triggerMetadata\"`\n" +
		"\tB int `keda:\"name=size, order=triggerMetadata, default=5\"`\n\tC bool `keda:\"name=old, optional, deprecatedAnnounce=gone\"`\n}\n")
	for want, given := range map[string]map[string]string{
		"":                    {"endpoint": "x", "size": "1"},
		"endpoint is missing": {"size": "1"},
		"there is no sise":    {"endpoint": "x", "sise": "1"},
		"old is deprecated":   {"endpoint": "x", "old": "1"},
	} {
		problems := checkParameters("o", given, source)
		if want == "" && len(problems) == 0 {
			continue
		}
		if len(problems) != 1 || want == "" || !strings.Contains(problems[0].Error(), want) {
			t.Errorf("%v: got %v, want %q", given, problems, want)
		}
	}
}
