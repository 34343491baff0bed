package agent

import (
	"context"
	"errors"
	"fmt"

	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"go.uber.org/goleak"
)

func parse(t *testing.T, src string) *Replies {
	t.Helper()
	r, err := ParseReplies("replies.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func answer(t *testing.T, r *Replies, node string, visit, attempt int) Answer {
	t.Helper()
	return r.Runner().Run(context.Background(), &Task{Node: node, Visit: visit, Attempt: attempt})
}

// A review that is sent back once, with an attempt that fails on the way.
const review = `
nodes:
  draft: [first, second]
  review:
    - - {fail: rate_limit, message: slow down, usage: {input_tokens: 7}}
      - result: {score: 0.4}
        set: {score: 0.4, verdict: no}
    - text: fine
      result: {score: 0.9}
      usage: {input_tokens: 100, output_tokens: 20}
  facts: {result: [1, 2.5, yes]}
  nothing: {result: null}
  each[1]: second item
  each: an item
default: {text: whatever}
`

func TestRepliesByVisitAndAttempt(t *testing.T) {
	r := parse(t, review)
	for _, c := range []struct {
		node           string
		visit, attempt int
		result         any
		set            map[string]any
		failure        string
	}{
		{node: "draft", visit: 1, attempt: 1, result: map[string]any{"text": "first"}},
		{node: "draft", visit: 1, attempt: 3, result: map[string]any{"text": "first"}},
		{node: "draft", visit: 2, attempt: 1, result: map[string]any{"text": "second"}},
		{node: "draft", visit: 9, attempt: 1, result: map[string]any{"text": "second"}},
		{node: "review", visit: 1, attempt: 1, failure: "rate_limit: slow down"},
		{node: "review", visit: 1, attempt: 2, result: map[string]any{"score": 0.4}, set: map[string]any{"score": 0.4, "verdict": "no"}},
		{node: "review", visit: 1, attempt: 5, result: map[string]any{"score": 0.4}, set: map[string]any{"score": 0.4, "verdict": "no"}},
		{node: "review", visit: 2, attempt: 1, result: map[string]any{"score": 0.9, "text": "fine"}},
		{node: "facts", visit: 1, attempt: 1, result: []any{int64(1), 2.5, "yes"}},
		{node: "nothing", visit: 1, attempt: 1},
		{node: "each[0]", visit: 1, attempt: 1, result: map[string]any{"text": "an item"}},
		{node: "each[1]", visit: 1, attempt: 1, result: map[string]any{"text": "second item"}},
		{node: "publish", visit: 1, attempt: 1, result: map[string]any{"text": "whatever"}},
	} {
		a := answer(t, r, c.node, c.visit, c.attempt)
		failure := ""
		if a.Failure != nil {
			failure = a.Failure.Error()
		}
		if !reflect.DeepEqual(a.Result, c.result) || !reflect.DeepEqual(a.Set, c.set) || failure != c.failure {
			t.Errorf("%s, visit %d, attempt %d: result %v, set %v, failure %q; want %v, %v, %q", c.node, c.visit, c.attempt, a.Result, a.Set, failure, c.result, c.set, c.failure)
		}
	}
	if u := answer(t, r, "review", 1, 1).Usage; u == nil || *u != (event.Usage{InputTokens: 7}) {
		t.Errorf("usage of a failed attempt: %v", u)
	}
	if u := answer(t, r, "review", 2, 1).Usage; u == nil || *u != (event.Usage{InputTokens: 100, OutputTokens: 20}) {
		t.Errorf("usage: %v", u)
	}
}

// JSON means the same as YAML, whatever the file is called, escapes included.
func TestRepliesJSON(t *testing.T) {
	src := "{\n\t\"nodes\": {\"a\": [[{\"fail\": \"timeout\"}, \"caf\\u00e9 \\ud83d\\ude00\"]]},\n\t\"default\": {\"result\": 3}\n}\n"
	for _, name := range []string{"r.json", "r.yaml"} {
		r, err := ParseReplies(name, []byte("\ufeff"+src))
		if err != nil {
			t.Fatal(err)
		}
		if a := answer(t, r, "a", 1, 2); !reflect.DeepEqual(a.Result, map[string]any{"text": "café 😀"}) {
			t.Errorf("%s: %v", name, a.Result)
		}
		if a := answer(t, r, "b", 1, 1); a.Result != int64(3) {
			t.Errorf("%s: %v", name, a.Result)
		}
	}
}

func TestNoReply(t *testing.T) {
	r := parse(t, "nodes: {a: x}")
	f := answer(t, r, "b", 1, 1).Failure
	if f == nil || f.Class != event.ClassNotFound || !strings.Contains(f.Message, "replies.yaml has no reply for node b") || !strings.Contains(f.Message, "`b: some text`") {
		t.Errorf("got %v", f)
	}
}

// Everything that is wrong with a file is said at once, with place and fix.
func TestRepliesProblems(t *testing.T) {
	_, err := ParseReplies("r.yaml", []byte(`nodes:
  a: {txt: hello, delay: 50}
  b: [{fail: time_out}, {fail: nonsense}, 7]
  c: []
  d: [[x], []]
  e: [[[x]]]
  f: {usage: {input: 3, output_tokens: -1}}
  g: {message: x}
  h: {fail: auth, result: 1, set: {a: 1}}
  i: {text: 3, set: [1], usage: 4, fail: {a: 1}}
  j: true
draft: x
defaults: y
`))
	var problems workflow.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	want := strings.TrimSpace(`
r.yaml:2:7: error[unknown-field]: a reply has no field "txt" (did you mean text?)
r.yaml:2:26: error[duration]: delay is no duration (write a number and a unit, as 50ms, 2s or 1m)
r.yaml:3:14: error[choice]: no failure has the class "time_out" (did you mean timeout?)
r.yaml:3:32: error[choice]: no failure has the class "nonsense" (there is timeout, network, rate_limit, unavailable, tool_failed, invalid_output, budget, auth, not_found, cancelled, internal)
r.yaml:3:43: error[type]: a reply is text or an object, not a number (text needs quotes here; another result is written {result: …})
r.yaml:4:6: error[range]: the list of replies is empty (give one reply per visit; the last one goes on)
r.yaml:5:12: error[range]: the list of replies to a visit is empty (give one reply per attempt; the last one goes on)
r.yaml:6:8: error[type]: a reply is text or an object, not a list (lists are by visit, lists in them by attempt, and no deeper; a list as the result is written {result: […]})
r.yaml:7:15: error[unknown-field]: usage has no field "input" (there is input_tokens, output_tokens)
r.yaml:7:40: error[type]: output_tokens is a whole number, 0 or more
r.yaml:8:7: error[no-effect]: message is that of a failure, and this reply does not fail (add fail: <class>, or write text:)
r.yaml:9:19: error[contradiction]: result and fail exclude each other: a failed attempt has no result (make it a list of two replies)
r.yaml:9:30: error[contradiction]: set and fail exclude each other: a failed attempt has no result (make it a list of two replies)
r.yaml:10:13: error[type]: text is a number, not text (put it in quotes)
r.yaml:10:16: error[contradiction]: set and fail exclude each other: a failed attempt has no result (make it a list of two replies)
r.yaml:10:21: error[type]: set is a list, not an object (write set: {key: value})
r.yaml:10:33: error[type]: usage is a number, not an object (write usage: {input_tokens: 100, output_tokens: 20})
r.yaml:10:42: error[type]: fail is an object, not text (a value that is no text is written {result: …})
r.yaml:11:6: error[type]: a reply is text or an object, not true or false (text needs quotes here; another result is written {result: …})
r.yaml:12:1: error[unknown-field]: a replies file has no field "draft" (entries of nodes stand under nodes:)
r.yaml:13:1: error[unknown-field]: a replies file has no field "defaults" (did you mean default?)
`)
	if got := err.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var b strings.Builder
	if err := problems[:1].Render(&b, false); err != nil || !strings.Contains(b.String(), "2 |   a: {txt: hello, delay: 50}\n  |       ^ did you mean text?") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestRepliesRefused(t *testing.T) {
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	for name, c := range map[string]struct{ file, src, want string }{
		"empty":           {"r.yaml", "", "r.yaml:1:1: error[syntax]: the file is empty"},
		"list":            {"r.yaml", "- a\n", "the file is a list, not an object"},
		"nodes are text":  {"r.yaml", "nodes: x", "nodes is text, not an object"},
		"not UTF-8":       {"r.yaml", "default: \xff", "not UTF-8"},
		"too large":       {"r.yaml", "default: " + strings.Repeat("x", workflow.MaxFile), "the limit is 1048576"},
		"deep":            {"r.yaml", "default: {result: " + deep + "}", "deeper than the limit of 64"},
		"deep JSON":       {"r.json", `{"default": {"result": ` + deep + "}}", "r.json:1:87: error[limit]: lists and objects are nested deeper than the limit of 64"},
		"very deep":       {"r.yaml", "default: " + strings.Repeat("[", 500_000), "r.yaml:1:"},
		"values":          {"r.yaml", "default: {result: [" + strings.Repeat("1,", 20_000) + "]}", "more than 20000 values"},
		"keys":            {"r.yaml", "default: {result: {" + keys(2_001) + "}}", "more than 2000 keys"},
		"alias bomb":      {"r.yaml", "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\ne: &e [*d,*d]\nf: &f [*e,*e]\ng: [*f,*f,*f]\n", "anchors more than 100 times"},
		"key twice":       {"r.yaml", "nodes:\n  a: x\n  a: y\n", `r.yaml:3:3: error[duplicate-key]: the key "a" is there twice (the first is at line 2)`},
		"key twice, JSON": {"r.json", "{\"nodes\": {\"a\": \"x\",\n \"a\": \"y\"}}", `r.json:2:2: error[duplicate-key]: the key "a" is there twice (the first is at line 1)`},
		"merge key":       {"r.yaml", "nodes:\n  a: &a {text: x}\n  b: {<<: *a}\n", "a key must be plain text"},
		"tag":             {"r.yaml", "default: !!binary aGk=", "!!binary is not supported"},
		"two documents":   {"r.yaml", "default: a\n---\ndefault: b\n", "r.yaml:2:1: error[syntax]: the file holds more than one document"},
		"broken YAML":     {"r.yaml", "nodes:\n  a: [x\n", "r.yaml:3:1: error[syntax]: YAML: "},
		"broken JSON":     {"r.json", "{\n  \"nodes\": {\"a\" \"x\"}}", "r.json:2:17: error[syntax]: JSON: "},
		"cut JSON":        {"r.json", `{"nodes": {"a": "x"`, "error[syntax]: JSON: "},
		"more JSON":       {"r.json", `{"default": "x"} y`, "r.json:1:18: error[syntax]: something follows"},
		"infinity":        {"r.yaml", "default: {result: .inf}", "infinity and NaN"},
		"large number":    {"r.json", `{"default": {"result": 1e999}}`, "1e999 is too large"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := ParseReplies(c.file, []byte(c.src))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1, ", i)
	}
	return b.String()
}

func TestRepliesCheck(t *testing.T) {
	r := parse(t, "nodes:\n  draft: x\n  reveiw: y\n  each[3]: z\n  eech[0]: z\n  other: q\n")
	got := strings.Join(r.Check([]string{"draft", "review", "each"}), "\n")
	want := `replies.yaml:3:3: warning[unknown-node]: no node is called "reveiw" (did you mean review?)
replies.yaml:5:3: warning[unknown-node]: no node is called "eech" (did you mean each?)
replies.yaml:6:3: warning[unknown-node]: no node is called "other" (remove the entry)`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A delay is waited for, and given up when the task's time is over or the task
// is cancelled.
func TestReplyDelay(t *testing.T) {
	r := parse(t, "default: {text: x, delay: 1m}")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if a := r.Runner().Run(t.Context(), &Task{Node: "a", Visit: 1, Attempt: 1}); a.Failure != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %s", a.Failure, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		a := r.Runner().Run(ctx, &Task{Node: "a", Visit: 1, Attempt: 1, Timeout: time.Second})
		if a.Failure == nil || a.Failure.Class != event.ClassTimeout || !strings.Contains(a.Failure.Message, "within 1s") || time.Since(start) != time.Second {
			t.Errorf("%v after %s", a.Failure, time.Since(start))
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if a := r.Runner().Run(ctx, &Task{Node: "a"}); a.Failure == nil || a.Failure.Class != event.ClassCancelled {
			t.Errorf("%v", a.Failure)
		}
	})
}

// Attempts in parallel share one file.
func TestRepliesConcurrently(t *testing.T) {
	r := parse(t, "default: {text: x, result: {a: 1}, set: {b: 2}}")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if a := answer(t, r, "n", 1, 1); !reflect.DeepEqual(a.Result, map[string]any{"a": int64(1), "text": "x"}) {
					t.Errorf("got %v", a.Result)
				}
			}
		})
	}
	wg.Wait()
}

func TestScriptedSetsNothingUnderRun(t *testing.T) {
	r := parse(t, "default: {set: {run: 1, run.status: completed, runs: 3}}")
	if a := answer(t, r, "n", 1, 1); !reflect.DeepEqual(a.Set, map[string]any{"runs": int64(3)}) {
		t.Errorf("set %v", a.Set)
	}
}

func FuzzParseReplies(f *testing.F) {
	f.Add([]byte(review))
	f.Add([]byte(`{"nodes": {"a": [["x", {"fail": "auth"}]]}, "default": {"delay": "1s"}}`))
	f.Add([]byte("nodes: {a: &x [*x]}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := ParseReplies("r.yaml", src)
		if err != nil {
			var problems workflow.Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		for _, id := range append(r.ids, "x") {
			if reply, ok := r.For(id, 1, 1); ok {
				a := reply.Answer()
				if _, err := event.ValueOf(a.Result); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
