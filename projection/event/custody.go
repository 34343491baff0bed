package event

import "github.com/wfd-dev/wfd/eventlog"

// Custody is the system stream of what becomes of the log itself.
var Custody = eventlog.System("audit")

// LogRestored: the log is a copy of another up to event At, and goes on from there
// on its own.
type LogRestored struct {
	Origin string       `json:"origin,omitempty"` // the name of the log that was copied
	At     eventlog.Seq `json:"at"`               // its last event that is here
	Root   string       `json:"root"`             // of the tree over these events, hex
	Head   eventlog.Seq `json:"head"`             // its last event that was in the copy
	// Signed is how many events it is known to have been signed for; those after At
	// were left behind.
	Signed eventlog.Seq `json:"signed,omitempty"`
	Made   Time         `json:"made"` // when the copy was
	// Same is set if the log goes on under its old name and key.
	Same   bool   `json:"same,omitempty"`
	Paused int    `json:"paused,omitempty"` // runs that were live, and are paused
	Reason string `json:"reason,omitempty"`
}

// KeyRotated: the log is signed by another key from here on.
type KeyRotated struct {
	Number int          `json:"number"` // of the rotation, from 1
	From   string       `json:"from"`   // the public keys
	To     string       `json:"to"`
	At     eventlog.Seq `json:"at"` // events that the old key may sign for
	Reason string       `json:"reason,omitempty"`
}

// What DataKeysChanged says. The words are on disk.
const (
	DataKeysRotated = "rotated"
	DataKeysStopped = "stopped"
)

// DataKeysChanged: from here on what is written is encrypted with another data key, or is
// not encrypted any more.
type DataKeysChanged struct {
	What    string `json:"what"`
	Key     string `json:"key,omitempty"` // name of the key that the data keys are under
	Rewrite bool   `json:"rewrite,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// The order of the fields below is on disk: append, never reorder.

// Kind returns KindLogRestored.
func (*LogRestored) Kind() eventlog.Kind { return KindLogRestored }

func (p *LogRestored) code(c *coder) {
	c.str(&p.Origin)
	c.seq(&p.At)
	c.str(&p.Root)
	c.seq(&p.Head)
	c.seq(&p.Signed)
	c.time(&p.Made)
	c.bool(&p.Same)
	c.int(&p.Paused)
	c.text(&p.Reason)
}

// Kind returns KindDataKeysChanged.
func (*DataKeysChanged) Kind() eventlog.Kind { return KindDataKeysChanged }

func (p *DataKeysChanged) code(c *coder) {
	c.str(&p.What)
	c.str(&p.Key)
	c.bool(&p.Rewrite)
	c.text(&p.Reason)
}

// Kind returns KindKeyRotated.
func (*KeyRotated) Kind() eventlog.Kind { return KindKeyRotated }

func (p *KeyRotated) code(c *coder) {
	c.int(&p.Number)
	c.str(&p.From)
	c.str(&p.To)
	c.seq(&p.At)
	c.text(&p.Reason)
}
