package engine

import (
	"sync"
	"sync/atomic"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/eventlog"
)

// Token is a piece of an answer that is on its way. It is for those who watch, and
// nowhere kept: the whole answer is the attempt's result.
type Token struct {
	Run     eventlog.RunID `json:"run"`
	Node    string         `json:"node"`
	Visit   int            `json:"visit"`
	Attempt int            `json:"attempt"`
	Text    string         `json:"text"`
	// Lost is how many pieces before this one the watcher was too slow for.
	Lost int `json:"lost,omitempty"`
}

// maxTokens is how many pieces wait for one watcher; what comes meanwhile is lost to
// it.
const maxTokens = 256

// tokens carries pieces of answers to those who watch their runs. Nobody who answers
// ever waits for one who watches.
type tokens struct {
	any atomic.Int32 // watchers, so that without any there is nothing to do

	mu sync.Mutex
	by map[eventlog.RunID][]*tokenWatch
}

type tokenWatch struct {
	ch   chan Token
	lost int // guarded by tokens.mu
}

// Tokens returns the pieces of a run's answers from here on, and a function that ends
// the watch.
func (e *Engine) Tokens(id eventlog.RunID) (<-chan Token, func()) {
	t := &e.tokens
	w := &tokenWatch{ch: make(chan Token, maxTokens)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[eventlog.RunID][]*tokenWatch{}
	}
	t.by[id] = append(t.by[id], w)
	t.any.Add(1)
	var once sync.Once
	return w.ch, func() { once.Do(func() { t.end(id, w) }) }
}

func (t *tokens) end(id eventlog.RunID, w *tokenWatch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.any.Add(-1)
	list := t.by[id]
	for i := range list {
		if list[i] == w {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if t.by[id] = list; len(list) == 0 {
		delete(t.by, id)
	}
}

// show returns what shows the pieces of a task's answer.
func (t *tokens) show(task *agent.Task) func(string) {
	return func(piece string) {
		if t.any.Load() == 0 {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, w := range t.by[task.Run] {
			select {
			case w.ch <- Token{Run: task.Run, Node: task.Node, Visit: task.Visit, Attempt: task.Attempt, Text: piece, Lost: w.lost}:
				w.lost = 0
			default:
				w.lost++
			}
		}
	}
}
