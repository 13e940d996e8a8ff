package config

import (
	"fmt"
	"reflect"
	"strconv"

	"gopkg.in/yaml.v3"
)

// document is a YAML file checked against a set of keys.
type document struct {
	values map[string]any // by dotted key, of the key's type
	lines  map[string]int
}

// readDocument parses raw strictly: unknown keys, keys given twice and values
// of another type are problems that name file and line. extra keys are taken
// as text.
func readDocument(file string, raw []byte, keys []key, extra ...string) (document, error) {
	doc := document{values: map[string]any{}, lines: map[string]int{}}
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		return doc, Problems{{Field: file, Reason: fmt.Sprintf("not valid YAML (%v)", err)}}
	}
	if len(root.Content) == 0 || root.Content[0].Tag == "!!null" {
		return doc, nil
	}
	w := walker{file: file, doc: doc, keys: map[string]reflect.Type{}}
	for _, k := range keys {
		w.keys[k.path] = k.typ
		w.known = append(w.known, k.path)
	}
	for _, e := range extra {
		w.keys[e] = reflect.TypeFor[string]()
		w.known = append(w.known, e)
	}
	w.walk(root.Content[0], "")
	return doc, w.problems.orNil()
}

type walker struct {
	file     string
	doc      document
	keys     map[string]reflect.Type
	known    []string
	problems Problems
}

func (w *walker) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", w.file, n.Line) }

func (w *walker) walk(n *yaml.Node, prefix string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		name := prefix
		if name == "" {
			name = "the file"
		}
		w.problems.add(w.at(n), name, "is a section: write `key: value` lines below it")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		w.entry(n.Content[i], n.Content[i+1], prefix)
	}
}

func (w *walker) entry(name, value *yaml.Node, prefix string) {
	path := prefix + name.Value
	typ, leaf := w.keys[path]
	switch {
	case leaf && w.doc.lines[path] > 0:
		w.problems.add(w.at(name), path, fmt.Sprintf("given twice, first on line %d; keep one", w.doc.lines[path]))
	case leaf:
		w.doc.lines[path] = name.Line
		out := reflect.New(typ)
		if value.Tag == "!!null" || !sameKind(value, typ) || value.Decode(out.Interface()) != nil {
			shown := value.Value
			if typ == reflect.TypeFor[Secret]() {
				shown = hidden
			}
			w.problems.add(w.at(value), path, fmt.Sprintf("%q is not %s", shown, typeName(typ)))
			return
		}
		w.doc.values[path] = out.Elem().Interface()
	case w.section(path):
		if value.Tag != "!!null" { // an empty section, all of it commented out
			w.walk(value, path+".")
		}
	default:
		w.problems.add(w.at(name), path, "unknown key"+suggestion(path, w.known))
	}
}

func (w *walker) section(path string) bool {
	for _, k := range w.known {
		if len(k) > len(path) && k[:len(path)] == path && k[len(path)] == '.' {
			return true
		}
	}
	return false
}

// sameKind refuses what yaml would convert without a word: a number or truth
// value where text belongs, and text where a number belongs.
func sameKind(n *yaml.Node, t reflect.Type) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return false
	}
	switch t.Kind() {
	case reflect.Bool:
		return n.Tag == "!!bool"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return n.Tag == "!!int"
	case reflect.Float64:
		return n.Tag == "!!int" || n.Tag == "!!float"
	}
	// Keys and names that look like numbers are still text.
	return n.Tag == "!!str" || n.Tag == "!!int" || n.Tag == "!!float"
}

// parseText reads a value from the environment or from --set.
func parseText(text string, t reflect.Type) (any, error) {
	out := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not %s", text, typeName(t))
		}
		out.SetBool(v)
	case reflect.Int, reflect.Int64:
		v, err := strconv.ParseInt(text, 10, t.Bits())
		if err != nil {
			return nil, fmt.Errorf("%q is not %s", text, typeName(t))
		}
		out.SetInt(v)
	case reflect.Uint64:
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not %s", text, typeName(t))
		}
		out.SetUint(v)
	case reflect.Float64:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not %s", text, typeName(t))
		}
		out.SetFloat(v)
	default:
		out.SetString(text)
	}
	return out.Interface(), nil
}
