package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/projection/event"
)

// strictJSON reads JSON by the rules of package event: no key twice, bounded
// depth, whole integers kept, and valid UTF-8, which encoding/json would mend
// silently.
var strictJSON = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	},
	Unmarshal: func(b []byte, v any) error {
		if !utf8.Valid(b) {
			return errors.New("the text is not valid UTF-8")
		}
		// huma reads a body twice: as plain values, which it validates, then into
		// the type. The first look is the strict one.
		if p, ok := v.(*any); ok {
			x, err := event.DecodeJSON(b)
			*p = x
			return err
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		return dec.Decode(v)
	},
}
