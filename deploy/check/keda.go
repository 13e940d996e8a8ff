package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// trigger is what a ScaledObject scales by.
type trigger struct {
	Type     string
	Name     string
	Metadata map[string]string
}

// eachTrigger calls f for every trigger of the ScaledObjects among the manifests.
func eachTrigger(manifests []byte, f func(object string, t trigger)) error {
	dec := yaml.NewDecoder(bytes.NewReader(manifests))
	for {
		var o struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct{ Triggers []trigger }
		}
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read manifests: %w", err)
		}
		if o.Kind != "ScaledObject" {
			continue
		}
		for _, t := range o.Spec.Triggers {
			f(o.Metadata.Name, t)
		}
	}
}

// parameter finds the parameters of a scaler in its source: a tag of a field,
// with the name and, somewhere behind it, whether it is optional or deprecated.
var parameter = regexp.MustCompile("`keda:\"name=([A-Za-z]+),([^`]*)\"`")

// checkTriggers holds the parameters of triggers against the sources of their
// scalers, which lie in a folder as <type>_scaler.go.
func checkTriggers(manifests, sources string) error {
	raw, err := os.ReadFile(manifests)
	if err != nil {
		return fmt.Errorf("read manifests: %w", err)
	}
	var problems []error
	found := 0
	err = eachTrigger(raw, func(object string, t trigger) {
		found++
		source, err := os.ReadFile(filepath.Join(sources, t.Type+"_scaler.go"))
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: trigger %s: %w", object, t.Type, err))
			return
		}
		problems = append(problems, checkParameters(object+": trigger "+t.Type, t.Metadata, source)...)
	})
	if found == 0 && err == nil {
		err = errors.New("no triggers")
	}
	return errors.Join(append(problems, err)...)
}

func checkParameters(where string, given map[string]string, source []byte) (problems []error) {
	var known []string
	for _, m := range parameter.FindAllSubmatch(source, -1) {
		name, how := string(m[1]), string(m[2])
		known = append(known, name)
		_, set := given[name]
		switch {
		case set && strings.Contains(how, "deprecated"):
			problems = append(problems, fmt.Errorf("%s: %s is deprecated", where, name))
		case !set && !strings.Contains(how, "optional") && !strings.Contains(how, "default="):
			problems = append(problems, fmt.Errorf("%s: %s is missing", where, name))
		}
	}
	for name := range given {
		if !slices.Contains(known, name) {
			problems = append(problems, fmt.Errorf("%s: there is no %s, only %v", where, name, known))
		}
	}
	return problems
}

// printSchema writes a custom resource's schema as JSON, made strict: fields
// that it does not name are refused.
func printSchema(w io.Writer, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read definition: %w", err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema map[string]any `yaml:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if len(crd.Spec.Versions) != 1 || crd.Spec.Versions[0].Schema.OpenAPIV3Schema == nil {
		return fmt.Errorf("read %s: want one version with a schema", path)
	}
	schema := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	tighten(schema)
	properties, _ := schema["properties"].(map[string]any)
	properties["metadata"] = map[string]any{"type": "object"} // Kubernetes checks it
	return json.NewEncoder(w).Encode(schema)
}

func tighten(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, child := range v {
			tighten(child)
		}
		_, named := v["properties"].(map[string]any)
		if _, open := v["additionalProperties"]; named && v["type"] == "object" && !open && v["x-kubernetes-preserve-unknown-fields"] == nil {
			v["additionalProperties"] = false
		}
	case []any:
		for _, child := range v {
			tighten(child)
		}
	}
}
