package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
)

// hash is a hash in JSON: base64.
type hash [32]byte

// MarshalText implements [encoding.TextMarshaler].
func (h hash) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *hash) UnmarshalText(b []byte) error {
	raw, err := base64.StdEncoding.AppendDecode(nil, b)
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("%.60q is not a hash", b)
	}
	*h = hash(raw)
	return nil
}

// entry is an event in JSON: everything that its leaf commits to. The payload
// stands there with its salt, or, if it was erased or is to be kept to oneself,
// as its salted hash.
type entry struct {
	Seq         eventlog.Seq     `json:"seq"`
	Run         eventlog.RunID   `json:"run"`
	Version     eventlog.Version `json:"version"`
	Time        time.Time        `json:"time"`
	Kind        eventlog.Kind    `json:"kind"`
	Actor       string           `json:"actor"`
	Salt        []byte           `json:"salt,omitempty"`
	Payload     *[]byte          `json:"payload,omitempty"`
	PayloadHash *hash            `json:"payload_hash,omitempty"`
}

// entryOf returns e as it goes out, without its payload if it is concealed.
func entryOf(e eventlog.Event, conceal bool) entry {
	x := entry{Seq: e.Seq, Run: e.Run, Version: e.Version, Time: e.When(), Kind: e.Kind, Actor: e.Actor}
	if conceal || e.Erased {
		h := hash(e.PayloadHash())
		x.PayloadHash = &h
		return x
	}
	payload := e.Payload
	if payload == nil {
		payload = []byte{} // null is not a payload
	}
	x.Salt, x.Payload = e.Salt[:], &payload
	return x
}

// event returns the event, which has no append ID, and is Erased if the payload
// is not there.
func (x *entry) event() (e eventlog.Event, err error) {
	e = eventlog.Event{Seq: x.Seq, Run: x.Run, Version: x.Version, Time: x.Time.UnixNano(), Kind: x.Kind, Actor: x.Actor}
	if e.Seq == 0 || e.Run.IsZero() || e.Version == 0 || e.Time <= 0 || !x.Time.Equal(e.When()) || e.Kind == 0 || len(e.Actor) > eventlog.MaxActor {
		return e, fmt.Errorf("%w: not an event", ErrFormat)
	}
	switch {
	case x.PayloadHash != nil && x.Payload == nil && len(x.Salt) == 0:
		e.Erased, e.Hash = true, *x.PayloadHash
	case x.PayloadHash == nil && x.Payload != nil && len(x.Salt) == len(e.Salt):
		e.Payload = *x.Payload
		copy(e.Salt[:], x.Salt)
	default:
		return e, fmt.Errorf("%w: want a payload and its salt, or its hash", ErrFormat)
	}
	return e, nil
}

// encode returns v as JSON on one line, in the one form that decode accepts.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode reads into v what encode writes, and nothing else: a member that is
// not known, or there twice, or written in another way, is something that one
// reader sees and another does not.
func decode(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	again, err := encode(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w: not written in the one form there is", ErrFormat)
	}
	return nil
}

// decodeIndented is decode for a document that may be laid out for people.
func decodeIndented(b []byte, v any) error {
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return decode(line.Bytes(), v)
}
