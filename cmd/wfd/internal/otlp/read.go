package otlp

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
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

// ReadJSON reads what JSON returns.
func ReadJSON(b []byte) ([]Seen, error) {
	data, err := parse(b)
	if err != nil {
		return nil, err
	}
	return seen(data), nil
}

// parse reads what JSON returns.
func parse(raw []byte) (*tracepb.TracesData, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	if err := recode(v, hex.DecodeString, base64.StdEncoding.EncodeToString); err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	data := &tracepb.TracesData{}
	return data, protojson.Unmarshal(b, data)
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
