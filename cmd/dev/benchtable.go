package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// ratio is one line of the comparison. Ratio above 1 means that ours is better.
type ratio struct {
	Name        string  `json:"name"`
	Ours        float64 `json:"ours"`
	Peer        float64 `json:"peer"`
	PeerVersion string  `json:"peer_version"`
	Unit        string  `json:"unit"`
	Ratio       float64 `json:"ratio"`
}

// less makes a line of values of which the smaller is better.
func less(name, unit string, ours, peer float64, version string) ratio {
	return ratio{Name: name, Ours: ours, Peer: peer, PeerVersion: version, Unit: unit, Ratio: peer / ours}
}

// more makes a line of values of which the larger is better.
func more(name, unit string, ours, peer float64, version string) ratio {
	return ratio{Name: name, Ours: ours, Peer: peer, PeerVersion: version, Unit: unit, Ratio: ours / peer}
}

// medianOf is the median of a value of some runs, the lower one of two in the
// middle.
func medianOf[T any](runs []T, of func(T) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

const tableNotes = `
A ratio above 1 means that ours is better. The share of the peak counts the
multiplications of the direct algorithm; Winograd's needs 9 in place of 16 in the
layers that take it, so that the share can come out above what direct
multiplication could reach, even above 1.
`

func printRatios(w io.Writer, rows []ratio, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tours\tpeer\tunit\tratio\tpeer's version")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%s\t%.2f\t%s\n", r.Name, r.Ours, r.Peer, r.Unit, r.Ratio, r.PeerVersion)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, tableNotes)
	return err
}
