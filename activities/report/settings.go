package report

import "encoding/json"

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
