package config

import "strings"

// Problem is one thing wrong with the configuration.
type Problem struct {
	Field  string // dotted key, or the variable or file it came from
	Value  string
	Reason string // what is wrong, and what to do
}

func (p Problem) Error() string {
	if p.Value == "" {
		return p.Field + ": " + p.Reason
	}
	return p.Field + ": " + p.Value + ": " + p.Reason
}

// Problems is every problem found, reported at once. It is an error unless it is empty.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

func (p *Problems) add(field, value, reason string) {
	*p = append(*p, Problem{Field: field, Value: value, Reason: reason})
}
