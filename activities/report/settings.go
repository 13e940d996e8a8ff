package report

import (
	"bytes"
	"encoding/json"
	"strings"
)

// flatten lists the leaves of v's JSON, in the order of its fields, each named
// by its dotted path. Arrays are leaves.
func flatten(v any) ([]Setting, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return appendLeaves(nil, "", raw), nil
}

// appendLeaves appends those of raw, which is well formed.
func appendLeaves(out []Setting, path string, raw json.RawMessage) []Setting {
	if len(raw) == 0 || raw[0] != '{' {
		return append(out, Setting{Name: path, Value: raw})
	}
	keys, values := members(raw)
	for _, key := range keys {
		out = appendLeaves(out, join(path, key), values[key])
	}
	return out
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
