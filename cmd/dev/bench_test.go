package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/defectforge/defectforge/model/quality"
	"github.com/defectforge/defectforge/model/spec"
)

func TestARatioAboveOneMeansThatOursIsBetter(t *testing.T) {
	require.Equal(t, ratio{"step", 2, 3, "peer 1", "s", 1.5}, less("step", "s", 2, 3, "peer 1"))
	require.Equal(t, ratio{"rate", 3, 2, "peer 1", "images/s", 1.5}, more("rate", "images/s", 3, 2, "peer 1"))
}

func TestMedianOf(t *testing.T) {
	of := func(x float64) float64 { return x }
	require.EqualValues(t, 2, medianOf([]float64{9, 2, 1}, of))
	require.EqualValues(t, 2, medianOf([]float64{9, 1, 3, 2}, of), "the lower one of two")
}

func TestTable(t *testing.T) {
	rows := []ratio{less("training step 64/128", "s", 2, 5, "pytorch 2.9"), more("kNN", "of 10", 10, 8, "faiss 1.15")}
	var out bytes.Buffer
	require.NoError(t, printRatios(&out, rows, false))
	lines := strings.Split(out.String(), "\n")
	require.Equal(t, []string{"what", "ours", "peer", "unit", "ratio", "peer's", "version"}, strings.Fields(lines[0]))
	require.Equal(t, []string{"training", "step", "64/128", "2", "5", "s", "2.50", "pytorch", "2.9"}, strings.Fields(lines[1]))
	require.Equal(t, []string{"kNN", "10", "8", "of", "10", "1.25", "faiss", "1.15"}, strings.Fields(lines[2]))
	require.Contains(t, out.String(), "Winograd")

	out.Reset()
	require.NoError(t, printRatios(&out, rows, true))
	var objects []map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &objects))
	require.Equal(t, map[string]any{"name": "training step 64/128", "ours": 2.0, "peer": 5.0, "peer_version": "pytorch 2.9",
		"unit": "s", "ratio": 2.5}, objects[0])
	require.Len(t, objects, 2)
}

func TestTrainingRows(t *testing.T) {
	runs := trainingRuns{
		ours: []trainingRun{{Step: 2, Sample: 30, Memory: 100, Work: 400e9}, {Step: 9, Sample: 10, Memory: 100}, {Step: 1, Sample: 20, Memory: 100}},
		peer: []trainingRun{{Step: 4, Sample: 10, Memory: 250}},
		peak: []peakRun{{"avx512", 100e9}},
	}
	rows := runs.rows("64/128", "pytorch 2.9", 2)
	require.Len(t, rows, 4)
	for i, want := range []float64{2, 2, 2.5, 2} {
		require.InDelta(t, want, rows[i].Ratio, 1e-12, rows[i].Name)
	}
	require.Contains(t, rows[3].PeerVersion, "avx512")
	runs.peer = nil
	require.Len(t, runs.rows("64/128", "", 2), 1, "the share of the peak needs no peer")
}

func TestLastObjectSkipsWhatAPeerPrintsBefore(t *testing.T) {
	var r trainingRun
	require.NoError(t, lastObject([]byte("a warning\n{\"step_seconds_median\": 2.5, \"device\": \"cpu\"}\n\n"), &r))
	require.EqualValues(t, 2.5, r.Step)
	require.Error(t, lastObject([]byte("Killed\n"), &r))
	require.Error(t, lastObject(nil, &r))
}

func TestBadOptionsAreRefused(t *testing.T) {
	good := benchOptions{rounds: 1, steps: 1, batch: 2, threads: 1, reals: searchK, candidates: 1, peers: peerNames()}
	require.NoError(t, good.validate())
	for flag, spoil := range map[string]func(o *benchOptions){
		"--rounds":     func(o *benchOptions) { o.rounds = 0 },
		"--batch":      func(o *benchOptions) { o.batch = 1 },
		"--reals":      func(o *benchOptions) { o.reals = searchK - 1 },
		"--candidates": func(o *benchOptions) { o.candidates = -1 },
		"--peers":      func(o *benchOptions) { o.peers = []string{"torch"} },
	} {
		o := good
		spoil(&o)
		require.ErrorContains(t, o.validate(), flag)
	}
}

// interpreter is a Python that says what it was made to.
func interpreter(t *testing.T, says string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o700))
	return path
}

func TestAMissingPeerIsAnErrorThatSaysHowToInstallIt(t *testing.T) {
	b := benchmark{dir: t.TempDir(), benchOptions: benchOptions{threads: 1, peers: []string{faiss, pillow},
		python: interpreter(t, `{"faiss": "", "numpy": "2.4", "PIL": "12.0"}`)}}
	err := b.findPeers(context.Background())
	require.ErrorContains(t, err, "lacks faiss;")
	require.ErrorContains(t, err, installPeers)
	b.peers = []string{pillow}
	require.NoError(t, b.findPeers(context.Background()))
	require.Equal(t, "pillow 12.0", b.versions[pillow])

	b.python = filepath.Join(b.dir, "no-python")
	require.ErrorContains(t, b.findPeers(context.Background()), installPeers)
	b.peers = nil
	require.NoError(t, b.findPeers(context.Background()), "without peers there is no need of Python")
	b.peers, b.python, b.script = []string{pyTorch}, interpreter(t, ""), "no-such-twin.py"
	require.ErrorContains(t, b.findPeers(context.Background()), "--script")
}

