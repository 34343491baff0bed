package workertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/client/worker"
)

// beWorker is a worker that is wrong in one way, or made with the Go package.
func beWorker(wrong string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if wrong == "go" {
		return beRight(ctx)
	}
	w := &wrongWorker{wrong: wrong, pause: time.Second}
	if wrong == "hasty" {
		w.pause = 20 * time.Millisecond
	}
	if wrong == "immortal" {
		ctx = context.Background()
	}
	return w.run(ctx)
}

type fault struct{ Class, Message string }

// beRight is the worker of the Go package.
func beRight(ctx context.Context) int {
	c, err := client.FromEnv()
	if err != nil {
		return 1
	}
	w := worker.New(c, worker.Options{Name: os.Getenv("WFD_WORKER"), Queues: []string{os.Getenv("WFD_QUEUE")}, Grace: 500 * time.Millisecond})
	w.Handle(os.Getenv("WFD_HANDLER"), worker.Typed(func(ctx context.Context, t *worker.Task, in struct {
		Steps   int
		Seconds float64
		Echo    any
		Fail    *fault
	}) (any, error) {
		began := 0
		if _, err := t.Resume(&began); err != nil {
			return nil, err
		}
		for i := began; i < in.Steps; i++ {
			select {
			case <-time.After(time.Duration(in.Seconds * float64(time.Second))):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			if err := t.Checkpoint(i + 1); err != nil {
				return nil, err
			}
		}
		if in.Fail != nil {
			return nil, worker.Fail(in.Fail.Class, "%s", in.Fail.Message)
		}
		return map[string]any{"echo": in.Echo, "began": began}, nil
	}))
	if err := w.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// wrongWorker does tasks, and is wrong in one way.
type wrongWorker struct {
	wrong string
	pause time.Duration
}

func (w *wrongWorker) run(ctx context.Context) int {
	switch w.wrong {
	case "silent":
		time.Sleep(time.Minute)
	case "ended":
		return 3
	}
	poll := map[string]any{"worker": "w", "handlers": []string{os.Getenv("WFD_HANDLER")}, "queues": []string{os.Getenv("WFD_QUEUE")}, "wait": "20s"}
	switch w.wrong {
	case "queueless":
		delete(poll, "queues")
	case "misspelt":
		poll["hanlders"] = 1
	}
	for ctx.Err() == nil {
		var a struct{ Tasks []*wrongTask }
		status, err := w.call(ctx, "poll", poll, &a)
		if w.wrong == "fragile" && status != 200 {
			return 1
		}
		if err != nil || status != 200 {
			w.rest(ctx)
		}
		for _, t := range a.Tasks {
			w.do(ctx, t)
		}
	}
	return 0
}

type wrongTask struct {
	ID, Token  string
	Lease      float64
	Checkpoint *int
	Input      struct {
		Steps   int
		Seconds float64
		Echo    any
		Fail    *fault
	}

	done atomic.Int64
}

func (w *wrongWorker) rest(ctx context.Context) {
	select {
	case <-time.After(w.pause):
	case <-ctx.Done():
	}
}

func (w *wrongWorker) call(ctx context.Context, path string, body map[string]any, out any) (int, error) {
	b, _ := json.Marshal(body)
	if w.wrong == "ascii" {
		b = bytes.Map(func(r rune) rune {
			if r > 126 {
				return '?'
			}
			return r
		}, b)
	}
	req, _ := http.NewRequestWithContext(ctx, "POST", os.Getenv("WFD_ADDR")+"/v1/tasks/"+path, bytes.NewReader(b))
	req.Header.Set("Content-Type", "application/json")
	if w.wrong != "tokenless" {
		req.Header.Set("Authorization", "Bearer "+os.Getenv("WFD_TOKEN"))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	limit := int64(64 << 20)
	if w.wrong == "small" {
		limit = 1 << 20
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err == nil && resp.StatusCode == 200 {
		err = json.Unmarshal(text, out)
	}
	return resp.StatusCode, err
}

var errGone = errors.New("gone")

func (w *wrongWorker) do(ctx context.Context, t *wrongTask) {
	working, end := context.WithCancelCause(ctx)
	defer end(nil)
	if w.wrong != "beatless" {
		go w.beat(working, t, end)
	}
	v, err := w.handle(working, t)
	verb, body := "complete", map[string]any{"token": t.Token, "result": v}
	switch {
	case errors.Is(context.Cause(working), errGone):
		return
	case ctx.Err() != nil && w.wrong == "deserter":
		return
	case ctx.Err() != nil:
		verb, body = "release", map[string]any{"token": t.Token}
	case err != nil && w.wrong == "classless":
		verb, body = "fail", map[string]any{"token": t.Token, "message": err.Error()}
	case err != nil:
		class, message, _ := strings.Cut(err.Error(), ": ")
		verb, body = "fail", map[string]any{"token": t.Token, "class": class, "message": message}
	}
	for {
		status, err := w.call(context.Background(), t.ID+"/"+verb, body, &struct{}{})
		again := err != nil || status >= 500 || status == 429 || status == 408 || w.wrong == "stubborn" && status == 422
		if !again || w.wrong == "once" || w.wrong == "fragile" {
			return
		}
		time.Sleep(w.pause)
	}
}

func (w *wrongWorker) beat(ctx context.Context, t *wrongTask, end context.CancelCauseFunc) {
	for {
		select {
		case <-time.After(time.Duration(t.Lease / 3 * float64(time.Second))):
		case <-ctx.Done():
			return
		}
		body := map[string]any{"token": t.Token}
		if n := t.done.Load(); n > 0 && w.wrong != "forgetful" {
			body["checkpoint"] = n
		}
		var a struct{ Status string }
		status, _ := w.call(ctx, t.ID+"/heartbeat", body, &a)
		if w.wrong != "deaf" && (status == 409 || status == 404 || a.Status == "cancelled") {
			end(errGone)
			return
		}
	}
}

func (w *wrongWorker) handle(ctx context.Context, t *wrongTask) (any, error) {
	began := 0
	if t.Checkpoint != nil && w.wrong != "restarting" {
		began = *t.Checkpoint
	}
	for i := began; i < t.Input.Steps; i++ {
		select {
		case <-time.After(time.Duration(t.Input.Seconds * float64(time.Second))):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		t.done.Store(int64(i + 1))
	}
	if t.Input.Fail != nil && w.wrong != "succeeds" {
		return nil, fmt.Errorf("%s: %s", t.Input.Fail.Class, t.Input.Fail.Message)
	}
	if w.wrong == "empty" {
		return nil, nil
	}
	return map[string]any{"echo": t.Input.Echo, "began": began}, nil
}
