package event

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/eventlog"
)

// RunImported: all events of the run before this one happened in another log, and
// were taken over from there. A run that had not ended is paused from here on.
type RunImported struct {
	// Origin is the log that it was taken out of, as its checkpoint of Signed events
	// with Root proves; none if nothing does.
	Origin string       `json:"origin,omitempty"`
	Signed eventlog.Seq `json:"signed,omitempty"`
	Root   string       `json:"root,omitempty"` // hex
	Key    string       `json:"key,omitempty"`  // the public key that signed it
	// Pinned is set if whoever imported it had that key from elsewhere.
	Pinned bool         `json:"pinned,omitempty"`
	File   string       `json:"file"` // hex SHA-256 of the capsule
	Made   Time         `json:"made"` // when that was
	Last   eventlog.Seq `json:"last"` // of its events, there
	// Partial is set if the run went on there: another one was forked from here.
	Partial bool   `json:"partial,omitempty"`
	Pause   string `json:"pause,omitempty"` // why it is paused, if it is
	Reason  string `json:"reason,omitempty"`
}

// Kind returns KindRunImported.
func (*RunImported) Kind() eventlog.Kind { return KindRunImported }

// The order of the fields is on disk: append, never reorder.
func (p *RunImported) code(c *coder) {
	c.str(&p.Origin)
	c.seq(&p.Signed)
	c.str(&p.Root)
	c.str(&p.Key)
	c.bool(&p.Pinned)
	c.str(&p.File)
	c.time(&p.Made)
	c.seq(&p.Last)
	c.bool(&p.Partial)
	c.str(&p.Pause)
	c.text(&p.Reason)
}

// importedBy begins the actor of an event that was taken over from another log: who
// caused it there is nobody here, whatever the name says.
const importedBy = "imported:"

// ImportedActor returns how an event of another log names its actor here.
func ImportedActor(actor string) string {
	actor = importedBy + actor
	for len(actor) > eventlog.MaxActor {
		_, n := utf8.DecodeLastRuneInString(actor)
		actor = actor[:len(actor)-n]
	}
	return actor
}

// OriginalActor returns the actor of an event where it happened, however often it was
// taken over since.
func OriginalActor(actor string) string {
	for IsImported(actor) {
		actor = actor[len(importedBy):]
	}
	return actor
}

// IsImported reports whether an event was taken over from another log, by its actor.
func IsImported(actor string) bool { return strings.HasPrefix(actor, importedBy) }

// Check reports whether the payload of an event from elsewhere can be taken over: it
// is of a kind that is known, and every value in it can be read.
func Check(k eventlog.Kind, payload []byte) error {
	p, err := Decode(k, payload)
	if err == nil {
		_, err = json.Marshal(p) // which reads every value
	}
	return err
}
