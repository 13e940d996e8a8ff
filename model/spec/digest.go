package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Digest is the SHA-256, in lower-case hex, of v's canonical JSON: the order
// of struct fields is fixed and map keys are sorted. v must be plain data.
func Digest(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("spec: value of type %T is not plain data: %v", v, err))
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// TrainingFingerprint names what decides the trained weights: seed, networks
// and training settings, without the ones that only change the history's grain.
// Epochs are left out too, as training for longer continues the same path, unless
// rates decay over them.
func (r Recipe) TrainingFingerprint() string {
	t := r.Train
	t.LegEpochs, t.KeepCheckpoints = 0, 0
	if !t.Decays() {
		t.Epochs, t.Steps = 0, 0
	}
	return Digest(struct {
		Format int
		Seed   uint64
		Model  Model
		Train  Train
	}{2, r.Seed, r.Model, t})
}
