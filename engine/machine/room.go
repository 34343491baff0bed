package machine

// Room is memory that decisions are made in, one after the other, by whoever makes many.
// What they have decided is good until it is cleared; what Event.Payload points to is
// not in it, and stays good.
type Room struct {
	decider decider
	events  []Event
	bytes   []byte // of the records' payloads
}

// What a Room keeps at most; a decision may be a thousand times as large.
const (
	maxRoomEvents = 64
	maxRoomBytes  = 16 << 10
)

// Events returns what was decided since it was cleared.
func (r *Room) Events() []Event { return r.events }

// Clear makes room for other decisions.
func (r *Room) Clear() {
	clear(r.events)
	r.events, r.bytes, r.decider = r.events[:0], r.bytes[:0], decider{}
	if cap(r.events) > maxRoomEvents {
		r.events = nil
	}
	if cap(r.bytes) > maxRoomBytes {
		r.bytes = nil
	}
}

// add keeps the events of a decision that was begun with what was free of r.events.
func (r *Room) add(d *decider) {
	if n := len(r.events) + len(d.events); n <= cap(r.events) {
		r.events = r.events[:n] // they are there already
	} else {
		r.events = append(r.events, d.events...)
	}
	r.bytes = d.encoded
}
