package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"path"
	"slices"
	"strings"
)

// How many pictures the page shows; the JSON twin lists every candidate.
const (
	maxGrid     = 36 // accepted candidates, and as many real training images
	maxRejected = 24 // rejected candidates beside their nearest real images
	openPairs   = 8  // of these, shown without unfolding the rest
	maxClosest  = 8  // accepted candidates beside theirs
)

// Shown names the pictures of a page: candidates by index, real images by
// SHA-256, each once.
type Shown struct {
	Candidates []int
	Real       []string
}

// Shown names the pictures that the page shows.
func (d Data) Shown() Shown {
	var out Shown
	s := d.shown()
	for _, c := range slices.Concat(s.grid, s.rejected, s.closest) {
		if !slices.Contains(out.Candidates, c.Index) {
			out.Candidates = append(out.Candidates, c.Index)
		}
	}
	add := func(sha string) {
		if !slices.Contains(out.Real, sha) {
			out.Real = append(out.Real, sha)
		}
	}
	for _, r := range s.real {
		add(r.SHA256)
	}
	for _, c := range slices.Concat(s.rejected, s.closest) {
		if n := c.near(); n != nil {
			add(n.SHA256)
		}
	}
	return out
}

// selection is what the page shows of the candidates and real images.
type selection struct {
	grid              []Candidate // accepted ones, or unchecked ones
	real              []Real      // training images
	rejected, closest []Candidate
}

// shown picks accepted candidates by index, and rejected and accepted ones by
// distance, the likeliest copies first. Unchecked candidates stand with the
// accepted.
func (d Data) shown() selection {
	var s selection
	if d.Samples == nil {
		return s
	}
	for _, c := range d.Samples.Images {
		if c.Accepted || !d.Samples.Checked {
			s.grid = append(s.grid, c)
		} else {
			s.rejected = append(s.rejected, c)
		}
	}
	if d.Samples.Checked {
		s.closest = slices.Clone(s.grid)
		d.sortByCloseness(s.closest)
		s.closest = s.closest[:min(len(s.closest), maxClosest)]
	}
	d.sortByCloseness(s.rejected)
	s.rejected = s.rejected[:min(len(s.rejected), maxRejected)]
	s.grid, s.real = s.grid[:min(len(s.grid), maxGrid)], d.Samples.Real
	return s
}

// RealWanted is how many training images the page shows beside the candidates:
// as many as of those, so that the eye compares like with like.
func (d Data) RealWanted() int {
	if n := len(d.shown().grid); n > 0 {
		return n
	}
	return maxGrid
}

func (d Data) sortByCloseness(cs []Candidate) {
	slices.SortStableFunc(cs, func(a, b Candidate) int { return cmp.Compare(d.closeness(a), d.closeness(b)) })
}

// closeness is a candidate's distance to what it is held against, in units of
// the distance below which it is rejected; +Inf where it is not known.
func (d Data) closeness(c Candidate) float64 {
	n, at := c.near(), 0.0
	if d.Distance != nil {
		at = d.Distance.RejectAt
		if c.Match != nil {
			at = d.Distance.TransformedRejectAt
			if c.Match.Disguised {
				at = d.Distance.DisguisedRejectAt
			}
		}
	}
	switch {
	case n == nil:
		return math.Inf(1)
	case at > 0:
		return n.Distance / at
	}
	return n.Distance
}

// tile is one picture of a grid.
type tile struct {
	Src          template.URL
	Alt, Caption string
}

// pair is a candidate beside its nearest real image.
type pair struct {
	Candidate
	Src, RealSrc template.URL
	Near         *Neighbour // nil where it was compared with none
}

// pictures fills in the grids and the pairs.
func (v *view) pictures(p Pictures) error {
	if v.Samples == nil {
		return nil
	}
	at, err := addresses(p, v.Shown())
	if err != nil {
		return err
	}
	s := v.shown()
	for _, c := range s.grid {
		v.Grid = append(v.Grid, tile{at.candidates[c.Index], fmt.Sprintf("Candidate %d", c.Index), fmt.Sprintf("#%d", c.Index)})
	}
	for _, r := range s.real {
		v.RealGrid = append(v.RealGrid, tile{at.real[r.SHA256], "Real training image " + r.Name, short(r.Name)})
	}
	rejected := pairs(s.rejected, at)
	open := min(len(rejected), openPairs)
	v.Rejected, v.MoreRejected, v.Closest = rejected[:open], rejected[open:], pairs(s.closest, at)
	for _, c := range v.Samples.Images {
		if c.Accepted {
			v.Accepted++
		}
	}
	v.RejectedAll = len(v.Samples.Images) - v.Accepted
	n := min(len(v.Samples.Images), maxRows)
	v.Rows, v.RowsLeft = v.Samples.Images[:n], len(v.Samples.Images)-n
	return nil
}

// short is the end of a file's name, which distinguishes images, without its kind.
func short(name string) string {
	const longest = 11 // characters that fit below a picture
	runes := []rune(strings.TrimSuffix(path.Base(name), path.Ext(name)))
	if len(runes) <= longest {
		return string(runes)
	}
	return "…" + string(runes[len(runes)-longest+1:])
}

func pairs(cs []Candidate, at urls) []pair {
	out := make([]pair, len(cs))
	for i, c := range cs {
		out[i] = pair{Candidate: c, Src: at.candidates[c.Index]}
		if n := c.near(); n != nil {
			near := *n
			if strings.Contains(c.Reason, near.Transform) { // said already
				near.Transform = ""
			}
			out[i].Near, out[i].RealSrc = &near, at.real[n.SHA256]
		}
	}
	return out
}
