package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/client"
	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/workflows"
)

// Campaign shows a campaign.
func Campaign(c *console.Console) client.View[*workflows.CampaignStatus] {
	v := &campaignView{console: c, every: nowAndThen, now: time.Now}
	if c.Terminal {
		v.bar = console.NewBar(c.Screen, c.Screen.Columns)
	}
	return v
}

// campaignView prints a line for each run that ends, and how far the campaign is:
// on the last line of a terminal, else every so often.
type campaignView struct {
	console *console.Console
	bar     *console.Bar // nil where there is no terminal
	every   time.Duration
	now     func() time.Time
	shown   int // runs that ended and were shown
	line    string
	last    time.Time
}

func (v *campaignView) Update(status *workflows.CampaignStatus) {
	if status == nil {
		return // no worker answers
	}
	s := *status
	for _, r := range s.Recent {
		if r.Number <= v.shown {
			continue
		}
		if missed := r.Number - v.shown - 1; missed > 0 {
			v.console.Say("%-16s %d runs", "also ended", missed)
		}
		v.shown = r.Number
		words := console.TimeWords(r.Seconds)
		if r.Images > 0 {
			words = fmt.Sprintf("%d images, %s", r.Images, words)
		}
		if r.Reason != "" {
			words += ": " + r.Reason
		}
		v.console.Say("%-16s %s, %s", r.Status, r.Name, words)
	}
	line := CampaignLine(s)
	switch {
	case line == v.line || s.Stage == step.Done:
	case v.bar != nil:
		v.line = line
		v.bar.Words(line)
	case v.now().Sub(v.last) >= v.every:
		v.line, v.last = line, v.now()
		v.console.Say("%-16s %s", "campaign", line)
	}
}

func (v *campaignView) Close() {
	if v.bar != nil {
		v.bar.Close()
	}
}

// CampaignLine says in one line how far a campaign is.
func CampaignLine(s workflows.CampaignStatus) string {
	if s.Items == 0 {
		return "looking for classes"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d done", s.Counts.Done(), s.Items)
	for _, c := range Counts(s.Counts) {
		fmt.Fprintf(&b, ", %d %s", c.N, c.What)
	}
	if n := len(s.Running); n > 0 {
		b.WriteString("; under way: ")
		for i, r := range s.Running {
			if i == 4 {
				fmt.Fprintf(&b, " and %d more", n-i)
				break
			}
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(r.Name)
			if r.Waiting {
				b.WriteString(" (waits for approval)")
			}
		}
	}
	return b.String()
}

// Count is how many runs of a campaign ended alike.
type Count struct {
	N    int
	What string
}

// Counts lists the counts that are not zero.
func Counts(c step.RunCounts) []Count {
	var out []Count
	for _, w := range []Count{
		{c.Published, step.RunPublished}, {c.Passed, step.RunPassed}, {c.NotApproved, step.RunNotApproved},
		{c.Failed, step.RunFailed}, {c.Cancelled, step.RunCancelled},
	} {
		if w.N > 0 {
			out = append(out, w)
		}
	}
	return out
}
