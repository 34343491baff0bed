// Package oneform writes JSON in one form, and reads that form and no other. JSON
// allows members twice, in any letter case, and unknown ones; each is a place
// where one reader sees what another does not, and where a changed bit may hide.
package oneform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrOther: it is JSON, perhaps, and not in the one form there is.
var ErrOther = errors.New("not written in the one form there is")

// Encode returns v on one line, with the newline at its end.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// Write writes v as Encode does.
func Write(w io.Writer, v any) error {
	b, err := Encode(v)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// Decode reads into v, which must be zero, what Encode writes, with the newline or
// without.
func Decode(line []byte, v any) error {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if err := json.Unmarshal(line, v); err != nil {
		return err
	}
	again, err := Encode(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(bytes.TrimSuffix(again, []byte("\n")), line) {
		return ErrOther
	}
	return nil
}

// DecodeIndented is Decode for what may be laid out for people.
func DecodeIndented(b []byte, v any) error {
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil {
		return fmt.Errorf("%w: %w", ErrOther, err)
	}
	return Decode(line.Bytes(), v)
}
