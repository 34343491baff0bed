package audit_test

import (
	"bytes"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
)

func goldenKeys(f *testing.F) *audit.Keys {
	k, err := audit.ParseKeys(read(f, "testdata", "golden", "audit.pub"))
	if err != nil {
		f.Fatal(err)
	}
	return k
}

// Whatever passes as an export of the golden log has the golden log's events.
func FuzzVerifyExport(f *testing.F) {
	keys := goldenKeys(f)
	var log fixed
	log.grow(33)
	for _, name := range []string{"export.jsonl", "export-views.jsonl", "cloudevents.jsonl"} {
		b := read(f, "testdata", "golden", name)
		f.Add(b)
		f.Add(b[:len(b)/2])
		f.Add(bytes.ReplaceAll(b, []byte("\n"), []byte("\n\n")))
	}
	f.Add([]byte(`{"format":"wfd-export-1","origin":"wfd.dev/golden-log","from":18446744073709551615,"edge":[]}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var events []eventlog.Event
		x, err := audit.VerifyExport(bytes.NewReader(b), keys, audit.VerifyExportOptions{Event: func(e eventlog.Event) { events = append(events, e) }})
		if _, _, _, err := audit.Resume(bytes.NewReader(b)); err != nil && x != nil {
			t.Errorf("an export that is sound cannot be resumed: %v", err)
		}
		if err != nil {
			return
		}
		for i, e := range events {
			if want := log.events[int(x.From)-1+i]; e.Seq != want.Seq || eventlog.Leaf(e) != eventlog.Leaf(want) {
				t.Fatalf("an event that never was: %+v", e)
			}
		}
	})
}

// Whatever passes as a proof says what is so.
func FuzzCheckProof(f *testing.F) {
	keys := goldenKeys(f)
	var log fixed
	log.grow(40)
	for _, name := range []string{"proof.json", "proof-hidden.json", "proof-erased.json", "proof-rotated.json", "consistency.json", "state.json"} {
		f.Add(read(f, "testdata", "golden", name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := audit.CheckProof(b, keys); err == nil {
			want := log.events[p.Event.Seq-1]
			if eventlog.Leaf(p.Event) != eventlog.Leaf(want) || p.Event.Run != want.Run {
				t.Fatalf("an event that never was: %+v", p.Event)
			}
		}
		if from, to, err := audit.CheckConsistency(b, keys); err == nil && from.Size > to.Size {
			t.Fatalf("%d to %d", from.Size, to.Size)
		}
	})
}

// Keys, chains and notes from anyone do no harm, and nothing that was changed
// is believed.
func FuzzKeys(f *testing.F) {
	keys := goldenKeys(f)
	chain := read(f, "testdata", "golden", "audit.keys")
	f.Add(read(f, "testdata", "golden", "audit.pub"))
	f.Add(chain)
	f.Add(append(bytes.Clone(chain), chain...))
	for _, n := range bytes.SplitAfter(read(f, "testdata", "golden", "checkpoints.txt"), []byte("=\n\n")) {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := audit.ParseKeys(b); err == nil && k.Origin() == "" {
			t.Error("keys of no log")
		}
		if k, err := keys.Follow(b); err == nil && k != keys && !bytes.Equal(b, chain) {
			t.Errorf("another chain is followed:\n%s", b)
		}
		if c, err := audit.OpenCheckpoint(b, keys); err == nil && c.Size != 7 && c.Size != 20 && c.Size != 33 {
			t.Errorf("a checkpoint that was never signed: %+v", c)
		}
	})
}
