package config

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
)

// key is one leaf of a configuration struct, in the order of its fields.
type key struct {
	path   string // dotted, as in YAML
	doc    string
	typ    reflect.Type
	index  []int // of the field, for reflect's FieldByIndex
	secret bool
}

func (k key) env() string  { return envPrefix + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_")) }
func (k key) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(k.path) }

// leaves lists the keys of a struct type by their yaml tags.
func leaves(t reflect.Type) []key { return appendLeaves(nil, t, "", nil) }

func appendLeaves(out []key, t reflect.Type, prefix string, index []int) []key {
	for i := range t.NumField() {
		f := t.Field(i)
		path := prefix + strings.Split(f.Tag.Get("yaml"), ",")[0]
		at := append(append([]int(nil), index...), i)
		if f.Type.Kind() == reflect.Struct {
			out = appendLeaves(out, f.Type, path+".", at)
			continue
		}
		out = append(out, key{
			path: path, doc: f.Tag.Get("doc"), typ: f.Type, index: at,
			secret: f.Type == reflect.TypeFor[Secret](),
		})
	}
	return out
}

func paths(keys []key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.path
	}
	return out
}

// typeName is what messages call a value's type.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number, not negative"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "text"
	}
	return t.String()
}

// suggestion is `; did you mean "x"?` for the nearest of known, or a list of
// them where none is close.
func suggestion(got string, known []string) string {
	if near := nearest(got, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	sorted := append([]string(nil), known...)
	sort.Strings(sorted)
	return "; known are " + strings.Join(sorted, ", ")
}

// nearest is the known name that differs least from got, or "" where all differ
// in more than a third of their letters. A name that is right except for the
// section before it counts as close.
func nearest(got string, known []string) string {
	got = strings.ToLower(got)
	best, least := "", 1+max(2, len(got)/3)
	for _, k := range known {
		d := editDistance(got, strings.ToLower(k))
		if tail := k[strings.LastIndexAny(k, "._")+1:]; tail == got || strings.HasSuffix(k, "."+got) {
			d = min(d, 1)
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or change, by the usual
// dynamic program over one row.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
