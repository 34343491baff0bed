package capsule_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/zseal"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
	"github.com/wfd-dev/wfd/replay/capsule"
)

// What is seen of a run in a capsule is what is seen of it in its log: its states at
// every event, the tree under it, what each event changed, why, and that it follows
// from its facts.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"children", "retries", "restored", "branches", "quorum", "deadline"} {
		w := newWorld(t)
		w.history(name)
		for _, id := range w.runs {
			roundTrip(t, w, id)
		}
		if c := read(t, w.export(w.runs[0]), nil); len(c.Runs) != len(w.runs) || c.Pinned || c.Key != w.a.PublicKey() {
			t.Errorf("%s: of %d runs there are %d: %+v", name, len(w.runs), len(c.Runs), c)
		}
	}
}

func roundTrip(t *testing.T, w *world, id eventlog.RunID) {
	t.Helper()
	c := read(t, w.export(id), w.keys())
	if !c.Proven() || !c.Pinned || c.Run != id || c.Origin != w.a.Origin() || c.Checkpoint.Size != uint64(w.db.Head()) {
		t.Fatalf("%+v", c)
	}
	own, err := w.db.ReadRun(id, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Log().ReadRun(id, 0, 1000)
	if err != nil || !reflect.DeepEqual(got, own) {
		t.Fatalf("run %s: the events differ: %v", id, err)
	}
	for _, e := range own {
		for _, at := range []replay.Position{{Seq: e.Seq}, {Version: e.Version}} {
			if a, b := view(t, w.db, id, at), view(t, c.Log(), id, at); a != b {
				t.Fatalf("run %s at %v:\n%s\n%s", id, at, a, b)
			}
		}
	}
	same(t, w.db, c.Log(), func(l eventlog.Log) (any, error) { return replay.Frames(l, id, 0, 10_000) })
	same(t, w.db, c.Log(), func(l eventlog.Log) (any, error) {
		states, err := replay.Tree(l, id, 0)
		var views []run.View
		for _, s := range states {
			views = append(views, s.View())
		}
		return views, err
	})
	same(t, w.db, c.Log(), func(l eventlog.Log) (any, error) {
		return replay.Why(l, replay.Registered(l), id, "", 0, replay.Position{})
	})
	for _, id := range c.Runs {
		v, err := replay.Verify(c.Log(), replay.Registered(c.Log()), id)
		if err != nil || !v.OK || v.NotFrom != 0 {
			t.Errorf("run %s does not follow from its facts: %+v, %v", id, v, err)
		}
	}
}

// same fails the test if a look at two logs does not give the same.
func same(t *testing.T, a, b eventlog.Log, look func(eventlog.Log) (any, error)) {
	t.Helper()
	x, err := look(a)
	y, err2 := look(b)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	j, err := json.Marshal(x)
	k, err2 := json.Marshal(y)
	if err != nil || err2 != nil || !bytes.Equal(j, k) {
		t.Fatalf("%v, %v\n%s\n%s", err, err2, j, k)
	}
}

// A fork comes with the beginning of the run that it was forked from, and that with
// what it was forked from in turn.
func TestForks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.history("retries")
	first := w.runs[0]
	second, third := eventlog.RunID{9, 1}, eventlog.RunID{9, 2}
	w.fork(first, 12, second)
	w.fork(second, 1, third)
	c := read(t, w.export(third), w.keys())
	if !slices.Equal(c.Runs, []eventlog.RunID{third, second, first}) {
		t.Errorf("%v", c.Runs)
	}
	for id, want := range map[eventlog.RunID]eventlog.Version{first: 12, second: 1} {
		if v, _ := c.Log().Version(id); v != want {
			t.Errorf("of run %s there are %d events, not %d", id, v, want)
		}
	}
	if a, b := view(t, w.db, third, replay.Position{}), view(t, c.Log(), third, replay.Position{}); a != b {
		t.Errorf("\n%s\n%s", a, b)
	}
	if c := read(t, w.export(first), nil); len(c.Runs) != 1 {
		t.Errorf("a run comes with its forks: %v", c.Runs)
	}
}

