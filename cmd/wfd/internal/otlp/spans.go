// Package otlp makes traces of runs, from the events that are in the log, and sends them
// by the OpenTelemetry protocol.
//
// A run is a span, below it each attempt of a node (or visit, of a node that nobody
// attempts), below that the call of the model and those of tools. A child run is below
// the visit that started it, in the trace of the run above. Names follow from the run's
// (package trace), so that a span which is sent twice is the same span. A span is sent
// when it has ended, which for a run may be more than once: a failed run that is retried
// ends later.
//
// The log is the queue: what follows it ([Follower]) reads at its own pace, remembers how
// far it has come, and, where the other side does not keep up, passes over what is too far
// behind. The engine knows nothing of it.
package otlp

import (
	"fmt"
	"strings"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/wfd-dev/wfd/engine/trace"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// maxContent bounds a text of content, in bytes.
const maxContent = 32 << 10

// builder makes spans of one run's events, which it is given in order.
type builder struct {
	id      eventlog.RunID
	content bool
	at      eventlog.Version // of the last event
	place   trace.Context    // of the run's span: its trace, and what it is below
	begun   int64
	root    []*commonpb.KeyValue
	open    map[visit]*attempt
}

type visit struct {
	node  string
	visit int
}

// attempt is what is under way of a visit.
type attempt struct {
	since  int64 // of the visit
	number int   // 0: nobody attempts it
	begun  int64 // the attempt
	agent  *event.AgentChosen
}

// apply takes the run's next event and returns the spans that have ended with it.
func (b *builder) apply(log trace.Source, e eventlog.Event) ([]*tracepb.Span, error) {
	b.at = e.Version
	payload, err := event.Decode(e.Kind, e.Payload)
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", e.Seq, err)
	}
	switch p := payload.(type) {
	case *event.RunCreated:
		b.begin(e, p.Workflow, p.Version)
		b.place, err = trace.Of(log, b.id, p.Labels, p.Parent)
		if b.content {
			b.root = append(b.root, text(wfdInput, jsonOf(p.Input)))
		}
	case *event.RunForked:
		b.begin(e, p.Workflow, p.Version)
		b.root = append(b.root, text(wfdForked, p.From.String()))
		b.place, err = trace.Of(log, b.id, p.Labels, nil)
	case *event.NodeScheduled:
		b.open[visit{p.Node, p.Visit}] = &attempt{since: e.Time, begun: e.Time}
	case *event.AgentChosen:
		if a := b.open[visit{p.Node, p.Visit}]; a != nil {
			a.agent = p
		}
	case *event.NodeStarted:
		if a := b.open[visit{p.Node, p.Visit}]; a != nil && !p.Each {
			a.number, a.begun = p.Attempt, e.Time
			if a.agent != nil && a.agent.Attempt != p.Attempt {
				a.agent = nil
			}
		}
	case *event.ToolCalled:
		return []*tracepb.Span{b.tool(e, p)}, nil
	case *event.NodeCompleted:
		a := b.open[visit{p.Node, p.Visit}]
		delete(b.open, visit{p.Node, p.Visit})
		return b.attempted(e, p.Node, p.Visit, a, p.Usage, nil, ""), nil
	case *event.NodeFailed:
		v := visit{p.Node, p.Visit}
		a := b.open[v]
		if p.Then == event.ThenRetry || p.Then == event.ThenPause {
			if a != nil {
				b.open[v] = &attempt{since: a.since, number: a.number, begun: e.Time}
			}
		} else {
			delete(b.open, v)
		}
		return b.attempted(e, p.Node, p.Visit, a, p.Usage, &p.Failure, p.Then), nil
	case *event.NodeLost:
		a := b.open[visit{p.Node, p.Visit}]
		return b.attempted(e, p.Node, p.Visit, a, nil, &event.Failure{Class: "lost", Message: p.Reason}, ""), nil
	case *event.NodeSkipped:
		a := b.open[visit{p.Node, p.Visit}]
		delete(b.open, visit{p.Node, p.Visit})
		if a == nil {
			return nil, nil
		}
		return b.attempted(e, p.Node, p.Visit, a, nil, &event.Failure{Class: event.ClassCancelled, Message: p.Reason}, ""), nil
	case *event.RunCompleted:
		s := b.ended(e, "completed", nil)
		if b.content {
			s.Attributes = append(s.Attributes, text(wfdOutput, jsonOf(p.Output)))
		}
		return []*tracepb.Span{s}, nil
	case *event.RunFailed:
		return []*tracepb.Span{b.ended(e, "failed", &p.Failure)}, nil
	case *event.RunCancelled:
		return []*tracepb.Span{b.ended(e, "cancelled", &event.Failure{Class: event.ClassCancelled})}, nil
	}
	return nil, err
}

