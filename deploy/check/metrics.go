package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// metric is one that workers export, as the list tells it.
type metric struct {
	kind   string              // counter, gauge or histogram
	labels map[string][]string // with their values, where those are known
}

// targetLabels are what Prometheus itself adds to every series.
var targetLabels = []string{"instance", "job"}

// readMetrics reads the list: name, type, then a word for each label, which may
// tell its values: outcome=done|failed.
func readMetrics(path string) (map[string]metric, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	known := map[string]metric{}
	for n, line := range strings.Split(string(raw), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if len(words) < 2 {
			return nil, fmt.Errorf("%s:%d: want a name, a type and labels", path, n+1)
		}
		m := metric{kind: words[1], labels: map[string][]string{}}
		for _, l := range targetLabels {
			m.labels[l] = nil
		}
		for _, word := range words[2:] {
			label, values, _ := strings.Cut(word, "=")
			m.labels[label] = strings.FieldsFunc(values, func(r rune) bool { return r == '|' })
		}
		if m.kind != "histogram" {
			known[words[0]] = m
			continue
		}
		known[words[0]+"_sum"], known[words[0]+"_count"] = m, m
		bucket := metric{kind: m.kind, labels: maps.Clone(m.labels)}
		bucket.labels["le"] = nil
		known[words[0]+"_bucket"] = bucket
	}
	return known, nil
}

// checker gathers what is wrong.
type checker struct {
	known    map[string]metric
	queries  int
	problems []error
}

func (c *checker) problem(where, format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(where+": "+format, args...))
}

// checkMetrics holds every query of the files against the list.
func checkMetrics(list string, files []string) error {
	known, err := readMetrics(list)
	if err != nil {
		return err
	}
	c := &checker{known: known}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		before := c.queries
		switch {
		case filepath.Ext(file) == ".json":
			c.dashboard(file, raw)
		case bytes.Contains(raw, []byte("kind: ScaledObject")):
			c.scaled(file, raw)
		default:
			c.rules(file, raw)
		}
		if c.queries == before {
			c.problem(file, "has no query")
		}
	}
	return errors.Join(c.problems...)
}

// ruleFile is a Prometheus rule file of alerts.
type ruleFile struct {
	Groups []struct {
		Name     string
		Interval string
		Rules    []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// ofLabels are the labels that a template speaks of.
var ofLabels = regexp.MustCompile(`\$labels\.([A-Za-z_]+)`)

func (c *checker) rules(file string, raw []byte) {
	var f ruleFile
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		c.problem(file, "%w", err)
		return
	}
	seen := map[string]bool{}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			where := file + ": " + r.Alert
			if r.Alert == "" || seen[r.Alert] {
				c.problem(where, "an alert needs a name of its own")
			}
			seen[r.Alert] = true
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				c.problem(where, "needs a severity, a summary and a description")
			}
			for _, d := range []string{r.For, g.Interval} {
				if _, err := model.ParseDuration(d); d != "" && err != nil {
					c.problem(where, "%w", err)
				}
			}
			labels, ok := c.query(where, r.Expr)
			for _, text := range r.Annotations {
				for _, m := range ofLabels.FindAllStringSubmatch(text, -1) {
					if ok && !labels[m[1]] {
						c.problem(where, "the text speaks of the label %s, which the expression does not have: %v", m[1], slices.Sorted(maps.Keys(labels)))
					}
				}
			}
		}
	}
}

// scaled checks the queries of ScaledObjects.
func (c *checker) scaled(file string, raw []byte) {
	err := eachTrigger(raw, func(object string, t trigger) {
		if t.Type == "prometheus" {
			c.query(file+": "+object, t.Metadata["query"])
		}
	})
	if err != nil {
		c.problem(file, "%w", err)
	}
}

// A range or a step of a dashboard is any duration to the parser, and a step in
// milliseconds is as good as one.
var grafanaRange = regexp.MustCompile(`\$__(rate_interval|range|interval(_ms)?)\b`)

const someRange = 5 * time.Minute
