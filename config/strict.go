package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxEntries bounds a list in a YAML file.
const maxEntries = 64

// document is a YAML file checked against a set of keys.
type document struct {
	values map[string]any // by dotted key, of the key's type
	lines  map[string]int
	empty  bool // nothing is written in it
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
		doc.empty = true
		return doc, nil
	}
	for _, e := range extra {
		keys = append(keys[:len(keys):len(keys)], key{path: e, typ: reflect.TypeFor[string]()})
	}
	var problems Problems
	newWalker(file, "", doc, keys, &problems).walk(root.Content[0], "")
	return doc, problems.orNil()
}

// into sets those fields of a struct that the document gives. keys are the leaves of
// its type.
func (d document) into(target reflect.Value, keys []key) {
	for _, k := range keys {
		if v, ok := d.values[k.path]; ok {
			target.FieldByIndex(k.index).Set(reflect.ValueOf(v))
		}
	}
}

// walker reads one struct's worth of keys.
type walker struct {
	file     string
	base     string // the path of the struct itself, for messages: "" or "rules[2]."
	doc      document
	keys     map[string]reflect.Type
	known    []string
	problems *Problems
}

func newWalker(file, base string, doc document, keys []key, problems *Problems) *walker {
	w := &walker{file: file, base: base, doc: doc, keys: map[string]reflect.Type{}, problems: problems}
	for _, k := range keys {
		w.keys[k.path] = k.typ
		w.known = append(w.known, k.path)
	}
	return w
}

func (w *walker) add(n *yaml.Node, path, reason string) {
	w.problems.add(fmt.Sprintf("%s:%d", w.file, n.Line), w.base+path, reason)
}

func (w *walker) walk(n *yaml.Node, prefix string) {
	if n = target(n); n.Kind != yaml.MappingNode {
		name := strings.TrimSuffix(w.base+prefix, ".")
		if name == "" {
			name = "the file"
		}
		w.problems.add(fmt.Sprintf("%s:%d", w.file, n.Line), name, "is a section: write `key: value` lines below it")
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
		w.add(name, path, fmt.Sprintf("given twice, first on line %d; keep one", w.doc.lines[path]))
	case leaf:
		w.doc.lines[path] = name.Line
		if v, ok := w.value(value, path, typ); ok {
			w.doc.values[path] = v
		}
	case w.section(path):
		if value.Tag != "!!null" { // an empty section, all of it commented out
			w.walk(value, path+".")
		}
	default:
		w.add(name, path, "unknown key"+suggestion(path, w.known))
	}
}

// value reads a scalar, a pointer to one, or a list of structs.
func (w *walker) value(n *yaml.Node, path string, typ reflect.Type) (any, bool) {
	switch typ.Kind() {
	case reflect.Slice:
		return w.list(target(n), path, typ)
	case reflect.Pointer:
		out := reflect.New(typ.Elem())
		v, ok := w.value(n, path, typ.Elem())
		if ok {
			out.Elem().Set(reflect.ValueOf(v))
		}
		return out.Interface(), ok
	}
	out := reflect.New(typ)
	if n.Tag == "!!null" || !sameKind(n, typ) || n.Decode(out.Interface()) != nil {
		shown := n.Value
		if typ == reflect.TypeFor[Secret]() {
			shown = hidden
		}
		w.add(n, path, fmt.Sprintf("%q is not %s", shown, typeName(typ)))
		return nil, false
	}
	return out.Elem().Interface(), true
}

// list reads a list of structs. A struct's keys are known by their own names,
// whatever its place in the list.
func (w *walker) list(n *yaml.Node, path string, typ reflect.Type) (any, bool) {
	if n.Kind != yaml.SequenceNode {
		w.add(n, path, fmt.Sprintf("is a list: begin each %s with a hyphen", strings.TrimSuffix(path, "s")))
		return nil, false
	}
	if len(n.Content) > maxEntries {
		w.add(n, path, fmt.Sprintf("%d %s; at most %d are read", len(n.Content), path, maxEntries))
		return nil, false
	}
	out := reflect.MakeSlice(typ, len(n.Content), len(n.Content))
	keys := leaves(typ.Elem())
	for i, entry := range n.Content {
		doc := document{values: map[string]any{}, lines: map[string]int{}}
		newWalker(w.file, fmt.Sprintf("%s%s[%d].", w.base, path, i), doc, keys, w.problems).walk(entry, "")
		doc.into(out.Index(i), keys)
	}
	return out.Interface(), true
}

// target is what an alias stands for; any other node is itself.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (w *walker) section(path string) bool {
	for _, k := range w.known {
		if len(k) > len(path) && k[:len(path)] == path && k[len(path)] == '.' {
			return true
		}
	}
	return false
}

// sameKind refuses what yaml would silently convert: a number or truth
// value where text belongs, and text where a number belongs.
func sameKind(n *yaml.Node, t reflect.Type) bool {
	if n = target(n); n.Kind != yaml.ScalarNode {
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
