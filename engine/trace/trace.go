// Package trace names runs and attempts as W3C Trace Context has it. The names follow
// from the runs' own: whoever derives them, before a crash, after it, or from the log a
// year later, has the same.
package trace

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Label is the label of a run that has the trace that it was started in, as its
// traceparent. It is the place that is in the log already.
const Label = "traceparent"

// ID names a trace, and Span something in it. The zero value is none.
type (
	ID   [16]byte
	Span [8]byte
)

// IsZero reports whether s is none.
func (s Span) IsZero() bool { return s == Span{} }

// Context is a place in a trace: what goes on below Span.
type Context struct {
	Trace ID
	Span  Span
	// Unsampled says that whoever began the trace does not record it: nobody is sent spans.
	Unsampled bool
}

// String returns c as a traceparent.
func (c Context) String() string {
	flags := "01"
	if c.Unsampled {
		flags = "00"
	}
	return "00-" + hex.EncodeToString(c.Trace[:]) + "-" + hex.EncodeToString(c.Span[:]) + "-" + flags
}

// ErrFormat marks what is no traceparent.
var ErrFormat = errors.New("no traceparent")

// Parse reads a traceparent. One of a later version is read as far as it is like this
// one.
func Parse(s string) (c Context, err error) {
	parts := strings.Split(s, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || parts[0] == "00" && len(parts) > 4 || strings.ToLower(s) != s ||
		len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 {
		return Context{}, fmt.Errorf("%w: %q", ErrFormat, s)
	}
	_, version := hex.DecodeString(parts[0])
	flag, flags := hex.DecodeString(parts[3])
	_, id := hex.Decode(c.Trace[:], []byte(parts[1]))
	_, span := hex.Decode(c.Span[:], []byte(parts[2]))
	if errors.Join(version, flags, id, span) != nil || c.Trace == (ID{}) || c.Span.IsZero() {
		return Context{}, fmt.Errorf("%w: %q", ErrFormat, s)
	}
	c.Unsampled = flag[0]&1 == 0
	return c, nil
}

func sum(format string, args ...any) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "wfd trace\x00"+format, args...))
}

// OfRun is the span of a run.
func OfRun(id eventlog.RunID) (s Span) {
	h := sum("run\x00%s", id)
	copy(s[:], h[:])
	return s
}

// OfAttempt is the span of an attempt; of a node that nobody attempts, of its visit, with
// attempt 0.
func OfAttempt(id eventlog.RunID, node string, visit, attempt int) (s Span) {
	h := sum("attempt\x00%s\x00%s\x00%d\x00%d", id, node, visit, attempt)
	copy(s[:], h[:])
	return s
}

// OfCall is the span of an attempt's call: of a tool, from 1, or of the model, 0.
func OfCall(id eventlog.RunID, node string, visit, attempt, call int) (s Span) {
	h := sum("call\x00%s\x00%s\x00%d\x00%d\x00%d", id, node, visit, attempt, call)
	copy(s[:], h[:])
	return s
}

// Source is where the beginnings of runs are read.
type Source interface {
	ReadRun(id eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error)
}

// maxDepth bounds how far a run's trace is looked for among those that started it: runs
// are nested less deeply.
const maxDepth = 64

// Of returns the trace that a run belongs to, and the span that its own is below: that of
// a request with a traceparent, or, of a child run, the visit that started it.
func Of(log Source, id eventlog.RunID, labels map[string]string, parent *event.Parent) (Context, error) {
	own, err := Parse(labels[Label])
	if err == nil {
		return own, nil
	}
	h := sum("trace\x00%s", id)
	copy(own.Trace[:], h[:])
	if parent == nil {
		return own, nil
	}
	above, p := parent, parent
	for range maxDepth {
		events, err := log.ReadRun(p.Run, 0, 1)
		if err != nil {
			return own, err
		}
		if len(events) == 0 { // it came without those that started it
			break
		}
		payload, err := event.Decode(events[0].Kind, events[0].Payload)
		if err != nil {
			return own, err
		}
		above = p
		labels, p = beginning(payload)
		if c, err := Parse(labels[Label]); err == nil {
			own.Trace, own.Unsampled = c.Trace, c.Unsampled
			break
		}
		if p == nil {
			h := sum("trace\x00%s", above.Run)
			copy(own.Trace[:], h[:])
			break
		}
	}
	own.Span = OfAttempt(parent.Run, parent.Node, parent.Visit, 0)
	return own, nil
}

// beginning returns what a run's first event says of where it belongs.
func beginning(p event.Payload) (map[string]string, *event.Parent) {
	switch p := p.(type) {
	case *event.RunCreated:
		return p.Labels, p.Parent
	case *event.RunForked:
		return p.Labels, nil
	}
	return nil, nil
}
