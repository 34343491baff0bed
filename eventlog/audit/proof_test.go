package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
)

// Proofs of events hold in every checkpoint, with the payload and without, for
// whoever has the public key; with a changed event, place or key they do not.
func TestProofs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := w.keys()
	for range 4 {
		w.fill(70)
		for _, seq := range []eventlog.Seq{1, 2, 37, w.db.Head() - 1, w.db.Head()} {
			events, err := w.db.ReadFrom(seq-1, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, conceal := range []bool{false, true} {
				doc, err := w.a.Prove(seq, conceal)
				if err != nil {
					t.Fatal(err)
				}
				p, err := audit.CheckProof(doc, keys)
				if err != nil {
					t.Fatalf("seq %d: %v\n%s", seq, err, doc)
				}
				if p.Event.Seq != seq || eventlog.Leaf(p.Event) != eventlog.Leaf(events[0]) || p.Event.Erased != conceal || uint64(seq) > p.Checkpoint.Size {
					t.Errorf("seq %d: %+v", seq, p)
				}
				if conceal && bytes.Contains(doc, []byte("payload\"")) {
					t.Errorf("a concealed payload: %s", doc)
				}
				byHand(t, doc, w.a.PublicKey())
			}
		}
		w.reopen()
	}
	if _, err := w.a.Prove(0, false); err == nil {
		t.Error("a proof of seq 0")
	}
	if _, err := w.a.Prove(w.db.Head()+1, false); err == nil {
		t.Error("a proof past the head")
	}
}

// byHand checks a proof as docs/audit.md says, with the standard library alone.
func byHand(t *testing.T, doc []byte, public string) {
	t.Helper()
	var d struct {
		Event struct {
			Seq, Version  uint64
			Kind          uint16
			Run, Actor    string
			Time          time.Time
			Salt, Payload []byte
			PayloadHash   []byte `json:"payload_hash"`
		}
		Path       [][]byte
		Checkpoint string
	}
	if err := json.Unmarshal(doc, &d); err != nil {
		t.Fatal(err)
	}
	e := d.Event
	sum := e.PayloadHash
	if sum == nil {
		h := sha256.Sum256(append(e.Salt, e.Payload...))
		sum = h[:]
	}
	run := ulid.MustParse(e.Run)
	leaf := append([]byte{0}, run[:]...)
	leaf = binary.BigEndian.AppendUint64(leaf, e.Version)
	leaf = binary.BigEndian.AppendUint16(leaf, e.Kind)
	leaf = binary.BigEndian.AppendUint64(leaf, uint64(e.Time.UnixNano()))
	leaf = binary.BigEndian.AppendUint16(leaf, uint16(len(e.Actor)))
	leaf = append(append(leaf, e.Actor...), sum...)
	h := sha256.Sum256(leaf)

	text, sig, _ := strings.Cut(d.Checkpoint, "\n\n")
	lines := strings.Split(text, "\n")
	var size uint64
	fmt.Sscan(lines[1], &size)
	// RFC 9162, section 2.1.3.2.
	fn, sn := e.Seq-1, size-1
	for _, p := range d.Path {
		if fn&1 == 1 || fn == sn {
			h = sha256.Sum256(append(append([]byte{1}, p...), h[:]...))
			if shift := bits.TrailingZeros64(fn); fn&1 == 0 {
				fn, sn = fn>>shift, sn>>shift
			}
		} else {
			h = sha256.Sum256(append(append([]byte{1}, h[:]...), p...))
		}
		fn, sn = fn>>1, sn>>1
	}
	if sn != 0 || base64.StdEncoding.EncodeToString(h[:]) != lines[2] {
		t.Errorf("seq %d by hand: root %x", e.Seq, h)
	}
	parts := strings.SplitN(public, "+", 3)
	key, _ := base64.StdEncoding.DecodeString(parts[2])
	fields := strings.Fields(sig)
	raw, _ := base64.StdEncoding.DecodeString(fields[2])
	if fields[1] != lines[0] || !ed25519.Verify(key[1:], []byte(text+"\n"), raw[4:]) {
		t.Error("the signature by hand")
	}
}

