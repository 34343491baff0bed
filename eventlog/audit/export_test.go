package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// describe reads events as the tests write them.
func describe(e eventlog.Event) (string, json.RawMessage, error) {
	kind := fmt.Sprintf("test.kind%d", e.Kind)
	if e.Erased {
		return kind, nil, nil
	}
	data, err := json.Marshal(map[string]any{"text": string(e.Payload[:min(len(e.Payload), 40)]), "html": "<&>"})
	return kind, data, err
}

func export(t testing.TB, a *audit.Auditor, from, to eventlog.Seq, o audit.ExportOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := a.Export(context.Background(), &out, from, to, o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Every range of a log is exported, and verified with the public key alone; the
// events that come out are those of the log.
func TestExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := w.keys()
	w.fill(620)
	w.sign()
	w.fill(80)
	events, err := eventlogtest.All(w.db, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, first, last eventlog.Seq }{
		{0, 0, 1, 700}, {1, 1, 1, 1}, {1, 620, 1, 620}, {257, 512, 257, 512}, {5, 300, 5, 300}, {620, 700, 620, 700}, {700, 0, 700, 700},
	} {
		for _, o := range []audit.ExportOptions{{}, {Describe: describe}, {Conceal: func(e eventlog.Event) bool { return e.Seq%2 == 0 }, Describe: describe}} {
			b := export(t, w.a, c.from, c.to, o)
			seq, disclosed := c.first, uint64(0)
			got, err := audit.VerifyExport(bytes.NewReader(b), keys, audit.VerifyExportOptions{Describe: describe, Event: func(e eventlog.Event) {
				is := events[seq-1]
				if e.Seq != seq || eventlog.Leaf(e) != eventlog.Leaf(is) {
					t.Fatalf("seq %d came out as %+v", seq, e)
				}
				if conceal := o.Conceal != nil && seq%2 == 0; e.Erased != conceal || !conceal && !bytes.Equal(e.Payload, is.Payload) {
					t.Fatalf("the payload of seq %d", seq)
				}
				if !e.Erased {
					disclosed++
				}
				seq++
			}})
			if err != nil {
				t.Fatalf("%d to %d: %v", c.from, c.to, err)
			}
			n := uint64(c.last - c.first + 1)
			if got.From != c.first || got.To != c.last || got.Events != n || got.Origin != w.a.Origin() || got.Checkpoint.Size < uint64(c.last) {
				t.Errorf("%d to %d: %+v", c.from, c.to, got)
			}
			if (o.Describe != nil) != (got.Views == n) || got.Disclosed != disclosed {
				t.Errorf("%d to %d: %+v", c.from, c.to, got)
			}
		}
	}
	var out bytes.Buffer
	if _, err := w.a.Export(t.Context(), &out, 701, 0, audit.ExportOptions{}); !errors.Is(err, audit.ErrUnsigned) {
		t.Errorf("past the head: %v", err)
	}
	if _, err := w.a.Export(t.Context(), &out, 1, 701, audit.ExportOptions{}); !errors.Is(err, audit.ErrUnsigned) {
		t.Errorf("beyond the head: %v", err)
	}
	if _, err := w.a.Export(t.Context(), &out, 1, 1, audit.ExportOptions{Format: "xml"}); err == nil || out.Len() > 0 {
		t.Errorf("an unknown format: %v", err)
	}
}

// breaking is a writer that breaks after some bytes.
type breaking struct {
	bytes.Buffer
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		b.Buffer.Write(p[:b.left])
		b.left = 0
		return 0, io.ErrClosedPipe
	}
	b.left -= len(p)
	return b.Buffer.Write(p)
}

