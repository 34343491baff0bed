package engine

import (
	"github.com/wfd-dev/wfd/engine/trace"
	"github.com/wfd-dev/wfd/projection/run"
)

// traceparent returns the place of a visit's attempt in its trace, "" if nobody wants to
// know.
func (e *Engine) traceparent(s *run.State, v *run.Visit) string {
	if !e.opt.Traces && s.Labels[trace.Label] == "" {
		return ""
	}
	c, err := trace.Of(e.log, s.Run, s.Labels, s.Parent)
	if err != nil { // a trace is not worth an attempt
		e.slog.Debug("an attempt is not told its trace", "run", s.Run.String(), "node", v.Node, "error", err)
		return ""
	}
	c.Span = trace.OfAttempt(s.Run, v.Node, v.Visit, v.Attempt)
	return c.String()
}
