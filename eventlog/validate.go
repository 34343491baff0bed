package eventlog

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// Validate checks a against every rule of [Append] and [Record] that does not
// depend on the run: it returns an error that Is [ErrInvalid] or [ErrTooLarge].
// The rules about the run, its version and the time of its last event, are the
// store's to check.
func (a *Append) Validate() error {
	switch {
	case a.ID == 0:
		return fmt.Errorf("%w: the append ID is 0", ErrInvalid)
	case a.Run.IsZero():
		return fmt.Errorf("%w: the run ID is zero", ErrInvalid)
	case len(a.Records) == 0:
		return fmt.Errorf("%w: no records", ErrInvalid)
	case len(a.Records) > MaxRecords:
		return fmt.Errorf("%w: %d records in one append, limit %d", ErrTooLarge, len(a.Records), MaxRecords)
	case uint64(a.Expect) > math.MaxInt64:
		return fmt.Errorf("%w: expected version %d", ErrInvalid, a.Expect)
	}
	total, last := 0, int64(0)
	for i := range a.Records {
		r := &a.Records[i]
		switch {
		case r.Kind == 0:
			return fmt.Errorf("%w: record %d has kind 0", ErrInvalid, i)
		case r.Time <= 0:
			return fmt.Errorf("%w: record %d has no time", ErrInvalid, i)
		case r.Time < last:
			return fmt.Errorf("%w: record %d is earlier than the one before it", ErrInvalid, i)
		case len(r.Actor) > MaxActor:
			return fmt.Errorf("%w: record %d: actor of %d bytes, limit %d", ErrTooLarge, i, len(r.Actor), MaxActor)
		case !utf8.ValidString(r.Actor):
			return fmt.Errorf("%w: record %d: actor is not UTF-8", ErrInvalid, i)
		case len(r.Payload) > MaxPayload:
			return fmt.Errorf("%w: record %d: payload of %d bytes, limit %d", ErrTooLarge, i, len(r.Payload), MaxPayload)
		}
		last = r.Time
		if total += len(r.Payload); total > MaxAppend {
			return fmt.Errorf("%w: payloads of one append over %d bytes", ErrTooLarge, MaxAppend)
		}
	}
	return nil
}

// follows checks a against the head of its run.
func (a *Append) follows(at Version, lastTime int64) error {
	if a.Expect != at {
		return fmt.Errorf("run %v is at version %d, not %d: %w", a.Run, at, a.Expect, ErrConflict)
	}
	if a.Records[0].Time < lastTime {
		return fmt.Errorf("%w: run %v: time %d is before its last event's %d", ErrInvalid, a.Run, a.Records[0].Time, lastTime)
	}
	return nil
}
