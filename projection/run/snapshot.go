package run

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/wfd-dev/wfd/eventlog"
)

// SnapshotVersion is the version of the bytes that Snapshot writes. A snapshot
// is a cache: one of another version is not read but made anew from the log.
const SnapshotVersion = 6

// Snapshot returns s in bytes. The same state gives the same bytes.
func (s *State) Snapshot() ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte(SnapshotVersion)
	enc := msgpack.NewEncoder(&buf)
	enc.SetSortMapKeys(true)
	enc.SetOmitEmpty(true)
	if err := enc.Encode(s); err != nil {
		return nil, fmt.Errorf("snapshot of run %s: %w", s.Run, err)
	}
	return buf.Bytes(), nil
}

// Restore returns the state that Snapshot wrote. The bytes must be known to be
// intact.
func Restore(b []byte) (*State, error) {
	if len(b) == 0 || b[0] != SnapshotVersion {
		return nil, fmt.Errorf("snapshot is not of version %d", SnapshotVersion)
	}
	s := New(eventlog.RunID{})
	if err := msgpack.Unmarshal(b[1:], s); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return s, nil
}

// Clone returns a copy of s that shares nothing that changes with it.
func (s *State) Clone() (*State, error) {
	b, err := s.Snapshot()
	if err != nil {
		return nil, err
	}
	c, err := Restore(b)
	if err != nil {
		return nil, err
	}
	c.Past, c.Other = s.Past, s.Other
	return c, nil
}

// Map is a map from strings that is written in the order of its keys, so that
// the same state gives the same bytes.
type Map[V any] map[string]V

// EncodeMsgpack writes m in the order of its keys.
func (m Map[V]) EncodeMsgpack(enc *msgpack.Encoder) error {
	if err := enc.EncodeMapLen(len(m)); err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if err := enc.EncodeString(k); err != nil {
			return err
		}
		if err := enc.Encode(m[k]); err != nil {
			return err
		}
	}
	return nil
}
