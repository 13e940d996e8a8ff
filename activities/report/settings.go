package report

import (
	"bytes"
	"encoding/json"
)

// flatten lists the leaves of v's JSON, in the order of its fields, each named
// by its dotted path. Arrays are leaves.
func flatten(v any) ([]Setting, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return appendLeaves(nil, "", raw)
}

func appendLeaves(out []Setting, path string, raw json.RawMessage) ([]Setting, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return append(out, Setting{Name: path, Value: raw}), nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil { // the opening brace
		return nil, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		name := key.(string) // an object's keys are strings
		if path != "" {
			name = path + "." + name
		}
		if out, err = appendLeaves(out, name, value); err != nil {
			return nil, err
		}
	}
	return out, nil
}