// No bit of a proof can be changed, of which one byte in three is tried, nor
// can another form of it pass.
func TestFlippedProofs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := w.keys()
	w.fill(20)
	w.sign()
	if _, err := w.a.Rotate(nil); err != nil {
		t.Fatal(err)
	}
	w.fill(20)
	w.sign()
	proof, err := w.a.Prove(5, false)
	if err != nil {
		t.Fatal(err)
	}
	consistency, err := w.a.Consistency(20, 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := rand.IntN(3); at < len(proof); at += 3 {
		b := bytes.Clone(proof)
		b[at] ^= 1 << rand.IntN(8)
		if _, err := audit.CheckProof(b, keys); err == nil {
			t.Fatalf("a changed bit at %d is accepted:\n%s", at, b)
		}
	}
	for at := rand.IntN(3); at < len(consistency); at += 3 {
		b := bytes.Clone(consistency)
		b[at] ^= 1 << rand.IntN(8)
		if _, _, err := audit.CheckConsistency(b, keys); err == nil {
			t.Fatalf("a changed bit at %d is accepted:\n%s", at, b)
		}
	}
	for name, edit := range map[string][2]string{
		"a second member":      {`"kind"`, `"kind": 9, "kind"`},
		"an unknown member":    {`"kind"`, `"more": 1, "kind"`},
		"a member in capitals": {`"kind"`, `"KIND"`},
		"another time zone":    {`Z",`, `+00:00",`},
		"a number as float":    {`"seq": 5`, `"seq": 5.0`},
		"another seq":          {`"seq": 5`, `"seq": 6`},
		"more behind it":       {"\n}\n", "\n}\n{}"},
		"another format":       {"wfd-proof-1", "wfd-proof-2"},
	} {
		b := bytes.Replace(proof, []byte(edit[0]), []byte(edit[1]), 1)
		if bytes.Equal(b, proof) {
			t.Fatalf("%s: nothing to edit", name)
		}
		if _, err := audit.CheckProof(b, keys); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, _, err := audit.CheckConsistency(proof, keys); !errors.Is(err, audit.ErrFormat) {
		t.Errorf("a proof of an event as one of consistency: %v", err)
	}
}

func TestConsistency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := w.keys()
	w.sign() // of the empty log
	sizes := []uint64{0}
	for _, n := range []int{1, 6, 120, 129, 44, 300} {
		w.fill(n)
		c, _ := w.sign()
		sizes = append(sizes, c.Size)
	}
	for _, a := range sizes {
		for _, b := range sizes {
			if b == 0 {
				continue // stands for the last
			}
			doc, err := w.a.Consistency(a, b)
			if (err == nil) != (a <= b) {
				t.Fatalf("%d to %d: %v", a, b, err)
			}
			if err != nil {
				continue
			}
			from, to, err := audit.CheckConsistency(doc, keys)
			if err != nil || from.Size != a || to.Size != b {
				t.Errorf("%d to %d: %v, %d to %d", a, b, err, from.Size, to.Size)
			}
		}
	}
	if _, err := w.a.Consistency(2, 7); !errors.Is(err, audit.ErrUnsigned) {
		t.Errorf("between sizes that were not signed: %v", err)
	}
	// A read-only auditor proves what is covered, and says what is not.
	w.fill(1)
	ro, err := audit.Open(w.dir, w.db, audit.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ro.Prove(w.db.Head(), false); !errors.Is(err, audit.ErrUnsigned) {
		t.Errorf("an event that nobody has signed for: %v", err)
	}
	if doc, err := ro.Prove(3, true); err != nil {
		t.Error(err)
	} else if _, err := audit.CheckProof(doc, keys); err != nil {
		t.Error(err)
	}
	var copied bytes.Buffer
	if err := ro.WriteCheckpoints(&copied); err != nil || !bytes.Equal(copied.Bytes(), read(t, w.dir, "checkpoints.txt")) {
		t.Errorf("the copy of the checkpoints: %v\n%s", err, copied.Bytes())
	}
}
