package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/defectforge/defectforge/activities/step"
	"github.com/defectforge/defectforge/storage"
)

// maxRecord bounds run.json, in bytes.
const maxRecord = 64 << 20

// readRecord reads what a run wrote down about itself.
func readRecord(ctx context.Context, store *storage.Store, ref step.Ref) (step.RecordRunInput, error) {
	var record step.RecordRunInput
	raw, err := store.Read(ctx, storage.Object(ref), maxRecord)
	if err != nil {
		return record, fmt.Errorf("read %s: %w", ref.Key, err)
	}
	if err := json.Unmarshal(raw, &record); err != nil {
		return record, fmt.Errorf("parse %s: %w", ref.Key, err)
	}
	return record, nil
}