// A capsule whose events were changed by somebody without the key is refused, and
// so is one that another log has signed; without a proof nothing is vouched for.
func TestForgedCapsules(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	w.history("children")
	other.history("children")
	id := w.runs[0]
	whole := lines(t, w.export(id))
	keys := w.keys()
	refused := func(what string, class error, lines ...string) {
		t.Helper()
		for _, k := range []*audit.Keys{nil, keys} {
			if _, err := capsule.Read(bytes.NewReader(seal(t, lines...)), k); !errors.Is(err, class) && !errors.Is(err, audit.ErrSignature) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	edit := func(i int, from, to string) []string {
		t.Helper()
		out := slices.Clone(whole)
		if out[i] = strings.Replace(out[i], from, to, 1); out[i] == whole[i] {
			t.Fatalf("line %d has no %s: %s", i, from, whole[i])
		}
		return out
	}
	last := len(whole) - 1
	if _, err := capsule.Read(bytes.NewReader(seal(t, whole...)), keys); err != nil {
		t.Fatal(err)
	}
	refused("another actor", audit.ErrProof, edit(5, `"actor":"`, `"actor":"m`)...)
	refused("another payload", audit.ErrProof, edit(5, `"payload":"`, `"payload":"AAAA`)...)
	refused("a payload that is erased", audit.ErrProof, func() []string {
		out := slices.Clone(whole)
		at := strings.Index(out[5], `"salt"`)
		out[5] = out[5][:at] + `"payload_hash":"` + strings.Repeat("A", 43) + `=","append":"1"}` + "\n"
		return out
	}()...)
	refused("a time", audit.ErrProof, edit(last-1, `"time":"2026-05-2`, `"time":"2026-06-2`)...)
	refused("an origin", audit.ErrProof, edit(0, `"origin":"wfd.dev/`, `"origin":"wfd.dev/x`)...)
	refused("a proof of another log", audit.ErrProof, append(slices.Clone(whole[:last]), lines(t, other.export(id))[last])...)
	if _, err := capsule.Read(bytes.NewReader(other.export(id)), keys); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("a capsule of another log: %v", err)
	}
	// Which events were appended together is in no proof, and said so.
	read(t, seal(t, edit(5, `"append":"`, `"append":"1`)...), keys)

	bare := w.source()
	bare.Prove = nil
	x, err := capsule.Prepare(t.Context(), bare, id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := x.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if c := read(t, b.Bytes(), nil); c.Proven() || c.Origin != "" {
		t.Errorf("%+v", c)
	}
	if _, err := capsule.Read(bytes.NewReader(b.Bytes()), keys); !errors.Is(err, capsule.ErrUnproven) {
		t.Errorf("a capsule without a proof, where one is asked for: %v", err)
	}
}

// Files from anyone are refused with a reason, and before they do harm.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.history("children")
	b := w.export(w.runs[1])
	for at := range b {
		bad := bytes.Clone(b)
		bad[at] ^= 1 << (at % 8)
		if _, err := capsule.Read(bytes.NewReader(bad), nil); !errors.Is(err, zseal.ErrDamaged) && err == nil {
			t.Errorf("with byte %d changed it is read", at)
		}
		if at%7 == 0 {
			if _, err := capsule.Read(bytes.NewReader(b[:at]), nil); err == nil {
				t.Errorf("cut at %d it is read", at)
			}
		}
	}
	whole := lines(t, b)
	other := lines(t, w.export(w.runs[2]))
	n := len(whole)
	for what, text := range map[string][]string{
		"nothing":               {""},
		"a header alone":        whole[:1],
		"no closing":            whole[:n-1],
		"more behind the end":   append(slices.Clone(whole), whole[1]),
		"an event missing":      slices.Delete(slices.Clone(whole), 4, 5),
		"an event twice":        slices.Insert(slices.Clone(whole), 4, whole[4]),
		"two swapped":           append(append(slices.Clone(whole[:3]), whole[4], whole[3]), whole[5:]...),
		"an event of another":   append(slices.Clone(whole[:n-1]), other[2], whole[n-1]),
		"no definition":         append(slices.Clone(whole[:1]), whole[2:]...),
		"a definition at last":  append(append(slices.Clone(whole[:1]), whole[2:n-1]...), whole[1], whole[n-1]),
		"another format":        append([]string{strings.Replace(whole[0], "capsule-1", "capsule-2", 1)}, whole[1:]...),
		"a great many events":   append([]string{strings.Replace(whole[0], `"events":`, `"events":9`, 1)}, whole[1:]...),
		"far too many events":   append([]string{strings.Replace(whole[0], `"events":`, `"events":99999999`, 1)}, whole[1:]...),
		"no runs":               append([]string{strings.Replace(whole[0], `"runs":1`, `"runs":0`, 1)}, whole[1:]...),
		"negative runs":         append([]string{strings.Replace(whole[0], `"runs":1`, `"runs":-1`, 1)}, whole[1:]...),
		"another run":           append([]string{strings.Replace(whole[0], w.runs[1].String(), w.runs[2].String(), 1)}, whole[1:]...),
		"a system stream":       append([]string{strings.Replace(whole[0], w.runs[1].String(), "system:workflows", 1)}, whole[1:]...),
		"an unknown member":     append([]string{strings.Replace(whole[0], `{"format"`, `{"x":1,"format"`, 1)}, whole[1:]...),
		"text":                  {"hello"},
		"nesting":               {strings.Repeat("[", 100_000)},
		"a line without an end": {whole[0], `{"seq":1,"actor":"` + strings.Repeat("a", 1<<20)},
	} {
		if _, err := capsule.Read(bytes.NewReader(seal(t, text...)), nil); err == nil {
			t.Errorf("%s: it is read", what)
		}
	}
	if _, err := capsule.Read(bytes.NewReader(seal(t, whole[0]+strings.Repeat("x", 40<<20))), nil); !errors.Is(err, capsule.ErrTooLarge) {
		t.Errorf("a long line: %v", err)
	}
	for _, text := range []string{"", "hello", "name: flow\nnodes: {}\n", strings.Repeat("x", 1000)} {
		if _, err := capsule.Read(strings.NewReader(text), nil); !errors.Is(err, zseal.ErrDamaged) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

// A bomb is refused when it has unpacked to the limit, in little memory.
func TestBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks a gigabyte")
	}
	t.Parallel()
	var b bytes.Buffer
	zw, err := zseal.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(zw, `{"format":"wfd-capsule-1","run":"00000000010000000000000000","made":"2026-01-01T00:00:00Z","runs":1,"events":1000000}`+"\n")
	zeros := make([]byte, 1<<20)
	for range 100 {
		zw.Write(zeros)
	}
	zw.Close()
	if _, err := capsule.Read(&b, nil); !errors.Is(err, capsule.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.history("deadline")
	if _, err := capsule.Prepare(t.Context(), w.source(), eventlog.RunID{1, 1}, time.Now()); !errors.Is(err, run.ErrNotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := capsule.Prepare(ctx, w.source(), w.runs[0], time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	gone := w.source()
	gone.Definition = func(context.Context, string) (eventlog.Event, error) {
		return eventlog.Event{}, replay.ErrNoDefinition
	}
	x, err := capsule.Prepare(t.Context(), gone, w.runs[0], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := x.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	c := read(t, b.Bytes(), w.keys())
	if a, b := view(t, w.db, w.runs[0], replay.Position{}), view(t, c.Log(), w.runs[0], replay.Position{}); a != b {
		t.Error("without its definition the run looks another")
	}
}

var update = flag.Bool("update", false, "make the golden capsule anew; only for a format that was never released")

// Capsules of every released format are read for ever.
func TestGoldenCapsule(t *testing.T) {
	file := filepath.Join("testdata", "v1.wfd")
	if *update {
		w := newWorld(t)
		w.history("children")
		w.fork(w.runs[len(w.runs)-1], 3, eventlog.RunID{8})
		os.MkdirAll("testdata", 0o755)
		for name, b := range map[string][]byte{file: w.export(w.runs[0]), filepath.Join("testdata", "v1.pub"): []byte(w.a.PublicKey() + "\n")} {
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile(filepath.Join("testdata", "v1.pub"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := audit.ParseKeys(pub)
	if err != nil {
		t.Fatal(err)
	}
	c := read(t, b, keys)
	s, err := replay.State(c.Log(), c.Run, replay.Position{})
	if err != nil || s.Status != run.Completed || len(c.Runs) < 4 || c.Made != time.Unix(1e9, 0).UTC() {
		t.Errorf("%+v, %v", c, err)
	}
	for _, id := range c.Runs {
		if v, err := replay.Verify(c.Log(), replay.Registered(c.Log()), id); err != nil || !v.OK || v.NotFrom != 0 {
			t.Errorf("run %s: %+v, %v", id, v, err)
		}
	}
	var first map[string]any
	if err := json.Unmarshal([]byte(lines(t, b)[0]), &first); err != nil || first["format"] != "wfd-capsule-1" {
		t.Errorf("%v, %v", first, err)
	}
}

// Runs that were forked from each other, which no log has, are refused: a fold of
// them would have no end.
func TestForksInACircle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.history("retries")
	first := w.runs[0]
	w.fork(first, 12, eventlog.RunID{9, 1})
	bare := w.source()
	bare.Prove = nil
	x, err := capsule.Prepare(t.Context(), bare, eventlog.RunID{9, 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := x.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	whole := lines(t, b.Bytes())
	read(t, seal(t, whole...), nil)
	for _, from := range []eventlog.RunID{{9, 1}, {9, 2}, first} {
		p := event.RunForked{From: from, At: 1, Hash: "x", Workflow: "x"}
		if from == first {
			p.At = 1000
		}
		l := strings.Split(whole[2], `"payload":"`)
		_, rest, _ := strings.Cut(l[1], `"`)
		bad := slices.Clone(whole)
		bad[2] = l[0] + `"payload":"` + base64.StdEncoding.EncodeToString(event.Encode(&p)) + `"` + rest
		if _, err := capsule.Read(bytes.NewReader(seal(t, bad...)), nil); !errors.Is(err, capsule.ErrFormat) || !strings.Contains(err.Error(), "is forked from") {
			t.Errorf("forked from %s: %v", from, err)
		}
	}
}

// Two capsules are compared as one log, also where they have the same run and it
// went on in two ways.
func TestJoin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.history("children")
	whole, child := read(t, w.export(w.runs[0]), nil), read(t, w.export(w.runs[1]), nil)
	log, id := capsule.Join(whole, child)
	if id != child.Run {
		t.Errorf("a run that is the same in both has ID %s", id)
	}
	for _, id := range whole.Runs {
		if a, b := view(t, whole.Log(), id, replay.Position{}), view(t, log, id, replay.Position{}); a != b {
			t.Errorf("\n%s\n%s", a, b)
		}
	}
	early, late := newWorld(t), newWorld(t)
	early.history("deadline")
	late.history("deadline")
	run := late.runs[0]
	v, _ := late.db.Version(run)
	late.append(eventlog.Append{ID: 5, Run: run, Expect: v, Records: []eventlog.Record{{Time: 2e18, Kind: event.KindCheckpointCreated, Payload: event.Encode(&event.CheckpointCreated{At: 2, Name: "late"})}}})
	early.append(eventlog.Append{ID: 5, Run: run, Expect: v, Records: []eventlog.Record{{Time: 2e18, Kind: event.KindCheckpointCreated, Payload: event.Encode(&event.CheckpointCreated{At: 2, Name: "early"})}}})
	one, other := read(t, early.export(run), nil), read(t, late.export(run), nil)
	if log, id = capsule.Join(one, other); id == run {
		t.Error("a run that went on in two ways has one ID")
	}
	d, err := replay.Compare(log, run, replay.Position{}, id, replay.Position{})
	if err != nil || d.A.Version != v+1 || d.B.Version != v+1 || !d.Same {
		t.Errorf("%+v, %v", d, err)
	}
}

// Whatever the payloads of a capsule say, looking at it ends, with an answer or an
// error.
func FuzzPayloads(f *testing.F) {
	w := newWorld(f)
	w.history("children")
	events, err := w.db.ReadRun(w.runs[0], 0, 1000)
	if err != nil {
		f.Fatal(err)
	}
	for i, e := range events {
		f.Add(uint8(i), uint16(e.Kind), e.Payload)
	}
	bare := w.source()
	bare.Prove = nil
	x, err := capsule.Prepare(context.Background(), bare, w.runs[0], time.Now())
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := x.Write(context.Background(), &b); err != nil {
		f.Fatal(err)
	}
	whole := lines(f, b.Bytes())
	f.Fuzz(func(t *testing.T, at uint8, kind uint16, payload []byte) {
		bad := slices.Clone(whole)
		i := 3 + int(at)%len(events) // behind the header and two definitions
		var l map[string]json.RawMessage
		if err := json.Unmarshal([]byte(whole[i]), &l); err != nil {
			t.Fatal(err)
		}
		bad[i] = fmt.Sprintf(`{"seq":%s,"run":%s,"version":%s,"time":%s,"kind":%d,"actor":%s,"salt":%s,"payload":"%s","append":%s}`+"\n",
			l["seq"], l["run"], l["version"], l["time"], kind, l["actor"], l["salt"], base64.StdEncoding.EncodeToString(payload), l["append"])
		c, err := capsule.Read(bytes.NewReader(seal(t, bad...)), nil)
		if err != nil {
			return
		}
		defs := replay.Registered(c.Log())
		replay.State(c.Log(), c.Run, replay.Position{})
		replay.Frames(c.Log(), c.Run, 0, 10_000)
		replay.Tree(c.Log(), c.Run, 0)
		replay.Verify(c.Log(), defs, c.Run)
		replay.Why(c.Log(), defs, c.Run, "", 0, replay.Position{})
	})
}

// Of what was erased a capsule has the hash, and the rest that the log has: its
// proof holds, and the run is rebuilt as far as in the log.
func TestErasedPayloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.history("restored")
	id := w.runs[0]
	v, err := w.db.Version(id)
	if err != nil {
		t.Fatal(err)
	}
	before := view(t, w.db, id, replay.Position{})
	_, err = w.db.Erase(t.Context(), []eventlog.Span{{Run: id, From: 1, To: v}}, func(e eventlog.Event) ([]byte, error) {
		return event.Redact(e.Kind, e.Payload, event.RestNames)
	})
	if err != nil {
		t.Fatal(err)
	}
	b := w.export(id)
	if text := strings.Join(lines(t, b), ""); strings.Contains(text, `"salt"`) && strings.Count(text, `"salt"`) > 1 || !strings.Contains(text, `"left"`) {
		t.Errorf("%s", text) // the definition has its salt
	}
	c := read(t, b, w.keys())
	events, err := c.Log().ReadRun(id, 0, 1000)
	if err != nil || len(events) != int(v) {
		t.Fatal(len(events), err)
	}
	for _, e := range events {
		if !e.Erased {
			t.Errorf("version %d is not erased", e.Version)
		}
	}
	now := view(t, c.Log(), id, replay.Position{})
	if now != view(t, w.db, id, replay.Position{}) || now == before {
		t.Errorf("\n%s\n%s", now, before)
	}
}
