package audit_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fixed is a log whose events, salts included, are always the same.
type fixed struct{ events []eventlog.Event }

func (f *fixed) grow(n int) {
	for range n {
		i := len(f.events)
		e := eventlog.Event{
			Seq: eventlog.Seq(i + 1), Run: eventlogtest.RunNo(i%3 + 1), Version: eventlog.Version(i/3 + 1),
			Time: 1_700_000_000_000_000_000 + int64(i)*1_000_000_007, Kind: eventlog.Kind(i%4 + 1),
			Actor: []string{"engine", "user:Zoë <z@example.org>", ""}[i%3], Payload: []byte(fmt.Sprintf("\x81\xa1n%c", i)), Salt: [16]byte{1, byte(i), 2},
		}
		switch i % 5 {
		case 3:
			e.Run, e.Version = eventlog.System("audit"), eventlog.Version(i/5+1)
			e.Payload = nil
		case 4:
			e.Hash, e.Erased, e.Payload, e.Salt = e.PayloadHash(), true, nil, [16]byte{}
		}
		f.events = append(f.events, e)
	}
	// Versions as they follow from the runs.
	last := make(map[eventlog.RunID]eventlog.Version)
	for i := range f.events {
		e := &f.events[i]
		last[e.Run]++
		e.Version = last[e.Run]
	}
}

func (f *fixed) leaves() (out [][32]byte) {
	for _, e := range f.events {
		out = append(out, eventlog.Leaf(e))
	}
	return out
}

func (f *fixed) TreeHead() (uint64, [32]byte) {
	return uint64(len(f.events)), eventlogtest.Root(f.leaves())
}

func (f *fixed) Leaves(after eventlog.Seq, n int) ([][32]byte, error) {
	return f.leaves()[after:min(int(after)+n, len(f.events))], nil
}

func (f *fixed) Nodes(int, uint64, int) ([][32]byte, error) { return nil, nil }

func (f *fixed) ReadFrom(after eventlog.Seq, n int) ([]eventlog.Event, error) {
	return f.events[after:min(int(after)+n, len(f.events))], nil
}

func (f *fixed) ReadRun(run eventlog.RunID, after eventlog.Version, n int) (out []eventlog.Event, err error) {
	for _, e := range f.events {
		if e.Run == run && e.Version > after && len(out) < n {
			out = append(out, e)
		}
	}
	return out, nil
}

func (f *fixed) FileOf(eventlog.Seq) string { return "memory" }

func (f *fixed) Check(o eventlog.CheckOptions) (*eventlog.CheckReport, error) {
	for _, e := range f.events {
		o.Event(eventlog.CheckedEvent{File: "memory", Seq: e.Seq, Run: e.Run, Version: e.Version, Leaf: eventlog.Leaf(e)})
	}
	return &eventlog.CheckReport{}, nil
}

// goldenKey is in no use: its seed is 32 times the byte 7.
const goldenKey = "PRIVATE+KEY+wfd.dev/golden-log+6eaa242f+AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n"

// goldenLog returns an auditor with checkpoints at 7, 20 and 33 events.
func goldenLog(t testing.TB) (dir string, f *fixed, a *audit.Auditor) {
	t.Helper()
	dir, f = t.TempDir(), new(fixed)
	write(t, []byte(goldenKey), dir, "audit.key")
	a, err := audit.Open(dir, f, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{7, 13, 13} {
		f.grow(n)
		if _, _, err := a.Sign(); err != nil {
			t.Fatal(err)
		}
	}
	return dir, f, a
}

// Everything that leaves the log has the bytes it always had.
func TestGolden(t *testing.T) {
	dir, log, a := goldenLog(t)
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if r, err := a.VerifyNew(audit.VerifyOptions{State: filepath.Join(dir, "state")}); err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	kinds := func(e eventlog.Event) (string, json.RawMessage, error) {
		if e.Erased {
			return "golden.kind", nil, nil
		}
		return "golden.kind", json.RawMessage(`{"bytes":` + fmt.Sprint(len(e.Payload)) + `,"sign":"<&>"}`), nil
	}
	files := map[string][]byte{
		"audit.pub":             read(t, dir, "audit.pub"),
		"checkpoints.txt":       read(t, dir, "checkpoints.txt"),
		"state.json":            read(t, dir, "state"),
		"proof.json":            must(a.Prove(11, false)),
		"proof-hidden.json":     must(a.Prove(12, true)),
		"proof-erased.json":     must(a.Prove(5, false)),
		"consistency.json":      must(a.Consistency(7, 33)),
		"export.jsonl":          export(t, a, 1, 20, audit.ExportOptions{}),
		"export-views.jsonl":    export(t, a, 9, 0, audit.ExportOptions{Describe: kinds, Conceal: func(e eventlog.Event) bool { return e.Seq == 10 }}),
		"cloudevents.jsonl":     export(t, a, 1, 12, audit.ExportOptions{Format: audit.CloudEvents, Describe: kinds}),
		"cloudevents-raw.jsonl": export(t, a, 1, 12, audit.ExportOptions{Format: audit.CloudEvents}),
	}
	for name, got := range files {
		path := filepath.Join("testdata", "golden", name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := read(t, path); !bytes.Equal(got, want) {
			t.Errorf("%s is now\n%s\nit was\n%s", name, got, want)
		}
	}
	if *update {
		// A rotation makes a random key: these are verified, not compared.
		if _, err := a.Rotate(nil); err != nil {
			t.Fatal(err)
		}
		log.grow(7)
		write(t, must(a.Prove(40, false)), "testdata", "golden", "proof-rotated.json")
		write(t, read(t, dir, "audit.keys"), "testdata", "golden", "audit.keys")
	}
}

// Documents of every build so far are accepted by this one, with the first
// public key of the log.
func TestGoldenDocuments(t *testing.T) {
	t.Parallel()
	golden := func(name string) []byte { return read(t, "testdata", "golden", name) }
	keys, err := audit.ParseKeys(golden("audit.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for name, seq := range map[string]eventlog.Seq{"proof.json": 11, "proof-hidden.json": 12, "proof-erased.json": 5, "proof-rotated.json": 40} {
		p, err := audit.CheckProof(golden(name), keys)
		if err != nil || p.Event.Seq != seq {
			t.Errorf("%s: %v", name, err)
		}
	}
	if from, to, err := audit.CheckConsistency(golden("consistency.json"), keys); err != nil || from.Size != 7 || to.Size != 33 {
		t.Errorf("consistency.json: %v", err)
	}
	for name, n := range map[string]uint64{"export.jsonl": 20, "export-views.jsonl": 25} {
		x, err := audit.VerifyExport(bytes.NewReader(golden(name)), keys, audit.VerifyExportOptions{})
		if err != nil || x.Events != n {
			t.Errorf("%s: %v", name, err)
		}
	}
	if k, err := keys.Follow(golden("audit.keys")); err != nil || k == keys {
		t.Errorf("audit.keys: %v", err)
	}
	note := bytes.SplitAfter(golden("checkpoints.txt"), []byte("=\n\n"))
	if c, err := audit.OpenCheckpoint(bytes.TrimSuffix(slices.Concat(note[2], note[3]), []byte("\n")), keys); err != nil || c.Size != 20 {
		t.Errorf("checkpoint: %v", err)
	}
}
