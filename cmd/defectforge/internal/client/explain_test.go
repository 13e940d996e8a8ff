package client

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/defectforge/defectforge/activities/step"
)

func TestFailuresSayWhatToDo(t *testing.T) {
	for kind := range remedies {
		err := Explain(temporal.NewNonRetryableApplicationError("Train: broken", kind, nil))
		assert.Contains(t, err.Error(), "Train: broken; ")
	}
	few := Explain(temporal.NewNonRetryableApplicationError("Ingest: 5 images; add more", step.ErrTooFewImages, nil))
	assert.EqualError(t, few, "Ingest: 5 images; add more")
	assert.Contains(t, Explain(temporal.NewCanceledError()).Error(), "cancelled; run the same command again")
	assert.Contains(t, Explain(temporal.NewNonRetryableApplicationError("Sample: x", "Other", nil)).Error(), "run the same command again")
	sealed := &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/defectforge-aes256gcm")}}
	assert.ErrorContains(t, Explain(PlainPayloads.Data.FromPayload(sealed, new(string))), "set codec.keys")
	plain := errors.New("plain")
	assert.Equal(t, plain, Explain(plain))
}
