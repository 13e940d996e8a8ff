package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// maxFileBytes bounds a YAML file that is read.
const maxFileBytes = 1 << 20

// isFile reports whether the name of a recipe or a policy stands for a file.
func isFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml" || strings.ContainsAny(name, `/\`)
}

// stem is a file's name without its folder and its ending: what a recipe or a
// policy without a name is called.
func stem(file string) string {
	base := filepath.Base(file)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// readFile reads a YAML file that a flag names; what says what it should hold.
func readFile(flag, file, what string) ([]byte, error) {
	raw, err := readBounded(file, maxFileBytes)
	switch {
	case err != nil:
		return nil, Problems{{Field: flag, Value: file, Reason: fmt.Sprintf("cannot be read (%v); name another with %s", err, flag)}}
	case len(raw) > maxFileBytes:
		return nil, Problems{{Field: file, Reason: fmt.Sprintf("more than %d bytes; this is no %s", maxFileBytes, what)}}
	}
	return raw, nil
}

// readBounded reads a file, but no more than one byte beyond limit.
func readBounded(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// fileSuffix makes the key of the file that holds a secret, as Kubernetes and
// Docker mount them, from the secret's own key.
const fileSuffix = "_file"

// maxSecretFile bounds such a file, in bytes.
const maxSecretFile = 64 << 10

// readSecretFiles takes secrets from the files that are named for them. A secret
// that is set by itself as well is a problem: which of both should count?
func (l *Loaded) readSecretFiles(keys []key) Problems {
	var problems Problems
	values := reflect.ValueOf(&l.Config).Elem()
	byPath := map[string]key{}
	for _, k := range keys {
		byPath[k.path] = k
	}
	for _, k := range keys {
		if !k.secret {
			continue
		}
		named := byPath[k.path+fileSuffix] // a test requires one for every secret
		file := values.FieldByIndex(named.index).String()
		into := values.FieldByIndex(k.index)
		if file == "" {
			continue
		}
		if into.String() != "" {
			problems.add(named.path, strconv.Quote(file), "is set beside "+k.path+"; keep one of them")
			continue
		}
		text, err := readSecret(file)
		if err != nil {
			problems.add(named.path, strconv.Quote(file), err.Error())
			continue
		}
		into.SetString(text)
		l.Origins[k.path] = l.Origins[named.path] + ", by " + named.path
	}
	return problems
}

// readSecret reads a file, without the line breaks at its end. Its errors do not quote
// the content.
func readSecret(file string) (string, error) {
	raw, err := readBounded(file, maxSecretFile)
	if err != nil {
		return "", fmt.Errorf("cannot be read (%w); mount the secret there, or name another file", err)
	}
	text := strings.TrimRight(string(raw), "\r\n")
	switch {
	case len(raw) > maxSecretFile:
		return "", fmt.Errorf("has more than %d bytes; it is no secret of ours", maxSecretFile)
	case text == "":
		return "", errors.New("is empty; write the secret into it")
	}
	return text, nil
}
