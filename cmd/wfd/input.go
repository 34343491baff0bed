package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// readFile reads a file that somebody names.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("%w", err)
	}
	defer f.Close()
	return readAll(name, f)
}

// readAll reads up to the largest payload there can be: what is larger is
// refused here, and not first taken into memory.
func readAll(name string, r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, eventlog.MaxPayload+1))
	if err != nil {
		return nil, usagef("%s: %w", name, err)
	}
	if len(b) > eventlog.MaxPayload {
		return nil, usagef("%s: it has more than %d MiB", name, eventlog.MaxPayload>>20)
	}
	return b, nil
}

// value reads a value given as JSON, as @file or as - for standard input. The
// error names the flag or argument it came by. "" is none.
func (a *app) value(s, of string) (json.RawMessage, error) {
	b := []byte(s)
	var err error
	switch {
	case s == "":
		return nil, nil
	case s == "-":
		of = "standard input"
		b, err = readAll(of, a.stdin)
	case strings.HasPrefix(s, "@"):
		of = s[1:]
		b, err = readFile(of)
	}
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) {
		return nil, usagef("%s: it is not valid UTF-8", of)
	}
	if _, err := event.DecodeJSON(b); err != nil {
		return nil, usagef("%s: %w", of, err)
	}
	return b, nil
}

// pairs reads key=value flags.
func pairs(flag string, list []string) (map[string]string, error) {
	m := map[string]string{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, usagef("--%s %q: want key=value", flag, s)
		}
		if _, twice := m[k]; twice {
			return nil, usagef("--%s: %s is given twice", flag, k)
		}
		m[k] = v
	}
	return m, nil
}

// isFile tells a file from the name of a workflow.
func isFile(s string) bool {
	if strings.Contains(s, "/") {
		return true
	}
	for _, ext := range []string{".yaml", ".yml", ".json"} {
		if strings.HasSuffix(s, ext) {
			return true
		}
	}
	return false
}

// note says something to the one at the terminal.
func (a *app) note(format string, args ...any) {
	fmt.Fprintln(a.stderr, clean(fmt.Sprintf(format, args...)))
}
