package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/defectforge/defectforge/model/spec"
)

// extends is the key of a recipe or policy file that names what it changes.
const extends = "extends"

// Recipe reads a recipe by name, or from a YAML file that changes some values
// of the recipe it extends (classic where it does not say), applies settings of
// the form key=value, and validates the result. A recipe that gives no name is named
// after its file.
func Recipe(nameOrFile string, settings []string) (spec.Recipe, error) {
	r, err := baseRecipe(nameOrFile)
	if err != nil {
		return spec.Recipe{}, err
	}
	return Change(r, settings)
}

// Change applies settings of the form key=value to a recipe and validates the
// result.
func Change(r spec.Recipe, settings []string) (spec.Recipe, error) {
	keys := leaves(reflect.TypeFor[spec.Recipe]())
	var problems Problems
	given := map[string]bool{}
	for _, s := range settings {
		path, err := set(&r, keys, s)
		if err != nil {
			problems = append(problems, *err)
		}
		given[path] = true
	}
	if len(problems) > 0 {
		return spec.Recipe{}, problems
	}
	settleLength(&r.Train, func(path string) bool { return given[path] })
	if err := r.Validate(); err != nil {
		return spec.Recipe{}, fmt.Errorf("recipe %s:\n%w", r.Name, err)
	}
	return r, nil
}

func baseRecipe(nameOrFile string) (spec.Recipe, error) {
	if !isFile(nameOrFile) {
		r, err := spec.Named(nameOrFile)
		if err != nil {
			return r, Problems{{Field: "--recipe", Value: nameOrFile, Reason: "unknown recipe" +
				suggestion(nameOrFile, spec.Names()) + "; or give a YAML file, ending in .yaml"}}
		}
		return r, nil
	}
	raw, err := readFile("--recipe", nameOrFile, "recipe")
	if err != nil {
		return spec.Recipe{}, err
	}
	return parseRecipe(nameOrFile, raw)
}

func parseRecipe(file string, raw []byte) (spec.Recipe, error) {
	keys := leaves(reflect.TypeFor[spec.Recipe]())
	doc, err := readDocument(file, raw, keys, extends)
	if err != nil {
		return spec.Recipe{}, err
	}
	parent := "classic"
	if e, ok := doc.values[extends].(string); ok {
		parent = e
	}
	r, err := spec.Named(parent)
	if err != nil {
		return r, Problems{{Field: file, Value: extends + " " + parent, Reason: "unknown recipe" + suggestion(parent, spec.Names())}}
	}
	r.Name = stem(file)
	doc.into(reflect.ValueOf(&r).Elem(), keys)
	settleLength(&r.Train, func(path string) bool { return doc.values[path] != nil })
	return r, nil
}

// settleLength lets train.epochs take the place of an inherited train.steps, and the
// other way round. Where both are given, validation says so.
func settleLength(t *spec.Train, given func(path string) bool) {
	epochs, steps := given("train.epochs") && t.Epochs > 0, given("train.steps") && t.Steps > 0
	switch {
	case epochs && !steps:
		t.Steps = 0
		if t.LegEpochs == 0 {
			t.LegEpochs = spec.DefaultLeg(t.Epochs)
		}
	case steps && !epochs:
		t.Epochs = 0
		if !given("train.leg_epochs") {
			t.LegEpochs = 0
		}
	}
}

// set applies one key=value of the command line, and says which key.
func set(r *spec.Recipe, keys []key, setting string) (string, *Problem) {
	path, text, ok := strings.Cut(setting, "=")
	path = strings.TrimSpace(path)
	if !ok || path == "" {
		return path, &Problem{Field: "--set", Value: setting, Reason: "write key=value, for example train.epochs=20"}
	}
	for _, k := range keys {
		if k.path != path {
			continue
		}
		v, err := parseText(strings.TrimSpace(text), k.typ)
		if err != nil {
			return path, &Problem{Field: "--set", Value: path, Reason: err.Error()}
		}
		reflect.ValueOf(r).Elem().FieldByIndex(k.index).Set(reflect.ValueOf(v))
		return path, nil
	}
	return path, &Problem{Field: "--set", Value: path, Reason: "unknown key" + suggestion(path, paths(keys))}
}
