package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	sdklog "go.temporal.io/sdk/log"
)

// screen is standard error shared by log lines and a progress line at its
// bottom, which is wiped before anything else is written.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	dirty bool // a progress line stands there
}

const wipeLine = "\r\x1b[2K"

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirty {
		s.dirty = false
		if _, err := io.WriteString(s.w, wipeLine); err != nil {
			return 0, err
		}
	}
	return s.w.Write(b)
}

// progress draws over the progress line.
func (s *screen) progress(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
	return s.w.Write(b)
}

func (p *program) setLogger() {
	var level slog.Level
	_ = level.UnmarshalText([]byte(p.cfg.Log.Level)) // validated
	p.log = slog.New(p.stderrHandler(level))
}

func (p *program) stderrHandler(level slog.Level) slog.Handler {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: ourNames}
	if p.cfg.Log.Format == "json" {
		return slog.NewJSONHandler(p.screen, o)
	}
	return slog.NewTextHandler(p.screen, o)
}

// maxLogBytes is where a log file is put aside; one former file is kept.
const maxLogBytes = 32 << 20

// logToFile keeps the full log of the embedded stack and its worker below the
// data folder, so that standard error can stay quiet.
func (p *program) logToFile() error {
	if p.logFile != nil {
		return nil
	}
	dir := filepath.Join(p.cfg.DataDir, "logs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create log folder: %w; choose another --data-dir", err)
	}
	name := filepath.Join(dir, "defectforge.log")
	if info, err := os.Stat(name); err == nil && info.Size() > maxLogBytes {
		_ = os.Rename(name, name+".1") // else it grows on
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w; choose another --data-dir", err)
	}
	var level slog.Level
	_ = level.UnmarshalText([]byte(p.cfg.Log.Level))
	p.logFile = f
	file := slog.NewJSONHandler(f, &slog.HandlerOptions{Level: min(level, slog.LevelInfo), ReplaceAttr: ourNames})
	p.log = slog.New(slog.NewMultiHandler(p.stderrHandler(level), file))
	if level > slog.LevelInfo {
		p.sdkLog = slog.New(file)
	}
	return nil
}

// temporalLogger is the SDK's view of the log.
func (p *program) temporalLogger() sdklog.Logger {
	return sdklog.NewStructuredLogger(p.stageLog().With("component", "temporal"))
}

// stageLog is where stages and the SDK write. Where there is a file, failed
// attempts are only told there unless more is asked for: standard error shows
// them in fewer words.
func (p *program) stageLog() *slog.Logger {
	if p.sdkLog != nil {
		return p.sdkLog
	}
	return p.log
}

// sdkNames are the SDK's names of what our own lines tell too.
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
