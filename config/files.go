package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

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
		named := byPath[k.path+fileSuffix] // a test demands one for every secret
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

// readSecret reads a file but for line ends at its end. Its errors do not quote
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
