package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/client/worker"
)

// desk is a daemon that hands out tasks as a test says, and keeps what it is told.
type desk struct {
	t *testing.T

	mu     sync.Mutex
	tasks  []string // as JSON, without what all have
	said   []string // verb and body of what was said about tasks
	polls  []string
	answer func(verb string, n int) (status int, body string) // n: how often the verb was heard
	heard  map[string]int
}

func newDesk(t *testing.T, tasks ...string) *desk {
	return &desk{t: t, tasks: tasks, heard: map[string]int{}, answer: func(string, int) (int, string) { return 200, `{"status": "running"}` }}
}

func (d *desk) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	verb := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard[verb]++
	status, text := d.answer(verb, d.heard[verb])
	if verb == "poll" {
		d.polls = append(d.polls, string(body))
	}
	if verb == "poll" && status == 200 {
		var in struct{ Max int }
		json.Unmarshal(body, &in)
		n := min(in.Max, len(d.tasks))
		if n == 0 { // it waits as long as it was asked to
			d.mu.Unlock()
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Second):
			}
			d.mu.Lock()
			if r.Context().Err() != nil {
				return nil, r.Context().Err()
			}
		}
		var list []string
		for _, more := range d.tasks[:n] {
			list = append(list, `{"handler": "h", "token": "1.x", "lease": 30, "lease_until": "2000-01-01T00:00:30Z", "checkpoint": null, `+more+`}`)
		}
		d.tasks = d.tasks[n:]
		text = `{"tasks": [` + strings.Join(list, ",") + `]}`
	} else if verb != "poll" {
		d.said = append(d.said, verb+" "+string(body))
	}
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	if status >= 400 {
		text = fmt.Sprintf(`{"type": "urn:wfd:problem:%s", "status": %d, "detail": "no"}`, text, status)
	}
	return &http.Response{StatusCode: status, Status: "x", Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}, nil
}

// sayings returns what was said with a verb.
func (d *desk) sayings(verb string) (out []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.said {
		if v, body, _ := strings.Cut(s, " "); v == verb {
			out = append(out, body)
		}
	}
	return out
}

// work runs a worker with one handler for a while.
func work(t *testing.T, d *desk, o worker.Options, d2 time.Duration, h worker.Handler) error {
	c, err := client.New("wfd.test", client.Transport(d))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d2)
	defer cancel()
	w := worker.New(c, o)
	w.Handle("h", h)
	return w.Run(ctx)
}

