package workflows

import (
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/defectforge/defectforge/activities/step"
)

// changeNotifyEnd guards the notice of how a run ended: runs that ended before it
// was introduced have none in their history. Histories hold the value.
const changeNotifyEnd = "tell-how-the-run-ended"

const (
	// endPatience bounds how long a notice may hold up the end of a run.
	endPatience = 3 * time.Minute
	// maxReasons and maxWords bound what a notice quotes.
	maxReasons = 20
)

// notifyEnd sends the notice of how the run ended. Whether it arrives changes
// nothing about the end. None is sent of a cancelled run, which somebody asked
// for, nor of one that found nothing to do, as most scheduled runs may. A run that
// continues as new has not ended, and of one that is to be compared with others,
// whoever compares gives notice.
func (a *augmentation) notifyEnd(ctx workflow.Context, out AugmentResult, err error) {
	silent := err == nil && (a.idle() || a.in.Unpublished)
	if silent || workflow.IsContinueAsNewError(err) || temporal.IsCanceledError(err) || ctx.Err() != nil {
		return
	}
	if workflow.GetVersion(ctx, changeNotifyEnd, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return
	}
	n := a.endNotice(out, err)
	o := notifying(strings.TrimPrefix(n.Kind, "run.") + ": " + a.in.Class)
	o.ScheduleToCloseTimeout = endPatience
	if _, err := step.Notify.Run(workflow.WithActivityOptions(ctx, o), step.NotifyInput{Notice: n}); err != nil {
		workflow.GetLogger(ctx).Warn("The notice of how the run ended could not be sent", "error", rootMessage(err))
	}
}

// endNotice says how the run ended.
func (a *augmentation) endNotice(out AugmentResult, err error) step.Notice {
	n := step.Notice{
		Kind: step.NoticeRejected, Run: a.outcome.Run, Class: a.in.Class, Verdict: a.outcome.Assess.Verdict, Report: a.report.HTML.Key,
		Release: out.Prefix, ManifestSHA256: out.ManifestSHA256, Images: out.ImagesPublished,
	}
	if key := a.record.Report.Key; key != "" {
		n.Report = key
	}
	switch {
	case err != nil:
		n.Kind, n.Failure = step.NoticeFailed, &step.NoticeFailure{Type: kindOf(err), Message: brief(rootMessage(err))}
	case out.Release != "":
		n.Kind = step.NoticePublished
	default:
		for _, reason := range out.Reasons[:min(len(out.Reasons), maxReasons)] {
			n.Reasons = append(n.Reasons, brief(reason))
		}
	}
	return n
}

// brief cuts text to maxWords bytes, between two characters.
func brief(text string) string {
	if len(text) <= maxWords {
		return text
	}
	return strings.ToValidUTF8(text[:maxWords], "") + "..."
}
