package audit

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/oneform"
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

// Entry is an event in JSON: everything that its leaf commits to. The payload
// stands there with its salt, or, if it was erased or is to be kept to oneself,
// as its salted hash.
type Entry struct {
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

// EntryOf returns e as it goes out, without its payload if it is concealed.
func EntryOf(e eventlog.Event, conceal bool) Entry {
	x := Entry{Seq: e.Seq, Run: e.Run, Version: e.Version, Time: e.When(), Kind: e.Kind, Actor: e.Actor}
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

// Event returns the event, which has no append ID, and is Erased if the payload
// is not there. An entry that no event can have is an error that Is [ErrFormat].
func (x *Entry) Event() (e eventlog.Event, err error) {
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
	b, err := oneform.Encode(v)
	return bytes.TrimSuffix(b, []byte("\n")), err
}

// decode reads into v what encode writes, and nothing else.
func decode(b []byte, v any) error { return malformed(oneform.Decode(b, v)) }

// decodeIndented is decode for a document that may be laid out for people.
func decodeIndented(b []byte, v any) error { return malformed(oneform.DecodeIndented(b, v)) }

func malformed(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}
