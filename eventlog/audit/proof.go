package audit

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
)

// Marks of the documents, which never get a second meaning.
const (
	proofFormat       = "wfd-proof-1"
	consistencyFormat = "wfd-consistency-1"
)

// proofDoc proves that one event is in the log.
type proofDoc struct {
	Format     string `json:"format"`
	Event      Entry  `json:"event"`
	Path       []hash `json:"path"`       // from the leaf to the root
	Checkpoint string `json:"checkpoint"` // the signed note
	Keys       string `json:"keys,omitempty"`
}

// Proof is what a proof of an event proves.
type Proof struct {
	// Event is the event at its place in the log. It is Erased if the proof
	// has the hash of its payload and not the payload; its Append is not part
	// of what is proven.
	Event      eventlog.Event
	Checkpoint Checkpoint
}

// Prove returns the proof, as JSON, that the event with seq is in the log: with
// its payload, or, if it is to be concealed, with the payload's hash. Who has a
// public key of the log needs nothing else; see [CheckProof]. An event that no
// checkpoint covers yet is signed for now.
func (a *Auditor) Prove(seq eventlog.Seq, conceal bool) ([]byte, error) {
	if head, _ := a.db.TreeHead(); seq == 0 || uint64(seq) > head {
		return nil, fmt.Errorf("no event has seq %d: the log has %d", seq, head)
	}
	c, note, chain, err := a.covering(uint64(seq))
	if err != nil {
		return nil, err
	}
	events, err := a.db.ReadFrom(seq-1, 1)
	if err != nil {
		return nil, err
	}
	if len(events) != 1 || events[0].Seq != seq {
		return nil, &Problem{Err: ErrDamaged, File: a.db.FileOf(seq), From: seq, What: "the event is missing"}
	}
	e := events[0]
	path, err := proveRecord(a.db, c.Size, uint64(seq)-1)
	if err != nil {
		return nil, err
	}
	// A proof is not given away untried: it would speak against the log later.
	if err := checkRecord(path, c.Size, c.Root, uint64(seq)-1, eventlog.Leaf(e)); err != nil {
		return nil, &Problem{Err: ErrRewritten, File: a.db.FileOf(seq), From: seq, Run: e.Run, What: fmt.Sprintf("the event does not lead to the checkpoint of %d events", c.Size)}
	}
	return layOut(proofDoc{Format: proofFormat, Event: EntryOf(e, conceal), Path: path, Checkpoint: string(note), Keys: chain})
}

// layOut returns a document as people read it.
func layOut(v any) ([]byte, error) {
	line, err := encode(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, line, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// CheckProof verifies what [Auditor.Prove] returned, with nothing but public
// keys. It is safe on a document from anyone.
func CheckProof(doc []byte, keys *Keys) (*Proof, error) {
	var d proofDoc
	if err := decodeIndented(doc, &d); err != nil {
		return nil, err
	}
	if d.Format != proofFormat {
		return nil, fmt.Errorf("%w: not a proof of an event: %.40q", ErrFormat, d.Format)
	}
	keys, err := keys.Follow([]byte(d.Keys))
	if err != nil {
		return nil, err
	}
	c, err := OpenCheckpoint([]byte(d.Checkpoint), keys)
	if err != nil {
		return nil, err
	}
	e, err := d.Event.Event()
	if err != nil {
		return nil, err
	}
	if uint64(e.Seq) > c.Size {
		return nil, fmt.Errorf("%w: seq %d is not among the %d events of the checkpoint", ErrProof, e.Seq, c.Size)
	}
	if err := checkRecord(d.Path, c.Size, c.Root, uint64(e.Seq)-1, eventlog.Leaf(e)); err != nil {
		return nil, err
	}
	return &Proof{Event: e, Checkpoint: c}, nil
}

// consistencyDoc proves that the log was only appended to.
type consistencyDoc struct {
	Format string `json:"format"`
	From   string `json:"from"` // the signed notes
	To     string `json:"to"`
	Path   []hash `json:"path"`
	Keys   string `json:"keys,omitempty"`
}

// Consistency returns the proof, as JSON, that between the checkpoints of the
// sizes from and to the log was only appended to. Both must have been signed;
// to may be 0 for the last one.
func (a *Auditor) Consistency(from, to uint64) ([]byte, error) {
	if to == 0 {
		last, _ := a.Last()
		to = last.Size
	}
	s, err := a.history()
	if err != nil {
		return nil, err
	}
	var d consistencyDoc
	var old, now Checkpoint
	if old, d.From, err = s.find(from, a.Keys()); err != nil {
		return nil, err
	}
	if now, d.To, err = s.find(to, a.Keys()); err != nil {
		return nil, err
	}
	if d.Path, err = proveTree(a.db, to, from); err != nil {
		return nil, err
	}
	if err := checkTree(d.Path, to, now.Root, from, old.Root); err != nil {
		return nil, &Problem{Err: fmt.Errorf("%w: %w", ErrRewritten, err), From: 1, To: eventlog.Seq(to)}
	}
	d.Format, d.Keys = consistencyFormat, a.chainText()
	return layOut(d)
}

// CheckConsistency verifies what [Auditor.Consistency] returned, with nothing
// but public keys, and returns the two checkpoints. It is safe on a document
// from anyone.
func CheckConsistency(doc []byte, keys *Keys) (from, to Checkpoint, err error) {
	var d consistencyDoc
	if err := decodeIndented(doc, &d); err != nil {
		return from, to, err
	}
	if d.Format != consistencyFormat {
		return from, to, fmt.Errorf("%w: not a proof of consistency: %.40q", ErrFormat, d.Format)
	}
	if keys, err = keys.Follow([]byte(d.Keys)); err != nil {
		return from, to, err
	}
	if from, err = OpenCheckpoint([]byte(d.From), keys); err != nil {
		return from, to, fmt.Errorf("the earlier checkpoint: %w", err)
	}
	if to, err = OpenCheckpoint([]byte(d.To), keys); err != nil {
		return from, to, fmt.Errorf("the later checkpoint: %w", err)
	}
	return from, to, checkTree(d.Path, to.Size, to.Root, from.Size, from.Root)
}
