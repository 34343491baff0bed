package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/workflow"
)

func readJSON(src []byte) (*tree, error) {
	r := &jsonReader{src: src, dec: json.NewDecoder(bytes.NewReader(src)), line: 1, col: 1}
	r.dec.UseNumber()
	t, err := r.value(0)
	if err == nil {
		if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
			return nil, faultAt(r.place(), workflow.CodeSyntax, "remove it", "something follows the end of the replies")
		}
		return t, nil
	}
	var f *fault
	if errors.As(err, &f) {
		return nil, err
	}
	at := len(src)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = max(int(syntax.Offset)-1, 0)
	}
	return nil, faultAt(r.placeAt(at), workflow.CodeSyntax, "check quotes, commas and brackets here and above", "JSON: %s", err)
}

type jsonReader struct {
	limits
	src       []byte
	dec       *json.Decoder
	at        int // an offset,
	line, col int // and its place
}

// place is where the next token begins.
func (r *jsonReader) place() *tree {
	at := int(r.dec.InputOffset())
	for at < len(r.src) && strings.IndexByte(" \t\r\n,:", r.src[at]) >= 0 {
		at++
	}
	return r.placeAt(at)
}

// placeAt is the place of an offset, which must not go back.
func (r *jsonReader) placeAt(at int) *tree {
	for ; r.at < min(at, len(r.src)); r.at++ {
		switch c := r.src[r.at]; {
		case c == '\n':
			r.line, r.col = r.line+1, 1
		case utf8.RuneStart(c):
			r.col++
		}
	}
	return &tree{line: r.line, col: r.col}
}

func (r *jsonReader) value(depth int) (*tree, error) {
	t := r.place()
	if err := r.limits.value(t, depth); err != nil {
		return nil, err
	}
	token, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	switch x := token.(type) {
	case json.Number:
		if t.scalar, err = number(string(x)); err != nil {
			return nil, faultAt(t, workflow.CodeSyntax, "put it in quotes if it is text", "%s", err)
		}
	case json.Delim:
		t.shape = aList
		if x == '{' {
			t.shape = aMap
		}
		seen := map[string]int{}
		for r.dec.More() {
			var key *tree
			if t.shape == aMap {
				key = r.place()
				if token, err = r.dec.Token(); err != nil {
					return nil, err
				}
				key.scalar = token
			}
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			if key == nil {
				t.items = append(t.items, v)
			} else if err := t.put(seen, key, v); err != nil {
				return nil, err
			}
		}
		_, err = r.dec.Token()
	default:
		t.scalar = x
	}
	return t, err
}
