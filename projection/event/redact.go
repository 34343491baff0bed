package event

import (
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
)

// Rest is how much of a payload an erasure leaves.
type Rest int

const (
	// RestNames leaves what the fold of a run rests on: nodes, visits, outcomes,
	// classes, times, usage. Nothing that somebody supplied is left but names that
	// the definition has as well.
	RestNames Rest = iota
	// RestText leaves labels, messages and reasons too, by which an archived run
	// is found and told from others. Values go.
	RestText
)

// What stands in the place of content that was erased.
const ErasedText = "[erased]"

// ErasedValue likewise.
var ErasedValue = MustValue(map[string]any{"erased": true})

// Redact returns what is left of a payload of kind k, and decodes as such. To
// redact it again changes nothing, or takes out more.
func Redact(k eventlog.Kind, payload []byte, rest Rest) ([]byte, error) {
	p, err := Decode(k, payload)
	if err != nil {
		return nil, fmt.Errorf("redacting a %s: %w", KindName(k), err)
	}
	p.code(&coder{mode: redacting, rest: rest})
	return Encode(p), nil
}

// Content returns the texts in what Redact takes out of a payload, and the strings
// in its values.
func Content(k eventlog.Kind, payload []byte) ([]string, error) {
	p, err := Decode(k, payload)
	if err != nil {
		return nil, err
	}
	var texts []string
	p.code(&coder{mode: redacting, rest: RestNames, taken: func(s string) { texts = append(texts, s) }})
	return texts, nil
}

// stringsIn calls do for the strings of a value, keys of maps included.
func stringsIn(x any, do func(string)) {
	switch x := x.(type) {
	case string:
		do(x)
	case []any:
		for _, e := range x {
			stringsIn(e, do)
		}
	case map[string]any:
		for k, e := range x {
			do(k)
			stringsIn(e, do)
		}
	}
}
