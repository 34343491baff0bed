package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/trigger"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

const plantedHook = "whsec_c2VjcmV0LXRoYXQtaXMtcGxhbnRlZA=="

// openHooks returns an engine with the secret HOOK, and a function that ends it.
func openHooks(t *testing.T, dir string) (*Engine, func()) {
	t.Helper()
	t.Setenv("WFD_SECRET_HOOK", plantedHook)
	secrets, err := secret.Open("")
	if err != nil {
		t.Fatal(err)
	}
	log, views, err := Store(dir, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := agent.ParseReplies("replies.yaml", []byte("default: {text: ok}"))
	if err != nil {
		t.Fatal(err)
	}
	e := New(log, views, Options{Replies: r.Runner(), Secrets: secrets})
	if err := e.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return e, func() {
		e.Stop()
		if err := errors.Join(views.Close(), log.Close()); err != nil {
			t.Error(err)
		}
	}
}

func signedHeader(id string, body string) http.Header {
	now := time.Now().Unix()
	h := http.Header{}
	h.Set(trigger.HeaderID, id)
	h.Set(trigger.HeaderTimestamp, strconv.FormatInt(now, 10))
	h.Set(trigger.HeaderSignature, trigger.Sign(plantedHook, id, now, []byte(body)))
	return h
}

// noSecret checks that the planted secret is in no event.
func noSecret(t *testing.T, e *Engine) {
	t.Helper()
	for after := eventlog.Seq(0); ; {
		page, err := e.log.ReadFrom(after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return
		}
		for _, ev := range page {
			after = ev.Seq
			if strings.Contains(string(ev.Payload), plantedHook[6:]) {
				t.Errorf("event %d has the secret", ev.Seq)
			}
		}
	}
}

// TestIncomingStarts: a webhook that proves that it knows the secret starts one run,
// however often it comes and whatever crashes; others start nothing.
func TestIncomingStarts(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	e, stop := openHooks(t, dir)
	defer func() { stop() }()
	register(t, e, "name: job\ninput: {type: object, required: [n]}\nnodes: {a: {exec: {command: [x]}}}")
	if _, _, err := e.SetIncoming(ctx, "push", event.Incoming{
		Secret: "${secrets.HOOK}", Workflow: "job", If: "webhook.body.kind == 'push'",
		Input: event.MustValue(map[string]any{"n": "${webhook.body.n}", "from": "${webhook.headers['x-from']}"}),
	}, false, "", "test"); err != nil {
		t.Fatal(err)
	}
	body := `{"kind": "push", "n": 7}`
	h := signedHeader("m1", body)
	h.Set("X-From", "git")
	first, err := e.Receive(ctx, "push", h, []byte(body))
	if err != nil || first.Outcome != event.FiredStarted || first.Again {
		t.Fatalf("%+v, %v", first, err)
	}
	r, err := e.Await(ctx, first.Run, Settled)
	if err != nil || r.Status != run.Completed {
		t.Fatal(r.Status, err)
	}
	if in, _ := r.Input.MarshalJSON(); string(in) != `{"from":"git","n":7}` {
		t.Errorf("its input is %s", in)
	}
	for range 2 { // again, also after a restart
		again, err := e.Receive(ctx, "push", h, []byte(body))
		if err != nil || again.Run != first.Run || !again.Again {
			t.Errorf("again: %+v, %v", again, err)
		}
		stop()
		e, stop = openHooks(t, dir)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	runs := map[eventlog.RunID]bool{}
	for range 8 { // at once
		wg.Go(func() {
			r, err := e.Receive(ctx, "push", func() http.Header { h := signedHeader("m2", body); h.Set("X-From", "x"); return h }(), []byte(body))
			if err != nil && !errors.Is(err, ErrBusy) {
				t.Error(err)
			} else if err == nil {
				mu.Lock()
				runs[r.Run] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(runs) != 1 {
		t.Errorf("eight of one delivery at once started %d runs", len(runs))
	}
	for want, c := range map[string]struct {
		header http.Header
		body   string
	}{
		"is not right":   {signedHeader("m3", body+" "), body},
		"the header":     {http.Header{}, body},
		"cannot be read": {signedHeader("m4", "{"), "{"},
		"does not meet":  {signedHeader("m5", `{"kind": "other"}`), `{"kind": "other"}`},
		"x-from":         {signedHeader("m6", body), body},
		"more than 256":  {signedHeader(strings.Repeat("m", 300), body), body},
		"nested deeper":  {signedHeader("m8", strings.Repeat("[", 100)), strings.Repeat("[", 100)},
		"occurs twice":   {signedHeader("m9", `{"a":1,"a":2}`), `{"a":1,"a":2}`},
	} {
		r, err := e.Receive(ctx, "push", c.header, []byte(c.body))
		got := r.Reason
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || !r.Run.IsZero() {
			t.Errorf("want %q: %+v, %v", want, r, err)
		}
	}
	tr, err := e.Trigger(ctx, event.TriggerIncoming, "push")
	if err != nil || tr.Started != 2 || tr.Skipped != 1 || tr.Denied != 2 {
		t.Errorf("it is shown as %+v, %v", tr, err)
	}
	if _, err := e.PauseTrigger(ctx, event.TriggerIncoming, "push", "", "ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Receive(ctx, "push", signedHeader("m10", body), []byte(body)); !errors.Is(err, ErrPaused) {
		t.Errorf("paused: %v", err)
	}
	noSecret(t, e)
}

// TestIncomingUntold: a delivery whose run was started before a crash, and that was not
// told of, is told of when it comes again.
func TestIncomingUntold(t *testing.T) {
	ctx := context.Background()
	e, stop := openHooks(t, t.TempDir())
	defer stop()
	register(t, e, "name: job\nnodes: {a: {exec: {command: [x]}}}")
	_, tr, err := e.SetIncoming(ctx, "push", event.Incoming{Secret: "HOOK", Workflow: "job"}, false, "", "test")
	if err != nil {
		t.Fatal(err)
	}
	in, _ := event.ParseJSON([]byte(`{}`))
	r, _, err := e.StartRun(ctx, StartRequest{Workflow: "job", Input: in}, By{Actor: "hook:push", Key: fmt.Sprintf("hook push of %d for m1", tr.Created)})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := e.Receive(ctx, "push", signedHeader("m1", "{}"), []byte("{}"))
		if err != nil || got.Run != r.ID || !got.Again {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if tr, _ := e.Trigger(ctx, event.TriggerIncoming, "push"); tr.Started != 1 {
		t.Errorf("it was told of %d times", tr.Started)
	}
}

// TestIncomingSignals: a webhook is a signal to the run that it names, once.
func TestIncomingSignals(t *testing.T) {
	ctx := context.Background()
	e, stop := openHooks(t, t.TempDir())
	defer stop()
	register(t, e, "name: waits\nnodes:\n  a: {wait: {signal: paid}}\n  b: {wait: {signal: paid}, needs: [a]}")
	r, _, err := e.StartRun(ctx, StartRequest{Workflow: "waits"}, By{Actor: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.SetIncoming(ctx, "pay", event.Incoming{
		Secret: "HOOK", Form: event.VerifyToken, Header: "X-Token", Signal: "${webhook.body.type}", Run: "${webhook.body.run}", ID: "${webhook.body.event}",
		Input: event.MustValue("${webhook.body.amount}"),
	}, false, "", "test"); err != nil {
		t.Fatal(err)
	}
	send := func(ev, id string) (Received, error) {
		body := fmt.Sprintf(`{"type": "paid", "run": %q, "event": %q, "amount": 12}`, id, ev)
		return e.Receive(ctx, "pay", http.Header{"X-Token": {plantedHook}}, []byte(body))
	}
	for range 3 {
		if got, err := send("e1", r.ID.String()); err != nil || got.Outcome != event.FiredSignalled || got.Run != r.ID {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if r, err = e.Run(ctx, r.ID); err != nil || r.Status != run.Waiting {
		t.Fatalf("one signal three times: %s, %v", r.Status, err)
	}
	if got, err := send("e2", eventlog.RunID{1, 2, 3}.String()); err != nil || got.Outcome != event.FiredFailed {
		t.Errorf("to a run that there is not: %+v, %v", got, err)
	}
	other, problems := workflow.Load("waits.yaml", []byte("name: waits\nnodes: {a: {wait: {signal: paid}}}"))
	if other == nil {
		t.Fatal(problems)
	}
	if _, err := e.RegisterIn(ctx, "team-a", other, "", "test"); err != nil {
		t.Fatal(err)
	}
	theirs, _, err := e.StartRun(ctx, StartRequest{Namespace: "team-a", Workflow: "waits"}, By{Actor: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := send("e6", theirs.ID.String()); err != nil || got.Outcome != event.FiredFailed {
		t.Errorf("to a run of another namespace: %+v, %v", got, err)
	}
	if got, err := send("e3", "system:access"); err != nil || got.Outcome != event.FiredFailed {
		t.Errorf("to a stream of the system: %+v, %v", got, err)
	}
	if _, err := send("e4", r.ID.String()); err != nil {
		t.Fatal(err)
	}
	if r, err = e.Await(ctx, r.ID, Settled); err != nil || r.Status != run.Completed {
		t.Errorf("after the second: %s, %v", r.Status, err)
	}
	if got, err := send("e5", r.ID.String()); err != nil || got.Outcome != event.FiredFailed {
		t.Errorf("to a run that has ended: %+v, %v", got, err)
	}
	for want, h := range map[string]event.Incoming{
		"starts runs": {Secret: "HOOK"},
		"name it":     {Secret: "HOOK", Signal: "x"},
		"names its":   {Secret: "a secret, in clear", Workflow: "waits"},
		"form is":     {Secret: "HOOK", Form: "md5", Workflow: "waits"},
		"no header":   {Secret: "HOOK", Header: "X-A", Workflow: "waits"},
		"only [webho": {Secret: "HOOK", Workflow: "waits", If: "state.x == 1"},
		`"nothing"`:   {Secret: "HOOK", Workflow: "nothing"},
	} {
		if _, _, err := e.SetIncoming(ctx, "x", h, false, "", "test"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", h, err, want)
		}
	}
}

// receiver is a host that webhooks are sent to.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []string                                        // IDs of webhooks that were taken, in order
	events []map[string]any                                // of them
	answer func(n int, w http.ResponseWriter) (taken bool) // of the nth request; nil: takes it
	n      int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		if err := trigger.Verify(event.VerifyStandard, "", []string{plantedHook}, q.Header, body, time.Now()); err != nil {
			t.Errorf("what came is not signed as it should: %v", err)
		}
		var ev map[string]any
		if err := json.Unmarshal(body, &ev); err != nil || ev["specversion"] != "1.0" || ev["type"] == "" {
			t.Errorf("what came is no CloudEvent: %s", body)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.n++
		if r.answer == nil || r.answer(r.n, w) {
			r.got = append(r.got, q.Header.Get(trigger.HeaderID))
			r.events = append(r.events, ev)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.got...)
}

// eventually waits until ok, which needs goroutines that nothing else waits for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(what + " does not come")
}

// TestOutgoing: events are sent to a hook in their order, signed, again until they are
// taken, over restarts, and nothing is sent that it is not for.
func TestOutgoing(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	e, stop := openHooks(t, dir)
	defer func() { stop() }()
	register(t, e, "name: job\nnodes: {a: {exec: {command: [x]}}}")
	register(t, e, "name: other\nnodes: {a: {exec: {command: [x]}}}")
	to := newReceiver(t)
	to.answer = func(n int, w http.ResponseWriter) bool {
		switch n {
		case 1:
			w.WriteHeader(500)
		case 2:
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
			w.WriteHeader(302)
		default:
			return true
		}
		return false
	}
	if _, _, err := e.SetOutgoing(ctx, "out", event.Outgoing{URL: to.URL + "/x", Secret: "HOOK", Kinds: []string{"run."}, Workflows: []string{"job"}, AllowPrivate: true}, false, "", "test"); err != nil {
		t.Fatal(err)
	}
	var want []string
	start := func(name string) {
		r, _, err := e.StartRun(ctx, StartRequest{Workflow: name}, By{Actor: "t"})
		if err == nil {
			_, err = e.Await(ctx, r.ID, Settled)
		}
		if err != nil {
			t.Fatal(err)
		}
		if name == "job" {
			want = append(want, r.ID.String()+" dev.wfd.run.created.v1", r.ID.String()+" dev.wfd.run.completed.v1")
		}
	}
	start("job")
	start("other")
	start("job")
	eventually(t, "the first four", func() bool { return len(to.taken()) >= 4 })
	stop()
	e, stop = openHooks(t, dir)
	start("job")
	var got []string
	eventually(t, "the last two", func() bool {
		to.mu.Lock()
		defer to.mu.Unlock()
		seen := map[string]bool{}
		got = nil
		for i, id := range to.got { // what was sent before a stop may come again, and is known by its ID
			if !seen[id] {
				got = append(got, fmt.Sprint(to.events[i]["subject"], " ", to.events[i]["type"]))
			}
			seen[id] = true
		}
		return len(got) >= 6
	})
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("there came\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	noSecret(t, e)
}

// TestOutgoingDies: a hook that takes nothing is dead after a while, says so, and goes on
// where it was when somebody resumes it.
func TestOutgoingDies(t *testing.T) {
	ctx := context.Background()
	e, stop := openHooks(t, t.TempDir())
	defer stop()
	register(t, e, "name: job\nnodes: {a: {exec: {command: [x]}}}")
	to := newReceiver(t)
	gone := true
	to.answer = func(n int, w http.ResponseWriter) bool {
		if gone {
			w.WriteHeader(http.StatusGone)
		}
		return !gone
	}
	if _, _, err := e.SetOutgoing(ctx, "out", event.Outgoing{URL: to.URL, Secret: "HOOK", AllowPrivate: true}, false, "", "test"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := e.StartRun(ctx, StartRequest{Workflow: "job"}, By{Actor: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	state := func() Trigger {
		tr, err := e.Trigger(ctx, event.TriggerOutgoing, "out")
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	eventually(t, "its end", func() bool { return state().Delivery.Dead })
	if d := state().Delivery; !strings.Contains(d.Reason, "410") || d.Attempts != 1 || d.Sent != 0 {
		t.Errorf("dead, it is %+v", d)
	}
	to.mu.Lock()
	gone = false
	to.mu.Unlock()
	if _, err := e.ResumeTrigger(ctx, event.TriggerOutgoing, "out", "", false, "ann"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all three", func() bool { return state().Delivery.Sent == 3 })
	if d := state().Delivery; d.Dead || d.Attempts != 0 {
		t.Errorf("resumed, it is %+v", d)
	}
}

// TestOutgoingGuard: nothing is sent to addresses that http nodes may not reach, and what
// cannot be a hook is refused.
func TestOutgoingGuard(t *testing.T) {
	ctx := context.Background()
	to := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was reached") }))
	defer to.Close()
	for _, url := range []string{to.URL, "https://169.254.169.254/latest", "https://[::1]:1/", "https://0.0.0.0:1/", "https://100.100.100.200/"} {
		if _, err := agent.Post(ctx, url, http.Header{}, nil, false); err == nil || !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := agent.Post(ctx, "http://169.254.169.254/latest", http.Header{}, nil, true); err == nil || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("metadata, where private addresses are allowed: %v", err)
	}
	e, stop := openHooks(t, t.TempDir())
	defer stop()
	for want, h := range map[string]event.Outgoing{
		"with https":  {URL: "ftp://a.example", Secret: "HOOK"},
		"http is for": {URL: "http://a.example", Secret: "HOOK"},
		"password":    {URL: "https://u:p@a.example", Secret: "HOOK"},
		"no kind":     {URL: "https://a.example", Secret: "HOOK", Kinds: []string{"run.exploded"}},
		"gives up":    {URL: "https://a.example", Secret: "HOOK", GiveUp: int64(365 * 24 * time.Hour)},
		"names its":   {URL: "https://a.example"},
		`"nothing"`:   {URL: "https://a.example", Secret: "HOOK", Workflows: []string{"nothing"}},
	} {
		if _, _, err := e.SetOutgoing(ctx, "x", h, false, "", "test"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", h, err, want)
		}
	}
	if _, err := e.ResumeTrigger(ctx, event.TriggerOutgoing, "x", "", true, "ann"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}
