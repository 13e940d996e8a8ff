package console

import "time"

// TimeWords rounds a number of seconds to what a person reads.
func TimeWords(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < 24*time.Hour:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Minute).String()
}

// Dash stands for a text that is empty.
func Dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Dashes replaces the empty ones of several texts.
func Dashes(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = Dash(v)
	}
	return out
}

// Either is a where yes holds, else b.
func Either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
