package main

import (
	"errors"

	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/cmd/defectforge/sealing"
)

// payloads is how what Temporal keeps is written and read: encrypted where
// codec.keys is set.
type payloads struct {
	data     converter.DataConverter
	failures converter.FailureConverter
}

// plainPayloads are not encrypted.
var plainPayloads = payloads{converter.GetDefaultDataConverter(), temporal.GetDefaultFailureConverter()}

// codec encrypts, nil where no keys are set.
func (p *program) codec() (*sealing.Codec, error) {
	if p.cfg.Codec.Keys == "" {
		return nil, nil
	}
	c, err := sealing.New(p.cfg.Codec.Keys.Reveal())
	if err != nil {
		return nil, usageError("codec.keys: %w", err)
	}
	return c, nil
}

func (p *program) payloads() (payloads, error) {
	c, err := p.codec()
	if err != nil || c == nil {
		return plainPayloads, err
	}
	data := converter.NewCodecDataConverter(plainPayloads.data, c)
	return payloads{data, sealing.Failures(data)}, nil
}

// words is what a failure says.
func (p payloads) words(f *failurepb.Failure) string {
	if f == nil {
		return ""
	}
	err := p.failures.FailureToError(f)
	if app := (*temporal.ApplicationError)(nil); errors.As(err, &app) {
		return app.Message()
	}
	return err.Error()
}
