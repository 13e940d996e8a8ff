package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const installPeers = "python3 -m venv peers && peers/bin/pip install torch numpy pillow scikit-learn faiss-cpu"

// The peers that --peers names, and the modules that each needs.
const (
	pyTorch     = "pytorch"
	scikitLearn = "scikit-learn"
	faiss       = "faiss"
	pillow      = "pillow"
)

var peerModules = map[string][]string{
	pyTorch:     {"torch"},
	scikitLearn: {"sklearn", "numpy"},
	faiss:       {"faiss", "numpy"},
	pillow:      {"PIL", "numpy"},
}

func peerNames() []string { return []string{pyTorch, scikitLearn, faiss, pillow} }

// peersScript is the peers' side of kNN and preprocessing.
//
//go:embed peers.py
var peersScript []byte

// scriptPath is where findPeers puts peersScript.
func (b *benchmark) scriptPath() string { return filepath.Join(b.dir, "peers.py") }

// findPeers sees that all peers asked for are there before anything is measured.
func (b *benchmark) findPeers(ctx context.Context) error {
	if len(b.peers) == 0 {
		return nil
	}
	if _, err := exec.LookPath(b.python); err != nil {
		return fmt.Errorf("--python: %w; %s", err, howToInstall)
	}
	if b.has(pyTorch) {
		if _, err := os.Stat(b.script); err != nil {
			return fmt.Errorf("--script: %w; name the PyTorch twin, or leave %s out of --peers", err, pyTorch)
		}
	}
	if err := os.WriteFile(b.scriptPath(), peersScript, 0o600); err != nil {
		return fmt.Errorf("write peers' script: %w", err)
	}
	var modules []string
	for _, p := range b.peers {
		modules = append(modules, peerModules[p]...)
	}
	slices.Sort(modules)
	found, err := measure[map[string]string](ctx, b, b.python, append([]string{b.scriptPath(), "versions"}, slices.Compact(modules)...))
	if err != nil {
		return err
	}
	b.versions = map[string]string{}
	return b.nameVersions(found)
}

const howToInstall = "install the peers by: " + installPeers

// nameVersions takes over the modules' versions, which are empty for missing ones.
func (b *benchmark) nameVersions(modules map[string]string) error {
	var missing []string
	for _, p := range b.peers {
		for _, m := range peerModules[p] {
			if modules[m] == "" {
				missing = append(missing, m)
			}
		}
		b.versions[p] = p + " " + modules[peerModules[p][0]]
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("%s lacks %s; %s; or name the peers to compare with by --peers",
			b.python, strings.Join(slices.Compact(missing), ", "), howToInstall)
	}
	return nil
}
