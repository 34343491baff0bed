package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/eventlog/audit"
)

// readPublic reads public keys and rotations: the keys of each log that is named
// in them, in the order of the files; none if no file is named.
func readPublic(files []string) (keys []*audit.Keys, err error) {
	var logs []string
	public, chains := map[string]string{}, [][]byte{}
	for _, name := range files {
		b, err := readFile(name)
		if err != nil {
			return nil, err
		}
		if isChain(b) {
			chains = append(chains, b)
			continue
		}
		for line := range strings.Lines(string(b)) {
			origin, _, _ := strings.Cut(strings.TrimSpace(line), "+")
			if origin == "" || strings.HasPrefix(origin, "#") {
				continue
			}
			if public[origin] == "" {
				logs = append(logs, origin)
			}
			public[origin] += line + "\n"
		}
	}
	if len(files) > 0 && len(logs) == 0 {
		return nil, usagef("--key: %w: no public key", audit.ErrFormat)
	}
	for _, origin := range logs {
		k, err := audit.ParseKeys([]byte(public[origin]))
		if err != nil {
			return nil, usagef("--key: %w", err)
		}
		keys = append(keys, k)
	}
	for _, chain := range chains {
		if err := follow(keys, chain); err != nil {
			return nil, asAudit("--key", err)
		}
	}
	return keys, nil
}

// isChain reports whether a file has rotations of keys, which are signed, rather
// than keys.
func isChain(b []byte) bool { return bytes.Contains(b, []byte("\n— ")) }

// follow leads the keys of the log that a chain of rotations is of along it.
func follow(keys []*audit.Keys, chain []byte) (err error) {
	for i, k := range keys {
		led, e := k.Follow(chain)
		if e == nil {
			keys[i] = led
			return nil
		}
		if err == nil || bytes.Contains(chain, []byte(k.Origin()+" ")) {
			err = e
		}
	}
	return err
}

// readNotes reads signed notes, one behind the other; lines with # are for people.
func readNotes(b []byte) (notes [][]byte, err error) {
	var text strings.Builder
	for l := range strings.Lines(string(b)) {
		if !strings.HasPrefix(l, "#") {
			text.WriteString(l)
		}
	}
	rest := strings.TrimLeft(text.String(), "\n")
	for rest != "" {
		said, after, ok := strings.Cut(rest, "\n\n")
		if !ok || !strings.HasPrefix(after, "— ") {
			return nil, fmt.Errorf("%w: note %d has no signature", audit.ErrFormat, len(notes)+1)
		}
		signed, next, _ := strings.Cut(after, "\n\n")
		notes = append(notes, []byte(said+"\n\n"+strings.TrimRight(signed, "\n")+"\n"))
		rest = strings.TrimLeft(next, "\n")
	}
	return notes, nil
}
