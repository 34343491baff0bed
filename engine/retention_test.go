package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// keeping is an engine with what it keeps its runs in.
type keeping struct {
	*Engine
	dir   string
	log   *eventlog.DB
	views *projection.Views
}

// keep opens an engine that answers every task with its input, and closes it at
// the end of the test, or when close is called.
func keep(t *testing.T, dir, replies string, r Retention) (k keeping, closeAll func()) {
	t.Helper()
	log, views, err := Store(dir, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	snapshots, err := projection.OpenSnapshots(filepath.Join(dir, "views"), nil)
	if err != nil {
		t.Fatal(err)
	}
	scripted, err := agent.ParseReplies("replies.yaml", []byte(replies))
	if err != nil {
		t.Fatal(err)
	}
	e := New(log, views, Options{Replies: scripted.Runner(), Snapshots: snapshots, Retention: r})
	if err := e.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	closed := false
	closeAll = func() {
		if closed {
			return
		}
		closed = true
		e.Stop()
		for _, err := range []error{snapshots.Close(), views.Close(), log.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
		if r, err := eventlog.Check(dir, eventlog.CheckOptions{}); err != nil || r.Err() != nil {
			t.Errorf("check: %v, %v", err, r.Err())
		}
	}
	t.Cleanup(closeAll)
	return keeping{e, dir, log, views}, closeAll
}

// has reports which files have the text.
func (k keeping) has(t *testing.T, text string) (in []string) {
	t.Helper()
	err := filepath.WalkDir(k.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if bytes.Contains(b, []byte(text)) {
			in = append(in, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

const motherSource = `
name: mother
input: {type: object}
state: {seen: {type: string}}
nodes:
  ask: {human: {prompt: "What of ${input.short}?"}, set: {seen: "${input.short}"}}
  sub: {workflow: {workflow: daughter, input: {short: "${input.short}"}}}
edges: [{from: ask, to: sub}]
`

const daughterSource = `
name: daughter
nodes:
  work: {exec: {command: [x]}}
output: "${input.short}"
`

// told starts a mother with a secret, answers her, and returns her once she ended.
func told(t *testing.T, k keeping, secret string) Run {
	t.Helper()
	r, _, err := k.StartRun(t.Context(), StartRequest{
		Workflow: "mother", Input: event.MustValue(map[string]any{"text": secret, "short": secret[:min(len(secret), 40)]}),
		Labels: map[string]string{"who": secret[:min(len(secret), 40)]},
	}, By{Actor: "test", Key: "key " + secret[:min(len(secret), 40)]})
	if err != nil {
		t.Fatal(err)
	}
	await(t, k.Engine, r.ID, status(run.Waiting))
	if _, err := k.Do(t.Context(), r.ID, machine.Answer{Node: "ask", Value: event.MustValue(secret)}, By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	return await(t, k.Engine, r.ID, status(run.Completed))
}

// What is erased is in no file; the runs still fold, the views are what the log
// makes them, and nothing more can be done with them.
func TestErase(t *testing.T) {
	dir := t.TempDir()
	k, done := keep(t, dir, `{nodes: {work: {text: did}}}`, Retention{})
	register(t, k.Engine, daughterSource)
	register(t, k.Engine, motherSource)
	a, b := told(t, k, "secret-of-anna"), told(t, k, "secret-of-berta")
	ctx := t.Context()
	rows, _, err := k.views.Children(ctx, a.ID, "", 0)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d children, %v", len(rows), err)
	}
	size, root := k.log.TreeHead()
	proof := func() [32]byte {
		e, err := k.log.ReadRun(a.ID, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		return eventlog.Leaf(e[0])
	}
	leaf := proof()

	for what, r := range map[string]EraseRequest{
		"no reason":  {Run: a.ID},
		"child":      {Run: rows[0].ID, Reason: "r"},
		"unknown":    {Run: eventlog.RunID{1}, Reason: "r"},
		"not a hash": {Payload: "xyz", Reason: "r"},
		"no payload": {Payload: strings.Repeat("0", 64), Reason: "r"},
	} {
		if _, err := k.Erase(ctx, r, By{Actor: "ann"}); err == nil {
			t.Errorf("%s: erased", what)
		}
	}
	plan, err := k.Erase(ctx, EraseRequest{Run: a.ID, Reason: "asked for", DryRun: true}, By{Actor: "ann"})
	if err != nil || plan.Seq != 0 || len(plan.Runs) != 2 || plan.Events != int(a.Version+rows[0].Version) {
		t.Fatalf("plan %+v, %v", plan, err)
	}
	if len(k.has(t, "secret-of-anna")) == 0 || k.log.Head() != eventlog.Seq(size) {
		t.Fatal("a dry run has erased something")
	}
	got, err := k.Erase(ctx, EraseRequest{Run: a.ID, Reason: "asked for"}, By{Actor: "ann"})
	if err != nil || got.Events != plan.Events || got.Bytes != plan.Bytes || got.Seq == 0 {
		t.Fatalf("erased %+v, %v; planned %+v", got, err, plan)
	}
	look := func() {
		t.Helper()
		if in := k.has(t, "secret-of-anna"); len(in) > 0 {
			t.Errorf("still in %v", in)
		}
		if len(k.has(t, "secret-of-berta")) == 0 {
			t.Error("another run was erased too")
		}
		s, err := run.Fold(k.log, a.ID, run.Newest)
		if err != nil || s.Status != run.Completed || s.Nodes["ask"].Completed != 1 || s.Nodes["sub"].Completed != 1 || !s.Erased {
			t.Errorf("it folds to %+v, %v", s, err)
		}
		row, err := k.views.Run(ctx, a.ID)
		if err != nil || row.Erased != projection.ErasedByPerson || row.Labels != nil || row.Workflow != "mother" || row.Status != run.Completed {
			t.Errorf("row %+v, %v", row, err)
		}
		if err := k.views.Verify(ctx, nil); err != nil {
			t.Error(err)
		}
		if leaf != proof() {
			t.Error("another leaf")
		}
		if _, err := k.Do(ctx, a.ID, machine.Checkpoint{Name: "x"}, By{Actor: "ann"}); !errors.Is(err, machine.ErrRefused) {
			t.Errorf("a command for an erased run: %v", err)
		}
		if _, err := k.ForkRun(ctx, a.ID, ForkRequest{At: 2}, By{Actor: "ann"}); !errors.Is(err, machine.ErrRefused) {
			t.Errorf("a fork of an erased run: %v", err)
		}
		if _, err := k.Erase(ctx, EraseRequest{Run: a.ID, Reason: "again"}, By{Actor: "ann"}); !errors.Is(err, machine.ErrRefused) {
			t.Errorf("erased twice: %v", err)
		}
	}
	look()
	if s, _ := k.log.TreeHead(); s != size+1 {
		t.Errorf("%d events were appended", s-size)
	}
	_ = root
	done()
	k, _ = keep(t, dir, `{nodes: {work: {text: did}}}`, Retention{})
	look()
	if b2 := await(t, k.Engine, b.ID, status(run.Completed)); !reflect.DeepEqual(b, b2) {
		t.Errorf("the other run is %+v, was %+v", b2, b)
	}
}

// A payload goes with its copies: in the parent, in the child, in the state.
func TestErasePayload(t *testing.T) {
	k, _ := keep(t, t.TempDir(), `{nodes: {work: {text: did}}}`, Retention{})
	register(t, k.Engine, daughterSource)
	register(t, k.Engine, motherSource)
	secret := "a text of a person's own " + strings.Repeat("long", eventlog.BlobOver/4)
	a := told(t, k, secret)
	blobs, err := filepath.Glob(filepath.Join(k.dir, "blobs", "*", "*", "*"))
	if err != nil || len(blobs) == 0 {
		t.Fatalf("%d blobs, %v", len(blobs), err)
	}
	live, _, err := k.StartRun(t.Context(), StartRequest{Workflow: "mother", Input: event.MustValue(map[string]any{"text": secret, "short": ""})}, By{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	await(t, k.Engine, live.ID, status(run.Waiting))
	erase := func() error {
		_, err := k.Erase(t.Context(), EraseRequest{Payload: filepath.Base(blobs[0]), Reason: "asked for"}, By{Actor: "ann"})
		return err
	}
	if err := erase(); err != nil {
		t.Fatal(err) // the live run's payloads have other bytes
	}
	if b, err := os.ReadFile(blobs[0]); err == nil {
		t.Errorf("the blob is still there, with %d bytes", len(b))
	}
	row, err := k.views.Run(t.Context(), a.ID)
	if err != nil || row.Erased != projection.ErasedInPart {
		t.Errorf("row %+v, %v", row, err)
	}
	for after := eventlog.Seq(0); ; {
		page, err := k.log.ReadFrom(after, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if after = e.Seq; e.Run != live.ID && bytes.Contains(e.Payload, []byte(strings.Repeat("long", 20))) {
				t.Errorf("event %d, a %s of run %s, still has it", e.Seq, event.KindName(e.Kind), e.Run)
			}
		}
	}
	if err := k.views.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// A run that needs its past is not erased, nor one that another needs.
func TestEraseOfTheLiving(t *testing.T) {
	k, _ := keep(t, t.TempDir(), `{nodes: {work: {text: did}}}`, Retention{})
	register(t, k.Engine, daughterSource)
	register(t, k.Engine, motherSource)
	ctx := t.Context()
	a := told(t, k, "anna")
	fork, err := k.ForkRun(ctx, a.ID, ForkRequest{At: 3}, By{Actor: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	await(t, k.Engine, fork.ID, status(run.Waiting))
	for _, id := range []eventlog.RunID{fork.ID, a.ID} {
		if _, err := k.Erase(ctx, EraseRequest{Run: id, Reason: "r"}, By{Actor: "ann"}); !errors.Is(err, machine.ErrRefused) || !strings.Contains(err.Error(), fork.ID.String()) {
			t.Errorf("erased: %v", err)
		}
	}
	if _, err := k.Do(ctx, fork.ID, machine.Cancel{}, By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	got, err := k.Erase(ctx, EraseRequest{Run: a.ID, Reason: "r"}, By{Actor: "ann"})
	if err != nil || len(got.Forks) != 1 || got.Forks[0] != fork.ID {
		t.Errorf("erased %+v, %v", got, err)
	}
	if err := k.views.Verify(ctx, nil); err != nil {
		t.Error(err)
	}
}

// A crash between the event and what it orders is made good by the next start.
func TestErasureAfterCrash(t *testing.T) {
	dir := t.TempDir()
	k, done := keep(t, dir, `{nodes: {work: {text: did}}}`, Retention{})
	register(t, k.Engine, daughterSource)
	register(t, k.Engine, motherSource)
	a := told(t, k, "secret-of-anna")
	p := &event.PayloadErased{Scope: event.ScopeRun, Reason: "asked for"}
	var plan Erasure
	if err := k.eraseRuns(t.Context(), a.ID, p, &plan); err != nil {
		t.Fatal(err)
	}
	o, err := k.erasures.order(t.Context(), p, "ann")
	if err != nil {
		t.Fatal(err)
	}
	done() // as far as a crash lets it come
	k, _ = keep(t, dir, `{nodes: {work: {text: did}}}`, Retention{})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		seq, err := k.log.Settled()
		if err != nil {
			t.Fatal(err)
		}
		if seq >= o.seq {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the erasure is not carried out")
		}
	}
	if in := k.has(t, "secret-of-anna"); len(in) > 0 {
		t.Errorf("still in %v", in)
	}
	if err := k.views.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// Retention takes the runs that a policy says, and no others; archived ones are
// read as before, and can be forked; in the end they are dropped.
func TestRetention(t *testing.T) {
	dir := t.TempDir()
	policy := Retention{Workflows: map[string]Policy{"mother": {Runs: 2}}}
	k, done := keep(t, dir, `{nodes: {work: {text: did}}}`, policy)
	register(t, k.Engine, daughterSource)
	register(t, k.Engine, motherSource)
	ctx := t.Context()
	var runs []Run
	states := map[eventlog.RunID][]byte{}
	snapshot := func(id eventlog.RunID) []byte {
		t.Helper()
		s, err := run.Fold(k.log, id, run.Newest)
		if err != nil {
			t.Fatal(err)
		}
		s.Archived = false
		b, err := s.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for i := range 6 {
		r := told(t, k, fmt.Sprintf("secret %d", i))
		states[r.ID] = snapshot(r.ID)
		runs = append(runs, r)
	}
	held, _, err := k.StartRun(ctx, StartRequest{Workflow: "daughter", Input: event.MustValue(map[string]any{"short": "held"})}, By{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	await(t, k.Engine, held.ID, status(run.Completed))
	plan, err := k.Compact(ctx, nil, true)
	if err != nil || plan.Runs != 8 || plan.Archived != 8 || plan.Freed != 0 || plan.Workflows["mother"].By["runs"] != 4 {
		t.Fatalf("plan %+v, %v", plan, err)
	}
	// One at a time: who comes second is told, and does not wait.
	k.erasures.compacting.Lock()
	if _, err := k.Compact(ctx, nil, false); !errors.Is(err, ErrUnderWay) {
		t.Errorf("%v while another compaction is under way", err)
	}
	if _, err := k.Compact(ctx, nil, true); err != nil {
		t.Errorf("only to be told what would be done: %v", err)
	}
	k.erasures.compacting.Unlock()
	got, err := k.Compact(ctx, nil, false)
	if err != nil || got.Runs != plan.Runs || got.Bytes != plan.Bytes || got.Segments == 0 {
		t.Fatalf("compacted %+v, %v; planned %+v", got, err, plan)
	}
	look := func() {
		t.Helper()
		for i, r := range runs {
			row, err := k.views.Run(ctx, r.ID)
			if err != nil {
				t.Fatal(err)
			}
			if archived := row.Erased == projection.ErasedArchived; archived != (i < 4) {
				t.Errorf("run %d: %+v", i, row)
			}
			if row.Labels["who"] != fmt.Sprintf("secret %d", i) {
				t.Errorf("run %d has labels %v", i, row.Labels)
			}
			if b := snapshot(r.ID); !bytes.Equal(b, states[r.ID]) {
				t.Errorf("run %d reads otherwise than before", i)
			}
		}
		if err := k.views.Verify(ctx, nil); err != nil {
			t.Error(err)
		}
	}
	look()
	if again, err := k.Compact(ctx, nil, false); err != nil || again.Runs != 0 {
		t.Errorf("compacted again: %+v, %v", again, err)
	}
	if _, err := k.Do(ctx, runs[0].ID, machine.Checkpoint{Name: "x"}, By{Actor: "ann"}); !errors.Is(err, machine.ErrRefused) {
		t.Errorf("a command for an archived run: %v", err)
	}
	fork, err := k.ForkRun(ctx, runs[0].ID, ForkRequest{At: 3}, By{Actor: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	await(t, k.Engine, fork.ID, status(run.Waiting))
	u, err := k.Usage(ctx)
	if err != nil || u.Archives == 0 || u.Workflows["mother"].Archived != 4 || u.Views == 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	// Erasing reaches into the archive.
	if _, err := k.Erase(ctx, EraseRequest{Run: runs[1].ID, Reason: "asked for"}, By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	if s, err := run.Fold(k.log, runs[1].ID, run.Newest); err != nil || !s.Erased {
		t.Errorf("an archived run that was erased: %v", err)
	}
	done()

	policy.Workflows["mother"] = Policy{Runs: 2, DropAfter: time.Nanosecond}
	k, _ = keep(t, dir, `{nodes: {work: {text: did}}}`, policy)
	runs[1] = runs[5] // erased
	if got, err = k.Compact(ctx, nil, false); err != nil || got.Dropped != 4 {
		t.Errorf("dropped %+v, %v", got, err) // not run 0, which a live fork reads
	}
	for i, want := range map[int]string{0: projection.ErasedArchived, 2: projection.ErasedDropped, 5: ""} {
		if row, err := k.views.Run(ctx, runs[i].ID); err != nil || row.Erased != want {
			t.Errorf("run %d: %q, %v", i, row.Erased, err)
		}
	}
	if err := k.views.Verify(ctx, nil); err != nil {
		t.Error(err)
	}
}

const longSource = `
name: long
entry: a
state: {n: {type: integer, default: 0}}
nodes:
  a: {exec: {command: [x]}, max_visits: 200}
  h: {human: {prompt: "ok?"}}
edges:
  - {from: a, to: a, if: "nodes.a.visits < 150"}
  - {from: a, to: h, default: true}
`

// A long run is loaded from its snapshot and what came since; without the
// snapshot, or with one that is damaged or of another log, from its events.
func TestSnapshots(t *testing.T) {
	dir := t.TempDir()
	k, done := keep(t, dir, `{nodes: {a: {text: did}}}`, Retention{})
	register(t, k.Engine, longSource)
	r := start(t, k.Engine, "long", map[string]any{})
	r = await(t, k.Engine, r.ID, status(run.Waiting))
	if r.Version < 2*snapshotEvery {
		t.Fatalf("the run has %d events", r.Version)
	}
	var s *run.State
	for end := time.Now().Add(20 * time.Second); s == nil; time.Sleep(5 * time.Millisecond) {
		if s = k.opt.Snapshots.Load(k.log, r.ID); s == nil && time.Now().After(end) {
			t.Fatal("there is no snapshot")
		}
	}
	same := func(s *run.State) {
		t.Helper()
		want, err := run.Fold(k.log, r.ID, run.Newest)
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.Snapshot()
		b, err2 := want.Snapshot()
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("the snapshot and its tail are not the fold: %v, %v", err, err2)
		}
	}
	same(s)
	list, err := projection.Checkpoints(k.log, r.ID, 1000)
	if err != nil || len(list) > snapshotEvery {
		t.Errorf("%d checkpoints, %v: they are not pruned", len(list), err)
	}
	done()
	path := filepath.Join(dir, "views", "snapshots.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{whole, whole[:len(whole)/2], bytes.Repeat([]byte{0xff}, len(whole)), {}} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		k, done = keep(t, dir, `{nodes: {a: {text: did}}}`, Retention{})
		if len(b) == len(whole) && b[0] == whole[0] {
			if s := k.opt.Snapshots.Load(k.log, r.ID); s == nil {
				t.Error("the snapshot is not kept")
			} else {
				same(s)
			}
		}
		await(t, k.Engine, r.ID, status(run.Waiting))
		done()
	}
	k, _ = keep(t, dir, `{nodes: {a: {text: did}}}`, Retention{})
	if _, err := k.Do(t.Context(), r.ID, machine.Answer{Node: "h", Value: event.Null}, By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	await(t, k.Engine, r.ID, status(run.Completed))
	same(func() *run.State { s, _ := run.Fold(k.log, r.ID, run.Newest); return s }())
}

const brokenSource = `
name: broken
nodes: {a: {exec: {command: [x]}, retry: {max: 1}}}
`

// A run is retried or archived, and never both.
func TestRetentionAgainstRetries(t *testing.T) {
	k, _ := keep(t, t.TempDir(), `{nodes: {a: [{fail: tool_failed}, {text: did}]}}`, Retention{})
	register(t, k.Engine, brokenSource)
	ctx := t.Context()
	var runs []Run
	for range 40 {
		r := start(t, k.Engine, "broken", map[string]any{})
		runs = append(runs, await(t, k.Engine, r.ID, status(run.Failed)))
	}
	var retried atomic.Int64
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i, r := range runs {
				if i%2 != w {
					continue
				}
				_, err := k.Do(ctx, r.ID, machine.Retry{}, By{Actor: "ann"})
				switch {
				case err == nil:
					retried.Add(1)
				case !errors.Is(err, machine.ErrRefused) && !errors.Is(err, ErrBusy):
					t.Error(err)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	archived := 0
	wg.Go(func() {
		for i := range 10 {
			got, err := k.Compact(ctx, &Retention{Default: Policy{Runs: 37 - 4*i}}, false)
			if err != nil {
				t.Error(err)
			}
			archived += got.Archived
			time.Sleep(3 * time.Millisecond)
		}
	})
	wg.Wait()
	if retried.Load() == 0 || archived == 0 {
		t.Errorf("%d retried, %d archived: the test says little", retried.Load(), archived)
	}
	for _, r := range runs {
		r, err := k.Await(ctx, r.ID, func(r Run) bool { return r.Status.Terminal() })
		if err != nil {
			t.Fatal(err)
		}
		row, err := k.views.Run(ctx, r.ID)
		if err != nil || r.Status != row.Status || row.Erased == "" && r.Content != "" {
			t.Errorf("run %+v, row %+v, %v", r, row, err)
		}
	}
	if err := k.views.Verify(ctx, nil); err != nil {
		t.Error(err)
	}
}

// A log that was restored to before a run was archived or erased may have it live:
// with its past in the archive it goes on, without it can be put to rest.
func TestLiveAndArchived(t *testing.T) {
	for _, archive := range []bool{true, false} {
		t.Run(fmt.Sprint("archive ", archive), func(t *testing.T) {
			k, _ := keep(t, t.TempDir(), `{nodes: {work: {text: did}}}`, Retention{})
			register(t, k.Engine, daughterSource)
			register(t, k.Engine, motherSource)
			ctx := t.Context()
			r, _, err := k.StartRun(ctx, StartRequest{Workflow: "mother", Input: event.MustValue(map[string]any{"text": "x", "short": "y"})}, By{Actor: "test"})
			if err != nil {
				t.Fatal(err)
			}
			r = await(t, k.Engine, r.ID, status(run.Waiting))
			spans := []eventlog.Span{{Run: r.ID, From: 1, To: r.Version}}
			rest := event.RestNames
			if archive {
				rest = event.RestText
				a, err := k.log.WriteArchive(ctx, spans)
				if err == nil {
					err = k.log.AdoptArchive(a.ID)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := k.log.Erase(ctx, spans, leave(rest)); err != nil {
				t.Fatal(err)
			}
			k.runs.mu.Lock() // as if it were read anew
			k.runs.byID, k.runs.idle = map[eventlog.RunID]*loaded{}, idle{}
			k.runs.mu.Unlock()
			_, err = k.Do(ctx, r.ID, machine.Answer{Node: "ask", Value: event.MustValue("z")}, By{Actor: "ann"})
			if archive != (err == nil) {
				t.Fatalf("answered: %v", err)
			}
			if archive {
				if r = await(t, k.Engine, r.ID, status(run.Completed)); r.Status != run.Completed {
					t.Errorf("%+v", r)
				}
				return
			}
			if r, err = k.Do(ctx, r.ID, machine.Cancel{}, By{Actor: "ann"}); err != nil || r.Status != run.Cancelled {
				t.Errorf("cancelled: %+v, %v", r, err)
			}
		})
	}
}
