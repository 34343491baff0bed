// Package otlptest reads traces as a receiver sees them.
package otlptest

import (
	"encoding/hex"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/otlp"
)

// Seen is what a receiver sees of a span.
type Seen struct {
	Trace, Span, Parent string // hex
	Name                string
	From, To            uint64 // ns
	Failed              bool
	Attributes          int
}

// Read reads what is sent to a receiver.
func Read(b []byte) ([]Seen, error) {
	// A request to export is a TracesData by another name.
	var data tracepb.TracesData
	if err := proto.Unmarshal(b, &data); err != nil {
		return nil, err
	}
	return seen(&data), nil
}

// ReadJSON reads what otlp.JSON returns.
func ReadJSON(b []byte) ([]Seen, error) {
	data, err := otlp.Parse(b)
	if err != nil {
		return nil, err
	}
	return seen(data), nil
}

func seen(data *tracepb.TracesData) (all []Seen) {
	for _, r := range data.ResourceSpans {
		for _, scope := range r.ScopeSpans {
			for _, s := range scope.Spans {
				all = append(all, Seen{
					Trace: hex.EncodeToString(s.TraceId), Span: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId), Name: s.Name,
					From: s.StartTimeUnixNano, To: s.EndTimeUnixNano, Failed: s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR, Attributes: len(s.Attributes),
				})
			}
		}
	}
	return all
}
