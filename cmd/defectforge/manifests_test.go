package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/defectforge/defectforge/config"
)

const deployed = "../../deploy"

// read decodes every YAML document of a file below deploy/ as T.
func read[T any](t *testing.T, path string) (all []T) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployed, path))
	require.NoError(t, err)
	for dec := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var v T
		if err := dec.Decode(&v); errors.Is(err, io.EOF) {
			return all
		} else {
			require.NoError(t, err)
		}
		all = append(all, v)
	}
}

// settings are what a deployment's environment makes of the configuration: every
// variable must be one that the program knows.
func settings(t *testing.T, environment map[string]string) config.Loaded {
	t.Helper()
	isolate(t)
	for name, value := range environment {
		t.Setenv(name, strings.ReplaceAll(strings.ReplaceAll(value, "${STORE_ACCESS_KEY:?copy deploy/env.example to deploy/.env}", "a"),
			"${STORE_SECRET_KEY:?copy deploy/env.example to deploy/.env}", "b"))
	}
	got, err := config.Load(nil)
	require.NoError(t, err)
	place, err := got.Place()
	require.NoError(t, err)
	assert.False(t, place.Embedded)
	return got
}

func portOf(t *testing.T, listen string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(listen)
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	return n
}

// handover is how much longer than worker.stop_seconds a supervisor must wait, at
// least: the store's last calls and the traces take their time too.
const handover = 20

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

type workload struct {
	Kind string
	Data map[string]string
	Spec struct {
		Template struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct {
				Grace      int `yaml:"terminationGracePeriodSeconds"`
				Containers []struct {
					Args  []string
					Ports []struct {
						Name string
						Port int `yaml:"containerPort"`
					}
					Readiness probe `yaml:"readinessProbe"`
					Liveness  probe `yaml:"livenessProbe"`
				}
			}
		}
	}
}

// The manifests agree with the program: its variables, its port, its paths, its
// roles, and the time it takes to stop.
func TestKubernetesManifestsFitTheProgram(t *testing.T) {
	environment := read[workload](t, "kubernetes/base/configmap.yaml")[0].Data
	var pools []workload
	for _, file := range []string{"worker-io.yaml", "worker-training.yaml"} {
		pools = append(pools, read[workload](t, "kubernetes/base/"+file)[0])
	}
	c := settings(t, environment)
	port := portOf(t, c.Metrics.Listen)
	for i, role := range []string{config.RoleIO, config.RoleTraining} {
		pod := pools[i].Spec.Template
		require.Len(t, pod.Spec.Containers, 1)
		worker := pod.Spec.Containers[0]
		assert.Equal(t, []string{"worker", "--role", role}, worker.Args)
		assert.GreaterOrEqual(t, pod.Spec.Grace, c.Worker.StopSeconds+handover)
		require.Len(t, worker.Ports, 1)
		assert.Equal(t, port, worker.Ports[0].Port)
		assert.Equal(t, strconv.Itoa(port), pod.Metadata.Annotations["prometheus.io/port"])
		assert.Equal(t, "/readyz", worker.Readiness.HTTPGet.Path)
		assert.Equal(t, "/healthz", worker.Liveness.HTTPGet.Path)
		for _, p := range []probe{worker.Readiness, worker.Liveness} {
			assert.Equal(t, worker.Ports[0].Name, p.HTTPGet.Port)
		}
	}
}

type composeFile struct {
	Services map[string]struct {
		Command     []string
		Environment map[string]string
		Grace       string `yaml:"stop_grace_period"`
	}
}

type scrapeConfig struct {
	Scrapes []struct {
		DNS []struct {
			Names []string
			Port  int
		} `yaml:"dns_sd_configs"`
	} `yaml:"scrape_configs"`
}

// The compose file agrees with the program, and its Prometheus scrapes its workers.
func TestComposeFitsTheProgram(t *testing.T) {
	compose := read[composeFile](t, "compose.yaml")[0]
	scrapes := read[scrapeConfig](t, "prometheus/prometheus.yaml")[0].Scrapes
	c := settings(t, compose.Services["worker-io"].Environment)
	var workers []string
	for _, name := range slices.Sorted(maps.Keys(compose.Services)) {
		s := compose.Services[name]
		if len(s.Command) == 0 || s.Command[0] != "worker" {
			continue
		}
		workers = append(workers, name)
		seconds, err := strconv.Atoi(strings.TrimSuffix(s.Grace, "s"))
		require.NoError(t, err)
		assert.GreaterOrEqual(t, seconds, c.Worker.StopSeconds+handover)
	}
	require.Len(t, scrapes, 1)
	require.Len(t, scrapes[0].DNS, 1)
	assert.ElementsMatch(t, workers, scrapes[0].DNS[0].Names)
	assert.Equal(t, portOf(t, c.Metrics.Listen), scrapes[0].DNS[0].Port)
}
