package process

import (
	"context"
	"errors"
	"time"
)

// Stack is the embedded Temporal and store that this process runs, or that
// another process runs for the same data folder.
type Stack struct {
	TemporalAddress, Namespace, UIURL string
	StoreEndpoint                     string

	accessKey, secretKey, sync string
	failed                     <-chan error                // a part died for good; nil where another process runs it
	stop                       func(context.Context) error // nil where another process runs it
}

// Mine reports whether this process runs the stack, and so should run a worker.
func (e *Stack) Mine() bool { return e.stop != nil }

// Running finds the stack that another process runs for the data folder, nil for
// none.
func (p *Process) Running(ctx context.Context) (*Stack, error) { return attachStack(ctx, p.cfg) }

// embeddedStack attaches to the stack of the data folder, or starts it. Another
// process may be just starting or stopping it, so both are tried for a while.
func (p *Process) embeddedStack(ctx context.Context) (*Stack, error) {
	if err := p.logToFile(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(stopPatience)
	for {
		e, err := attachStack(ctx, p.cfg)
		if err != nil {
			return nil, err
		}
		if e != nil {
			return e, nil
		}
		e, err = p.startOwnStack(ctx)
		if err == nil {
			return e, nil
		}
		if !errors.Is(err, errStackLocked) || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// passing is how long a stack may take to stop that another command, such as
// `runs list`, started for itself alone.
const passing = 5 * time.Second

// OpenOwn opens a session with a stack of this process, if that becomes
// possible soon, else with that of another.
func (p *Process) OpenOwn(ctx context.Context) (*Session, error) {
	for deadline := time.Now().Add(passing); ; {
		s, err := p.Open(ctx)
		if err != nil || s.Owns() || time.Now().After(deadline) {
			return s, err
		}
		s.Close()
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// startOwnStack starts the embedded stack, and with keys a codec server for its
// web UI.
func (p *Process) startOwnStack(ctx context.Context) (*Stack, error) {
	c, err := p.embeddedCodec()
	if err != nil {
		return nil, err
	}
	endpoint := ""
	if c != nil {
		endpoint = c.Endpoint
	}
	e, err := startStack(ctx, p.cfg, endpoint, p.log)
	if err != nil {
		c.Close()
		return nil, err
	}
	if c != nil {
		c.codec.Allow(e.UIURL)
		stop := e.stop
		e.stop = func(ctx context.Context) error {
			c.Close()
			return stop(ctx)
		}
	}
	return e, nil
}
