package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/client"
)

// Why the context of a handler ended, by context.Cause.
var (
	// ErrStale: somebody else has the task, or nobody waits for it.
	ErrStale = client.ErrStale
	// ErrCancelled: the run was cancelled.
	ErrCancelled = errors.New("the run was cancelled")
	// ErrDeadline: the node's timeout is over.
	ErrDeadline = fmt.Errorf("the time of the node is over: %w", context.DeadlineExceeded)
	// ErrStopping: the worker ends, and gives the task back.
	ErrStopping = errors.New("the worker is stopping")
)

// Task is a task that this worker holds.
type Task struct {
	ID          string          `json:"id"` // the same each time the task is handed out
	Run         string          `json:"run"`
	Workflow    string          `json:"workflow"`
	Node        string          `json:"node"`
	Visit       int             `json:"visit"`
	Attempt     int             `json:"attempt"` // rises each time the task is handed out
	Queue       string          `json:"queue"`
	Handler     string          `json:"handler"`
	Input       json.RawMessage `json:"input"`
	Traceparent string          `json:"traceparent"`     // the attempt's place in a trace, as W3C Trace Context has it, if there is one
	Key         string          `json:"idempotency_key"` // the same each time, for services that take one
	Deadline    time.Time       `json:"deadline"`        // the node's timeout, by the daemon's clock; zero: none
	// Before is what an attempt before left behind with Checkpoint; null if nothing.
	Before json.RawMessage `json:"checkpoint"`

	Token string    `json:"token"`
	Lease float64   `json:"lease"`       // in seconds
	Until time.Time `json:"lease_until"` // by the daemon's clock, when the task was handed out

	mu         sync.Mutex
	checkpoint json.RawMessage // yet to be sent
	progress   *string         // yet to be sent
	paused     bool
	soon       chan struct{} // has an element when there is something to send
}

// Decode decodes the input. An error fails the task without a further attempt.
func (t *Task) Decode(v any) error {
	if err := json.Unmarshal(t.Input, v); err != nil {
		return Fail("tool_failed", "the input is not what this worker takes: %w", err).Final()
	}
	return nil
}

// lease is how long the task is held without a word.
func (t *Task) lease() time.Duration { return time.Duration(t.Lease * float64(time.Second)) }

// left is how long the task may take. It does not ask this machine's clock, which may
// differ from the daemon's.
func (t *Task) left() (d time.Duration, bounded bool) {
	return t.Deadline.Sub(t.Until) + t.lease(), !t.Deadline.IsZero()
}

// Resume decodes into v what an attempt before left behind, and reports whether there
// is something.
func (t *Task) Resume(v any) (bool, error) {
	if len(t.Before) == 0 || string(t.Before) == "null" {
		return false, nil
	}
	return true, json.Unmarshal(t.Before, v)
}

// Checkpoint leaves v behind for the next attempt, should this one be lost, fail or be
// released: JSON of up to 64 KiB. It is sent soon; only the newest counts.
func (t *Task) Checkpoint(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(b) > maxCheckpoint {
		return fmt.Errorf("a checkpoint of %d bytes: the limit is %d", len(b), maxCheckpoint)
	}
	t.mu.Lock()
	t.checkpoint = b
	t.mu.Unlock()
	t.ring()
	return nil
}

const (
	maxCheckpoint = 64 << 10
	maxText       = 1 << 10 // of a progress
	maxMessage    = 4 << 10
)

// Progress tells those who watch how far the task is, in a few words.
func (t *Task) Progress(format string, args ...any) {
	text := clip(fmt.Sprintf(format, args...), maxText)
	t.mu.Lock()
	t.progress = &text
	t.mu.Unlock()
	t.ring()
}

// Paused reports whether the run is paused. The task may go on: its result counts.
func (t *Task) Paused() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.paused
}

func (t *Task) ring() {
	select {
	case t.soon <- struct{}{}:
	default:
	}
}

// news takes what is yet to be sent.
func (t *Task) news() (checkpoint json.RawMessage, progress *string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	checkpoint, progress = t.checkpoint, t.progress
	t.checkpoint, t.progress = nil, nil
	return checkpoint, progress
}

// unsent puts back what could not be sent, unless there is something newer.
func (t *Task) unsent(checkpoint json.RawMessage, progress *string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.checkpoint == nil {
		t.checkpoint = checkpoint
	}
	if t.progress == nil {
		t.progress = progress
	}
}