func (b *builder) begin(e eventlog.Event, workflow string, version int) {
	b.begun = e.Time
	b.root = []*commonpb.KeyValue{text(wfdWorkflow, workflow), text(wfdRun, b.id.String()), number(wfdVersion, int64(version)), text(genConversation, b.id.String())}
}

// span returns a span below another one.
func (b *builder) span(own, above trace.Span, name string, kind tracepb.Span_SpanKind, from, to int64) *tracepb.Span {
	s := &tracepb.Span{
		TraceId: b.place.Trace[:], SpanId: own[:], Name: name, Kind: kind,
		StartTimeUnixNano: uint64(max(0, from)), EndTimeUnixNano: uint64(max(from, to, 0)),
	}
	if !above.IsZero() {
		s.ParentSpanId = above[:]
	}
	return s
}

func (b *builder) ended(e eventlog.Event, status string, f *event.Failure) *tracepb.Span {
	name := "workflow"
	if len(b.root) > 0 {
		name += " " + b.root[0].Value.GetStringValue()
	}
	kind := tracepb.Span_SPAN_KIND_INTERNAL
	s := b.span(trace.OfRun(b.id), b.place.Span, name, kind, b.begun, e.Time)
	s.Attributes = append(append(s.Attributes, b.root...), text(wfdStatus, status))
	b.fail(s, f)
	return s
}

// attempted returns the span of an attempt, and that of the call of its model.
func (b *builder) attempted(e eventlog.Event, node string, nth int, a *attempt, used *event.Usage, f *event.Failure, then string) []*tracepb.Span {
	if a == nil {
		a = &attempt{since: e.Time, begun: e.Time}
	}
	own := trace.OfAttempt(b.id, node, nth, a.number)
	s := b.span(own, trace.OfRun(b.id), "node "+node, tracepb.Span_SPAN_KIND_INTERNAL, a.begun, e.Time)
	s.Attributes = b.where(node, nth, a.number)
	if then != "" {
		s.Attributes = append(s.Attributes, text(wfdThen, then))
	}
	b.fail(s, f)
	spans := []*tracepb.Span{s}
	if a.agent != nil {
		m := b.span(trace.OfCall(b.id, node, nth, a.number, 0), own, operationChat+" "+a.agent.Model, tracepb.Span_SPAN_KIND_CLIENT, a.begun, e.Time)
		m.Attributes = append(b.where(node, nth, a.number), text(genOperation, operationChat), text(genProvider, a.agent.Provider),
			text(genModel, a.agent.Model), text(genAgent, a.agent.Agent), text(genConversation, b.id.String()))
		if used != nil {
			m.Attributes = append(m.Attributes, number(genInput, used.InputTokens), number(genOutput, used.OutputTokens))
			if used.Model != "" {
				m.Attributes = append(m.Attributes, text(genAnswered, used.Model))
			}
			if used.Price != nil {
				m.Attributes = append(m.Attributes, number(wfdCost, int64(used.Price.Cost(*used))))
			}
		}
		b.fail(m, f)
		spans = append(spans, m)
	}
	return spans
}

func (b *builder) tool(e eventlog.Event, p *event.ToolCalled) *tracepb.Span {
	s := b.span(trace.OfCall(b.id, p.Node, p.Visit, p.Attempt, p.Call), trace.OfAttempt(b.id, p.Node, p.Visit, p.Attempt),
		operationTool+" "+p.Tool, tracepb.Span_SPAN_KIND_CLIENT, e.Time-p.Took, e.Time)
	s.Attributes = append(b.where(p.Node, p.Visit, p.Attempt), text(genOperation, operationTool), text(genTool, p.Tool), text(genCall, fmt.Sprint(p.Call)))
	if b.content {
		s.Attributes = append(s.Attributes, text(genArguments, jsonOf(p.Arguments)), text(genResult, jsonOf(p.Result)))
	}
	b.fail(s, p.Failure)
	return s
}

func (b *builder) where(node string, nth, attempt int) []*commonpb.KeyValue {
	return []*commonpb.KeyValue{text(wfdRun, b.id.String()), text(wfdNode, node), number(wfdVisit, int64(nth)), number(wfdAttempt, int64(attempt))}
}

// fail marks a span as failed. The message may have what agents said: it is content.
func (b *builder) fail(s *tracepb.Span, f *event.Failure) {
	if f == nil {
		return
	}
	s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
	if b.content {
		s.Status.Message = clip(f.Message)
	}
	s.Attributes = append(s.Attributes, text(errorType, f.Class))
}

func text(key, v string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}}
}

func number(key string, v int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}}}
}

// jsonOf returns a value as content.
func jsonOf(v event.Value) string {
	b, err := v.MarshalJSON()
	if err != nil {
		return ""
	}
	return clip(string(b))
}

func clip(s string) string {
	if len(s) > maxContent {
		s = s[:maxContent]
	}
	return strings.ToValidUTF8(s, "")
}