// The neighbours that our side finds, compared with lists of a peer's.
func TestAgree(t *testing.T) {
	dir := t.TempDir()
	s := searchData(300, 20)
	require.NoError(t, s.write(dir))
	own, err := benchSearch(dir)
	require.NoError(t, err)
	copies := 0
	for _, list := range own.Squares {
		require.Len(t, list, searchK)
		if list[0] <= 3 {
			copies++
		}
	}
	require.Equal(t, 4, copies, "copies among the candidates")

	peer := func() (lists [][]int) {
		for _, list := range own.Neighbours {
			lists = append(lists, append([]int{}, list...))
		}
		return lists
	}
	a, err := s.agree(own, peer())
	require.NoError(t, err)
	require.Equal(t, agreement{same: 20 * searchK}, a)

	lists := peer()
	lists[7][0], lists[7][1] = lists[7][1], lists[7][0]
	a, err = s.agree(own, lists)
	require.NoError(t, err, "the order is put right")
	require.Equal(t, agreement{same: 20 * searchK}, a)

	lists = peer()
	other := own.Neighbours[7][0] + 1 // of another family, much further away
	lists[7][0] = other
	_, err = s.agree(own, lists)
	require.ErrorContains(t, err, "candidate 7")
	lists[7][0] = lists[7][1]
	_, err = s.agree(own, lists)
	require.ErrorContains(t, err, "candidate 7", "twice the same")
	_, err = s.agree(own, lists[:3])
	require.Error(t, err)

	wrong := searchRun{Neighbours: peer(), Squares: own.Squares}
	wrong.Neighbours[7][0] = other
	_, err = s.agree(wrong, peer())
	require.ErrorContains(t, err, "ours")
}

func TestAgreeAtTiesAndWithinRounding(t *testing.T) {
	// One candidate of grey 0 and images that have a grey 100 in one pixel or more.
	s := imageSets{real: make([]uint8, 8*quality.PlaneLen), candidate: make([]uint8, quality.PlaneLen)}
	for i := range 8 {
		plane(s.real, i)[i] = 100
		plane(s.real, i)[100] = uint8(i / 2 * 40)
	}
	seven := plane(s.real, 7)
	seven[100] = plane(s.real, 4)[100]
	seven[101] = 1 // further than image 4 by 1 in 16,400
	list := []int{0, 1, 2, 3, 4}
	own := searchRun{Neighbours: [][]int{list}, Squares: [][]int64{{10000, 10000, 11600, 11600, 16400}}}
	a, err := s.agree(own, [][]int{{0, 1, 2, 3, 5}})
	require.NoError(t, err)
	require.Equal(t, agreement{same: 4, tied: 1}, a)

	bright := make([]uint8, quality.PlaneLen) // large values leave room for rounding
	for i := range bright {
		bright[i] = 255
	}
	s.candidate = bright
	for i := range 8 {
		for p := range bright {
			plane(s.real, i)[p] = 200
		}
		plane(s.real, i)[i] -= uint8(i)
	}
	own = searchRun{Neighbours: [][]int{list}}
	own.Squares = make([][]int64, 1)
	for i := range searchK {
		own.Squares[0] = append(own.Squares[0], int64((quality.PlaneLen-1)*55*55+(55+i)*(55+i)))
	}
	a, err = s.agree(own, [][]int{{0, 1, 2, 3, 5}})
	require.NoError(t, err)
	require.Equal(t, agreement{same: 4, near: 1}, a)
	require.Contains(t, a.remark(), "1 other")
	own.Neighbours[0][4] = 5
	own.Squares[0][4] += 60*60 - 59*59
	_, err = s.agree(own, [][]int{{0, 1, 2, 3, 4}})
	require.Error(t, err, "the peer found a nearer one")
}

func TestPreprocessingOfDrawnPictures(t *testing.T) {
	b := benchmark{dir: t.TempDir(), benchOptions: benchOptions{images: t.TempDir()}}
	_, err := b.pictureFiles()
	require.ErrorContains(t, err, "no JPEG")
	b.images = filepath.Join(b.dir, "none")
	_, err = b.pictureFiles()
	require.ErrorContains(t, err, "--images")

	files, err := drawPictures(b.dir)
	require.NoError(t, err)
	require.Len(t, files, drawnFiles)
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, filesList), []byte(strings.Join(files[:3], "\n")), 0o600))
	run, err := benchPreprocessing(b.dir, 2)
	require.NoError(t, err)
	require.Positive(t, run.Rate)
	tensors, err := os.ReadFile(filepath.Join(b.dir, ourTensors))
	require.NoError(t, err)
	require.Len(t, tensors, 3*spec.ImageLen)

	same := filepath.Join(b.dir, tensorFile)
	require.NoError(t, os.WriteFile(same, tensors, 0o600))
	require.NoError(t, sameTensors(b.dir, 3))
	for i := range tensors {
		tensors[i] ^= 2
	}
	require.NoError(t, os.WriteFile(same, tensors, 0o600))
	require.ErrorContains(t, sameTensors(b.dir, 3), "not the same work")
	require.NoError(t, os.WriteFile(same, tensors[1:], 0o600))
	require.ErrorContains(t, sameTensors(b.dir, 3), "bytes")
}
