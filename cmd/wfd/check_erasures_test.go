package main

import (
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// Payloads that are gone without an event that says so, that are there although
// one says they are gone, and of which something else is left than it says, are
// found.
func TestCheckErasures(t *testing.T) {
	log, views, err := engine.Store(t.TempDir(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	defer views.Close()
	replies, err := agent.ParseReplies("replies.yaml", []byte(`default: {text: did}`))
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New(log, views, engine.Options{Replies: replies.Runner()})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	wf, problems := workflow.Load("one.yaml", []byte("name: one\nnodes: {a: {exec: {command: [x]}}}"))
	if wf == nil {
		t.Fatal(problems)
	}
	if _, err := e.Register(t.Context(), wf, "", "test"); err != nil {
		t.Fatal(err)
	}
	runs := make([]engine.Run, 4)
	for i := range runs {
		r, _, err := e.StartRun(t.Context(), engine.StartRequest{Workflow: "one"}, engine.By{Actor: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if runs[i], err = e.Await(t.Context(), r.ID, func(r engine.Run) bool { return r.Status.Terminal() }); err != nil {
			t.Fatal(err)
		}
	}
	problemsNow := func() []defect {
		t.Helper()
		var c checked
		if err := c.erasures(t.Context(), log); err != nil {
			t.Fatal(err)
		}
		return c.Problems
	}
	spans := func(i int) []eventlog.Span {
		return []eventlog.Span{{Run: runs[i].ID, From: 1, To: runs[i].Version}}
	}
	names := func(e eventlog.Event) ([]byte, error) { return event.Redact(e.Kind, e.Payload, event.RestNames) }
	if _, err := e.Erase(t.Context(), engine.EraseRequest{Run: runs[0].ID, Reason: "r"}, engine.By{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	if got := problemsNow(); len(got) > 0 {
		t.Fatalf("a lawful erasure: %v", got)
	}

	// Without a word.
	if _, err := log.Erase(t.Context(), spans(1), names); err != nil {
		t.Fatal(err)
	}
	got := problemsNow()
	if len(got) != int(runs[1].Version) || !strings.Contains(got[0].What, "no event says") || got[0].Run != runs[1].ID.String() {
		t.Errorf("erased without a word: %v", got)
	}

	// With a word, and not done.
	say := func(i int, digest string) {
		t.Helper()
		v, err := log.Version(projection.Erasures)
		if err != nil {
			t.Fatal(err)
		}
		p := &event.PayloadErased{Scope: event.ScopeRun, Reason: "r", Targets: []event.ErasedSpan{{Run: runs[i].ID, From: 1, To: runs[i].Version, Digest: digest}}}
		seq, err := log.Append(t.Context(), eventlog.Append{ID: 1, Run: projection.Erasures, Expect: v, Records: []eventlog.Record{{Time: 1 << 61, Kind: p.Kind(), Actor: "test", Payload: event.Encode(p)}}})
		if err == nil {
			err = log.Settle(seq)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := len(got)
	say(2, "")
	if got = problemsNow(); len(got) != before+int(runs[2].Version) || !strings.Contains(got[len(got)-1].What, "it is there") {
		t.Errorf("not erased: %v", got)
	}
	before = len(got)

	// With something else left.
	say(3, strings.Repeat("00", 32))
	if _, err := log.Erase(t.Context(), spans(3), names); err != nil {
		t.Fatal(err)
	}
	if got = problemsNow(); len(got) != before+1 || !strings.Contains(got[len(got)-1].What, "is not what the event says") {
		t.Errorf("something else is left: %v", got)
	}
}