// An export breaks off anywhere and goes on where it was: one file that proves
// itself, whether or not the log has grown in between.
func TestResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(40)
	keys := w.keys()
	for _, format := range []audit.Format{audit.JSONLines, audit.CloudEvents} {
		o := audit.ExportOptions{Format: format, Conceal: func(e eventlog.Event) bool { return len(e.Payload) > 1000 }}
		to := w.db.Head()
		whole := export(t, w.a, 1, to, o)
		for cut := 0; cut < len(whole); cut += 997 {
			out := breaking{left: cut}
			if last, err := w.a.Export(t.Context(), &out, 1, to, o); !errors.Is(err, io.ErrClosedPipe) {
				t.Fatalf("cut at %d: %v after seq %d", cut, err, last)
			}
			w.fill(1)
			for range 2 {
				next, size, done, err := audit.Resume(bytes.NewReader(out.Bytes()))
				if err != nil || done {
					t.Fatalf("cut at %d: %v, %v", cut, done, err)
				}
				out.Truncate(int(size))
				out.left = 3000
				if _, err := w.a.Export(t.Context(), &out, next, to, o); err == nil {
					break
				}
			}
			next, size, done, err := audit.Resume(bytes.NewReader(out.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if !done && next <= to { // the second attempt broke off too
				out.Truncate(int(size))
				out.left = 1 << 30
				if _, err := w.a.Export(t.Context(), &out, next, to, o); err != nil {
					t.Fatal(err)
				}
			}
			if format == audit.CloudEvents {
				if !bytes.Equal(out.Bytes(), whole) {
					t.Fatalf("cut at %d: the parts make\n%s", cut, out.Bytes())
				}
				continue
			}
			got, err := audit.VerifyExport(&out, keys, audit.VerifyExportOptions{})
			if err != nil || got.From != 1 || got.To != to || got.Events != uint64(to) {
				t.Fatalf("cut at %d: %v, %+v", cut, err, got)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if last, err := w.a.Export(ctx, io.Discard, 1, 0, audit.ExportOptions{}); !errors.Is(err, context.Canceled) || last != 0 {
		t.Errorf("given up: seq %d, %v", last, err)
	}
}

// Whatever is done to an export, it does not pass.
func TestTamperedExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(15)
	w.sign()
	keys := w.keys()
	whole := export(t, w.a, 3, 9, audit.ExportOptions{Describe: describe})
	refused := func(name string, b []byte) {
		t.Helper()
		if bytes.Equal(b, whole) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if got, err := audit.VerifyExport(bytes.NewReader(b), keys, audit.VerifyExportOptions{Describe: describe}); err == nil {
			t.Errorf("%s is accepted: %+v", name, got)
		}
	}
	for at := rand.IntN(5); at < len(whole); at += 5 {
		b := bytes.Clone(whole)
		b[at] ^= 1 << rand.IntN(8)
		refused(fmt.Sprint("a changed bit at ", at), b)
		if t.Failed() {
			t.Fatalf("%s", b)
		}
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	lines = lines[:len(lines)-1]
	join := func(order ...int) (b []byte) {
		for _, i := range order {
			b = append(b, lines[i]...)
		}
		return b
	}
	refused("nothing", nil)
	refused("no header", join(1, 2, 3, 4, 5, 6, 7, 8))
	refused("no closing line", join(0, 1, 2, 3, 4, 5, 6, 7))
	refused("a header alone", join(0))
	refused("header and closing line", join(0, 8))
	refused("a deleted event", join(0, 1, 2, 4, 5, 6, 7, 8))
	refused("the first event deleted", join(0, 2, 3, 4, 5, 6, 7, 8))
	refused("the last event deleted", join(0, 1, 2, 3, 4, 5, 6, 8))
	refused("swapped events", join(0, 1, 3, 2, 4, 5, 6, 7, 8))
	refused("a doubled event", join(0, 1, 1, 2, 3, 4, 5, 6, 7, 8))
	refused("more behind the end", join(0, 1, 2, 3, 4, 5, 6, 7, 8, 7))
	refused("a second header", join(0, 1, 2, 0, 3, 4, 5, 6, 7, 8))
	refused("no last newline", bytes.TrimSuffix(whole, []byte("\n")))
	refused("a line without end", append(bytes.Clone(lines[0]), bytes.Repeat([]byte("x"), 1<<20)...))
	other := newWorld(t)
	other.fill(15)
	other.sign()
	theirs := bytes.SplitAfter(export(t, other.a, 3, 9, audit.ExportOptions{Describe: describe}), []byte("\n"))
	refused("another log's closing line", append(join(0, 1, 2, 3, 4, 5, 6, 7), theirs[8]...))
	refused("another log's export", bytes.Join(theirs, nil))
	if _, err := audit.VerifyExport(bytes.NewReader(whole), other.keys(), audit.VerifyExportOptions{}); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("another log's key: %v", err)
	}

	// What stands there for people is nothing that a signature covers.
	lie := bytes.Replace(whole, []byte("test.kind1"), []byte("test.kind2"), 1)
	refused("a false reading", lie)
	if got, err := audit.VerifyExport(bytes.NewReader(lie), keys, audit.VerifyExportOptions{}); err != nil || got.Views != 7 {
		t.Errorf("without knowing the payloads: %v, %+v", err, got)
	}
}

// A line may be as long as a large payload makes it, and has an end.
func TestLongLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.db.Append(t.Context(), eventlog.Append{ID: 1, Run: eventlog.System("big"), Records: []eventlog.Record{{Time: 1, Kind: 1, Payload: make([]byte, eventlog.MaxPayload/4)}}})
	if err != nil {
		t.Fatal(err)
	}
	b := export(t, w.a, 1, 1, audit.ExportOptions{})
	got, err := audit.VerifyExport(bytes.NewReader(b), w.keys(), audit.VerifyExportOptions{})
	if err != nil || got.Disclosed != 1 {
		t.Fatal(err)
	}
	header := b[:bytes.IndexByte(b, '\n')+1]
	endless := io.MultiReader(bytes.NewReader(header), strings.NewReader(`{"seq":1,"actor":"`), zeros{})
	if _, err := audit.VerifyExport(endless, w.keys(), audit.VerifyExportOptions{}); !errors.Is(err, audit.ErrFormat) {
		t.Errorf("a line without end: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Each line is a CloudEvent with its required members, and members that are
// named and typed as the standard wants them.
func TestCloudEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(30)
	w.sign()
	for _, o := range []audit.ExportOptions{{Format: audit.CloudEvents}, {Format: audit.CloudEvents, Describe: describe, Conceal: func(e eventlog.Event) bool { return e.Seq == 4 }}} {
		n := 0
		for line := range bytes.Lines(export(t, w.a, 1, 0, o)) {
			var m map[string]any
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatal(err)
			}
			n++
			for _, name := range []string{"specversion", "id", "source", "type", "subject", "time"} {
				if s, ok := m[name].(string); !ok || s == "" {
					t.Errorf("%s is %v", name, m[name])
				}
			}
			for name, v := range m {
				if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" && name != "data_base64" || len(name) > 20 {
					t.Errorf("member %q", name)
				}
				if _, ok := v.(float64); ok {
					t.Errorf("%s is the number %v", name, v)
				}
			}
			_, data := m["data"]
			_, raw := m["data_base64"]
			withheld := m["wfdwithheld"] == true
			if m["wfdseq"] != fmt.Sprint(n) || data && raw || data != (o.Describe != nil && !withheld) || withheld != (o.Conceal != nil && n == 4) {
				t.Errorf("%s", line)
			}
		}
		if n != 30 {
			t.Errorf("%d events", n)
		}
	}
}
