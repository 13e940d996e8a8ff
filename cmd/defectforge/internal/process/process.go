// Package process is what a command runs in: its log, its connections to
// Temporal and the store, the embedded stack and the workers where this process
// runs them, and what it reports of itself.
package process

import (
	"io"
	"log/slog"

	"github.com/defectforge/defectforge/cmd/defectforge/internal/console"
	"github.com/defectforge/defectforge/config"
)

// Process is this process, with its configuration.
type Process struct {
	cfg       config.Config
	console   *console.Console
	log       *slog.Logger
	sdkLog    *slog.Logger // the SDK's, where it is not log
	logFile   io.Closer
	telemetry *telemetry // nil before it is needed
}

// New makes a process that logs to the console's screen.
func New(c *console.Console, cfg config.Config) *Process {
	p := &Process{cfg: cfg, console: c}
	p.log = slog.New(p.screenLog(p.level()))
	return p
}

// Silent makes a process that logs nothing.
func Silent(c *console.Console, cfg config.Config) *Process {
	return &Process{cfg: cfg, console: c, log: slog.New(slog.DiscardHandler)}
}

// Log is where this process logs.
func (p *Process) Log() *slog.Logger { return p.log }

// Close sends the last traces and closes the log.
func (p *Process) Close() {
	if p == nil {
		return
	}
	if p.telemetry != nil {
		if err := p.telemetry.close(); err != nil {
			p.log.Warn("the last traces are not sent", "error", err)
		}
	}
	if p.logFile != nil {
		_ = p.logFile.Close()
	}
}