func want(t *testing.T, what string, have []string, want ...string) {
	t.Helper()
	if strings.Join(have, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s: %s\nwant: %s", what, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// What a handler returns is what is handed in.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name string
		v    any
		err  error
		verb string
		body string
	}{
		{"a value", map[string]int{"n": 1}, nil, "complete", `{"result":{"n":1},"token":"1.x"}`},
		{"nothing", nil, nil, "complete", `{"result":null,"token":"1.x"}`},
		{"a result", worker.Result{Value: 1, Set: map[string]any{"k": 2}, Usage: &worker.Usage{InputTokens: 3}}, nil, "complete",
			`{"result":1,"set":{"k":2},"token":"1.x","usage":{"input_tokens":3}}`},
		{"an error", nil, errors.New("it broke"), "fail", `{"message":"it broke","token":"1.x"}`},
		{"a failure", nil, worker.Fail("rate_limit", "slow down").Again(2 * time.Second), "fail",
			`{"after":"2s","class":"rate_limit","message":"slow down","retry":true,"token":"1.x"}`},
		{"a failure that is wrapped", nil, fmt.Errorf("page 3: %w", worker.Fail("auth", "no").Final()), "fail", `{"class":"auth","message":"page 3: no","retry":false,"token":"1.x"}`},
		{"a time that is over", nil, fmt.Errorf("call: %w", context.DeadlineExceeded), "fail", `{"class":"timeout","message":"call: context deadline exceeded","token":"1.x"}`},
		{"a release", nil, worker.Release("not now"), "release", `{"reason":"not now","token":"1.x"}`},
		{"what is no JSON", make(chan int), nil, "fail", `{"class":"internal","message":"the result cannot be written as JSON: json: unsupported type: chan int","token":"1.x"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, `"id": "T"`)
				if err := work(t, d, worker.Options{Name: "w"}, time.Second, func(context.Context, *worker.Task) (any, error) { return c.v, c.err }); err != nil {
					t.Error(err)
				}
				want(t, c.verb, d.sayings(c.verb), c.body)
				want(t, "polls", d.polls[:1], `{"handlers":["h"],"max":1,"wait":"20s","worker":"w"}`)
			})
		})
	}
}

// A panic fails the task, and the worker goes on.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, `"id": "A"`, `"id": "B"`)
		work(t, d, worker.Options{}, time.Second, func(_ context.Context, t *worker.Task) (any, error) {
			if t.ID == "A" {
				panic("oops")
			}
			return "fine", nil
		})
		want(t, "fail", d.sayings("fail"), `{"class":"internal","message":"the handler panicked: oops","token":"1.x"}`)
		want(t, "complete", d.sayings("complete"), `{"result":"fine","token":"1.x"}`)
	})
}

// The lease is renewed every third of it, over failures of the daemon, and checkpoints
// are handed in; one that is refused does not keep the lease from being renewed.
func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, `"id": "A"`)
		d.answer = func(verb string, n int) (int, string) {
			switch {
			case verb == "heartbeat" && n == 1: // with the checkpoint
				return 0, ""
			case verb == "heartbeat" && n == 6: // with the next one
				return 422, "invalid"
			}
			return 200, `{"status": "running"}`
		}
		work(t, d, worker.Options{}, 2*time.Minute, func(ctx context.Context, t *worker.Task) (any, error) {
			t.Checkpoint(1)
			time.Sleep(35 * time.Second)
			t.Checkpoint(2)
			time.Sleep(5 * time.Second)
			return nil, nil
		})
		const bare = `{"token":"1.x"}`
		want(t, "heartbeats", d.sayings("heartbeat"), `{"checkpoint":1,"token":"1.x"}`, `{"checkpoint":1,"token":"1.x"}`,
			bare, bare, bare, `{"checkpoint":2,"token":"1.x"}`, bare)
	})
}

// A handler whose task is lost or not wanted any more learns why, and what it returns
// is dropped.
func TestTaskIsLost(t *testing.T) {
	for cause, answer := range map[error]struct {
		status int
		body   string
	}{worker.ErrStale: {409, "stale"}, worker.ErrCancelled: {200, `{"status": "cancelled"}`}} {
		t.Run(cause.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, `"id": "A"`, `"id": "B"`)
				d.answer = func(verb string, n int) (int, string) {
					if verb == "heartbeat" {
						return answer.status, answer.body
					}
					return 200, `{"status": "completed"}`
				}
				work(t, d, worker.Options{}, time.Minute, func(ctx context.Context, task *worker.Task) (any, error) {
					if task.ID == "B" {
						return "B", nil
					}
					<-ctx.Done()
					if !errors.Is(context.Cause(ctx), cause) {
						t.Error(context.Cause(ctx))
					}
					return "A", nil
				})
				want(t, "complete", d.sayings("complete"), `{"result":"B","token":"1.x"}`)
			})
		})
	}
}

// What a task used that is not this worker's any more is told all the same.
func TestUsageOfALostTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, `"id": "A"`)
		d.answer = func(verb string, n int) (int, string) {
			if verb == "heartbeat" {
				return 200, `{"status": "cancelled"}`
			} else if verb == "fail" {
				return 409, "stale"
			}
			return 200, ""
		}
		work(t, d, worker.Options{}, time.Minute, func(ctx context.Context, task *worker.Task) (any, error) {
			<-ctx.Done()
			return nil, &worker.Failure{Class: "cancelled", Err: ctx.Err(), Usage: &worker.Usage{InputTokens: 7}}
		})
		if f := d.sayings("fail"); len(f) != 1 || !strings.Contains(f[0], `"usage":{"input_tokens":7}`) {
			t.Error(f)
		}
	})
}

// A lease that is said to be over when it begins is not renewed without a pause.
func TestLeaseOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, `"id": "A", "lease": 0`)
		work(t, d, worker.Options{}, time.Minute, func(ctx context.Context, task *worker.Task) (any, error) {
			time.Sleep(time.Second)
			return "A", nil
		})
		if n := len(d.sayings("heartbeat")); n < 5 || n > 10 {
			t.Errorf("%d heartbeats in a second", n)
		}
	})
}

// The time of the node ends the handler's context, by the daemon's clock.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, `"id": "A", "deadline": "2000-01-01T00:00:05Z"`)
		began := time.Now()
		work(t, d, worker.Options{}, time.Minute, func(ctx context.Context, task *worker.Task) (any, error) {
			<-ctx.Done()
			if took := time.Since(began); took != 5*time.Second {
				t.Error(took)
			}
			return nil, ctx.Err()
		})
		if f := d.sayings("fail"); len(f) != 1 || !strings.Contains(f[0], `"class":"timeout"`) {
			t.Error(f)
		}
	})
}

// A result is sent until it is answered; one that is refused for what it is fails the
// task, and one that came too late is dropped.
func TestHandingIn(t *testing.T) {
	for name, c := range map[string]struct {
		statuses []int
		complete int
		fail     int
	}{
		"no answer":    {[]int{0, 0, 503, 429, 500, 200}, 6, 0},
		"too late":     {[]int{409}, 1, 0},
		"a lost task":  {[]int{404}, 1, 0},
		"a wrong one":  {[]int{422}, 1, 1},
		"a large one":  {[]int{413}, 1, 1},
		"not answered": {[]int{0, 0, 0, 0, 200}, 5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, `"id": "A"`)
				d.answer = func(verb string, n int) (int, string) {
					if verb == "complete" {
						return c.statuses[n-1], map[bool]string{true: "stale", false: "invalid"}[c.statuses[n-1] == 409]
					}
					return 200, "{}"
				}
				work(t, d, worker.Options{}, time.Minute, func(context.Context, *worker.Task) (any, error) { return 1, nil })
				if have := d.sayings("complete"); len(have) != c.complete {
					t.Error(have)
				}
				if have := d.sayings("fail"); len(have) != c.fail {
					t.Error(have)
				}
			})
		})
	}
}

// A worker that is to stop takes nothing more, lets tasks come to their end for the
// grace, and then gives them back with how far they are.
func TestStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, `"id": "A"`, `"id": "B"`)
		began := time.Now()
		err := work(t, d, worker.Options{Tasks: 2, Grace: 10 * time.Second}, 5*time.Second, func(ctx context.Context, task *worker.Task) (any, error) {
			if task.ID == "A" {
				time.Sleep(12 * time.Second)
				return "A", nil
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), worker.ErrStopping) {
				t.Error(context.Cause(ctx))
			}
			task.Checkpoint("half")
			return nil, ctx.Err()
		})
		if took := time.Since(began); err != nil || took != 15*time.Second {
			t.Error(err, took)
		}
		want(t, "complete", d.sayings("complete"), `{"result":"A","token":"1.x"}`)
		release, beats := d.sayings("release"), d.sayings("heartbeat")
		if len(release) != 1 || !strings.Contains(strings.Join(append(release, beats...), " "), `"checkpoint":"half"`) {
			t.Error(release, beats)
		}
		if len(d.polls) != 1 {
			t.Error(d.polls)
		}
	})
}

// No more tasks are taken than there are places.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tasks []string
		for i := range 20 {
			tasks = append(tasks, fmt.Sprintf(`"id": "T%d"`, i))
		}
		d := newDesk(t, tasks...)
		var mu sync.Mutex
		at, most := 0, 0
		work(t, d, worker.Options{Tasks: 3}, time.Minute, func(context.Context, *worker.Task) (any, error) {
			mu.Lock()
			at++
			most = max(most, at)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			at--
			mu.Unlock()
			return nil, nil
		})
		if n := len(d.sayings("complete")); most != 3 || n != 20 {
			t.Error(most, n)
		}
	})
}

// A worker that is refused ends with the reason; one whose daemon is away does not.
func TestRefusedAndAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := func(context.Context, *worker.Task) (any, error) { return nil, nil }
		d := newDesk(t)
		d.answer = func(string, int) (int, string) { return 401, "unauthorized" }
		if err := work(t, d, worker.Options{}, time.Minute, none); !errors.Is(err, client.ErrUnauthorized) {
			t.Error(err)
		}
		d = newDesk(t)
		d.answer = func(string, int) (int, string) { return 0, "" }
		if err := work(t, d, worker.Options{}, time.Minute, none); err != nil || len(d.polls) < 20 || len(d.polls) > 60 {
			t.Error(err, len(d.polls))
		}
		c, _ := client.New("wfd.test", client.Transport(d))
		if err := worker.New(c, worker.Options{}).Run(t.Context()); err == nil {
			t.Error("a worker without handlers runs")
		}
	})
}
