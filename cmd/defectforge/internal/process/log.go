package process

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	sdklog "go.temporal.io/sdk/log"
)

// level is the configured one.
func (p *Process) level() (level slog.Level) {
	_ = level.UnmarshalText([]byte(p.cfg.Log.Level)) // validated
	return level
}

// screenLog writes to standard error.
func (p *Process) screenLog(level slog.Level) slog.Handler {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: ourNames}
	if p.cfg.Log.Format == "json" {
		return slog.NewJSONHandler(p.console.Screen, o)
	}
	return slog.NewTextHandler(p.console.Screen, o)
}

// maxLogBytes is where a log file is put aside; one former file is kept.
const maxLogBytes = 32 << 20

// logToFile keeps the full log of the embedded stack and its worker below the
// data folder, so that standard error can stay quiet.
func (p *Process) logToFile() error {
	if p.logFile != nil {
		return nil
	}
	dir := filepath.Join(p.cfg.DataDir, "logs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create log folder: %w; choose another --data-dir", err)
	}
	name := filepath.Join(dir, "defectforge.log")
	if info, err := os.Stat(name); err == nil && info.Size() > maxLogBytes {
		_ = os.Rename(name, name+".1") // else it keeps growing
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w; choose another --data-dir", err)
	}
	level := p.level()
	p.logFile = f
	file := slog.NewJSONHandler(f, &slog.HandlerOptions{Level: min(level, slog.LevelInfo), ReplaceAttr: ourNames})
	p.log = slog.New(slog.NewMultiHandler(p.screenLog(level), file))
	if level > slog.LevelInfo {
		p.sdkLog = slog.New(file)
	}
	return nil
}

// temporalLogger is the SDK's view of the log.
func (p *Process) temporalLogger() sdklog.Logger {
	return sdklog.NewStructuredLogger(p.stageLog().With("component", "temporal"))
}

// stageLog is where stages and the SDK write. Where there is a file, failed
// attempts are only logged there unless more is asked for: standard error shows
// them in fewer words.
func (p *Process) stageLog() *slog.Logger {
	if p.sdkLog != nil {
		return p.sdkLog
	}
	return p.log
}

// sdkNames are the SDK's names of what our own lines name too.
var sdkNames = map[string]string{
	"WorkflowID": "workflow_id", "RunID": "run_id", "ActivityType": "stage", "Attempt": "attempt",
	"TraceID": "trace_id", "SpanID": "span_id", "Error": "error", "Namespace": "namespace", "TaskQueue": "task_queue",
	"WorkerID": "worker_id", "WorkflowType": "workflow_type", "ActivityID": "activity_id",
}

// ourNames lets one query find a run's or a stage's lines, whoever wrote them.
func ourNames(_ []string, a slog.Attr) slog.Attr {
	if name, ok := sdkNames[a.Key]; ok {
		a.Key = name
	}
	return a
}
