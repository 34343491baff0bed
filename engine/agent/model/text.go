package model

import (
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/projection/event"
)

// Text gathers the text of an answer as it comes, and shows it.
type Text struct {
	b    strings.Builder
	show func(string)
}

// NewText returns a Text that shows each piece with show, if that is not nil.
func NewText(show func(string)) *Text { return &Text{show: show} }

// Add takes the next piece.
func (t *Text) Add(piece string) error {
	if piece == "" {
		return nil
	}
	if t.b.Len()+len(piece) > MaxText {
		return Final(event.ClassInvalidOutput, "the answer has more than %d bytes of text", MaxText)
	}
	t.b.WriteString(piece)
	if t.show != nil {
		t.show(piece)
	}
	return nil
}

// String returns the text, as UTF-8.
func (t *Text) String() string { return strings.ToValidUTF8(t.b.String(), string(utf8.RuneError)) }

// Strict reports whether a schema says all that providers want to know of one that
// they hold a model to without exception: every object lists its properties, needs
// them all, and has no others.
func Strict(schema any) bool {
	switch s := schema.(type) {
	case []any:
		for _, x := range s {
			if !Strict(x) {
				return false
			}
		}
	case map[string]any:
		if s["type"] == "object" || s["properties"] != nil {
			props, _ := s["properties"].(map[string]any)
			required, _ := s["required"].([]any)
			if s["additionalProperties"] != false || len(required) != len(props) {
				return false
			}
		}
		for _, x := range s {
			if !Strict(x) {
				return false
			}
		}
	}
	return true
}
