package agent

import (
	"context"
	"errors"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

// MaxText is how long the text of an answer may be, in bytes. It is far above
// what a model says in one answer, and far below what an event may hold.
const MaxText = 4 << 20

// Result returns the result of an answer that has a text, another result, or
// both: an object gets the text under the key text, unless it has that key or
// there is no text; no object (nil) is an object with the text alone; anything
// else is the result as it is. An object passed in is not changed.
func Result(text string, result any) any {
	switch r := result.(type) {
	case nil:
		return map[string]any{"text": text}
	case map[string]any:
		if _, has := r["text"]; has || text == "" {
			return r
		}
		r = maps.Clone(r)
		r["text"] = text
		return r
	}
	return result
}

// FromText returns the answer that a text is. If the text ends in a fenced JSON
// object, the object's fields are those of the result, beside the whole text,
// and its keys are offered as state. Text that ends in anything else, a broken
// or too deep object included, is text and nothing more.
func FromText(text string) Answer {
	if len(text) > MaxText {
		return Fail(event.ClassInvalidOutput, "the answer has %d bytes of text, the limit is %d", len(text), MaxText)
	}
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	var fields map[string]any
	if block := lastBlock(text); block != "" {
		if v, err := event.DecodeJSON([]byte(block)); err == nil {
			fields, _ = v.(map[string]any)
		}
	}
	if fields == nil {
		return Answer{Result: Result(text, nil)}
	}
	return Answer{Result: Result(text, fields), Set: Settable(fields)}
}

// lastBlock returns what stands in the fenced block that ends text: ``` or
// ```json on one line, ``` on the last. "" if there is none.
func lastBlock(text string) string {
	text = strings.TrimRight(text, " \t\r\n")
	if !strings.HasSuffix(text, "```") {
		return ""
	}
	lines := strings.Split(text, "\n")
	begin := -1 // the line that opened the block we are in
	for i, l := range lines[:len(lines)-1] {
		l = strings.TrimSpace(l)
		switch {
		case begin < 0 && strings.HasPrefix(l, "```"):
			begin = i
		case begin >= 0 && l == "```":
			begin = -1
		}
	}
	if begin < 0 || strings.TrimSpace(lines[len(lines)-1]) != "```" {
		return ""
	}
	if lang := strings.TrimSpace(lines[begin])[3:]; lang != "" && !strings.EqualFold(strings.TrimSpace(lang), "json") {
		return ""
	}
	return strings.Join(lines[begin+1:len(lines)-1], "\n")
}

// Settable returns what an answer may set: the keys below run are the engine's.
func Settable(set map[string]any) map[string]any {
	m := make(map[string]any, len(set))
	for k, v := range set {
		if k != "run" && !strings.HasPrefix(k, "run.") {
			m[k] = v
		}
	}
	return m
}

// Unavailable returns a runner for a kind that nothing here can do.
func Unavailable(kind workflow.Kind) Runner {
	return RunnerFunc(func(context.Context, *Task) Answer {
		return Fail(event.ClassNotFound, "nothing here can do %s nodes: give the engine a runner for them, or answer them from a file with --replies", kind)
	})
}

// interrupted returns the answer of a task that ended because ctx did.
func interrupted(ctx context.Context, t *Task, what string) Answer {
	switch {
	case !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Fail(event.ClassCancelled, "%s: cancelled", what)
	case t.Timeout > 0:
		return Fail(event.ClassTimeout, "%s: not done within %s", what, t.Timeout)
	}
	return Fail(event.ClassTimeout, "%s: not done in time", what)
}
