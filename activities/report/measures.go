package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Measure is one number that was taken, bounded by a rule or not.
type Measure struct {
	Name      string   `json:"name"`
	Value     *float64 `json:"value,omitempty"`
	Text      string   `json:"text,omitempty"` // in place of a number
	Low       *float64 `json:"low,omitempty"`
	High      *float64 `json:"high,omitempty"`
	Reference *float64 `json:"reference,omitempty"` // of real images against real ones
}

// maxListed is the longest list of values that is told one by one.
const maxListed = 8

var errMeasures = errors.New("unreadable measures")

// Measured is what a document of measures holds.
type Measured struct {
	Measures []Measure
	Notes    []string
}

// ReadMeasures lists what a document of measures holds, in its order and named
// by path. It asks for no format: an object with a number "value" is a measure,
// and so is every other leaf, but for the document's own notes.
func ReadMeasures(raw []byte) (Measured, error) {
	var out Measured
	if !json.Valid(raw) {
		return out, fmt.Errorf("%w: no JSON", errMeasures)
	}
	raw = bytes.TrimSpace(raw)
	if raw[0] != '{' {
		gather(&out.Measures, "", raw)
		return out, nil
	}
	keys, fields := members(raw)
	for _, key := range keys {
		switch {
		case key == "format", key == "notes" && json.Unmarshal(fields[key], &out.Notes) == nil:
		case key == "measures":
			gather(&out.Measures, "", fields[key])
		default:
			gather(&out.Measures, key, fields[key])
		}
	}
	return out, nil
}

func gather(out *[]Measure, path string, raw json.RawMessage) {
	raw = bytes.TrimSpace(raw)
	switch raw[0] {
	case '{':
		gatherObject(out, path, raw)
	case '[':
		gatherList(out, path, raw)
	default:
		*out = append(*out, leaf(path, raw))
	}
}

func gatherObject(out *[]Measure, path string, raw json.RawMessage) {
	keys, fields := members(raw)
	if m, ok := measured(path, fields); ok {
		*out = append(*out, m)
		return
	}
	for _, key := range keys {
		if path != "" && (key == "name" || key == "measure") { // they are in the path
			continue
		}
		gather(out, join(path, key), fields[key])
	}
}

func gatherList(out *[]Measure, path string, raw json.RawMessage) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		*out = append(*out, Measure{Name: path, Text: "none"})
		return
	}
	if first := bytes.TrimSpace(list[0]); first[0] != '{' {
		text := fmt.Sprintf("%d values", len(list))
		if len(list) <= maxListed {
			text = string(bytes.Trim(raw, "[]"))
		}
		*out = append(*out, Measure{Name: path, Text: text})
		return
	}
	for i, entry := range list {
		_, fields := members(entry)
		name := textField(fields, "name", "measure")
		if name == "" {
			name = strconv.Itoa(i + 1)
		}
		gather(out, join(path, name), entry)
	}
}

// measured reads an object that is one measure.
func measured(path string, fields map[string]json.RawMessage) (Measure, bool) {
	value := numeric(fields["value"])
	if value == nil {
		return Measure{}, false
	}
	if path == "" {
		path = textField(fields, "name", "measure")
	}
	m := Measure{Name: path, Value: value, Low: numeric(fields["low"]), High: numeric(fields["high"]), Reference: numeric(fields["reference"])}
	var interval []float64
	if json.Unmarshal(fields["interval"], &interval) == nil && len(interval) == 2 {
		m.Low, m.High = &interval[0], &interval[1]
	}
	return m, true
}

func leaf(path string, raw json.RawMessage) Measure {
	if v := numeric(raw); v != nil {
		return Measure{Name: path, Value: v}
	}
	var s string
	switch {
	case json.Unmarshal(raw, &s) == nil && string(raw) != "null":
	case string(raw) == "null":
		s = "not measured"
	default:
		s = string(raw)
	}
	return Measure{Name: path, Text: s}
}

// numeric is the number that raw holds, or nil.
func numeric(raw json.RawMessage) *float64 {
	var v *float64
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	return v
}

// textField is the first string among the named fields.
func textField(fields map[string]json.RawMessage, names ...string) string {
	for _, name := range names {
		var s string
		if json.Unmarshal(fields[name], &s) == nil && s != "" {
			return s
		}
	}
	return ""
}

// members are an object's keys in order, and its values.
func members(raw json.RawMessage) ([]string, map[string]json.RawMessage) {
	fields := map[string]json.RawMessage{}
	if json.Unmarshal(raw, &fields) != nil {
		return nil, fields
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the opening brace
	var keys []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return keys, fields
		}
		keys = append(keys, key.(string)) // an object's keys are strings
		var skipped json.RawMessage
		if dec.Decode(&skipped) != nil {
			return keys, fields
		}
	}
	return keys, fields
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }
