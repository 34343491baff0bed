package otlp

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	// tryTime bounds one request, and insistTime how long it is repeated.
	tryTime    = 10 * time.Second
	insistTime = 30 * time.Second
	// path is where a receiver takes traces, if the endpoint names no path.
	path = "/v1/traces"
	// maxRuns bounds the runs under one that is exported.
	maxRuns = 10_000
)

// CheckEndpoint returns an endpoint as a URL with a path.
func CheckEndpoint(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("endpoint %q: want http(s)://host:port, of a receiver of OTLP over HTTP; headers are in OTEL_EXPORTER_OTLP_HEADERS", s)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = path
	}
	return u, nil
}

// dial returns a client of a receiver. Headers and certificates come from the variables
// that OpenTelemetry has for them.
func dial(endpoint string) (otlptrace.Client, error) {
	u, err := CheckEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	return otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithCompression(otlptracehttp.GzipCompression), otlptracehttp.WithTimeout(tryTime),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: insistTime}),
	), nil
}

// resource puts spans under the name of this program.
func resource(spans []*tracepb.Span, version string) []*tracepb.ResourceSpans {
	return []*tracepb.ResourceSpans{{
		Resource:   &resourcepb.Resource{Attributes: []*commonpb.KeyValue{text(serviceName, "wfd"), text(serviceVersion, version)}},
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "github.com/wfd-dev/wfd", Version: version}, Spans: spans}},
	}}
}

// Build returns the spans of a run and of all runs under it, from the log.
func Build(log Log, id eventlog.RunID, content bool) (spans []*tracepb.Span, err error) {
	todo, seen := []eventlog.RunID{id}, map[eventlog.RunID]bool{id: true}
	for len(todo) > 0 {
		b := &builder{id: todo[0], content: content, open: map[visit]*attempt{}}
		todo = todo[1:]
		for {
			events, err := log.ReadRun(b.id, b.at, page)
			if err != nil {
				return nil, err
			}
			if len(events) == 0 {
				break
			}
			for _, e := range events {
				ended, err := b.apply(log, e)
				if err != nil {
					return nil, err
				}
				spans = append(spans, ended...)
				if e.Kind != event.KindChildStarted {
					continue
				}
				p, err := event.Decode(e.Kind, e.Payload)
				if err != nil {
					return nil, err
				}
				if child := p.(*event.ChildStarted).Child; !seen[child] {
					if seen[child] = true; len(seen) > maxRuns {
						return nil, fmt.Errorf("more than %d runs are under run %s", maxRuns, id)
					}
					todo = append(todo, child)
				}
			}
		}
	}
	return spans, nil
}

// Post sends a trace, as JSON returns it, and returns how many spans it has.
func Post(ctx context.Context, endpoint string, raw []byte) (int, error) {
	data, err := Parse(raw)
	if err != nil {
		return 0, err
	}
	c, err := dial(endpoint)
	if err != nil {
		return 0, err
	}
	if err := c.Start(ctx); err != nil {
		return 0, err
	}
	n := 0
	for _, r := range data.ResourceSpans {
		for _, scope := range r.ScopeSpans {
			for all := scope.Spans; len(all) > 0; {
				few := min(batch, len(all))
				part := &tracepb.ResourceSpans{Resource: r.Resource, ScopeSpans: []*tracepb.ScopeSpans{{Scope: scope.Scope, Spans: all[:few]}}}
				if err := c.UploadTraces(ctx, []*tracepb.ResourceSpans{part}); err != nil {
					return n, errors.Join(err, c.Stop(ctx))
				}
				n, all = n+few, all[few:]
			}
		}
	}
	return n, c.Stop(ctx)
}

// JSON returns spans as OTLP has it in JSON, which is that of protocol buffers but for
// the names of traces and spans.
func JSON(spans []*tracepb.Span, version string) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(&tracepb.TracesData{ResourceSpans: resource(spans, version)})
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	if err := recode(v, base64.StdEncoding.DecodeString, hex.EncodeToString); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// Parse reads what JSON returns.
func Parse(raw []byte) (*tracepb.TracesData, error) {
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

// recode writes the names of traces and spans in another code.
func recode(v any, from func(string) ([]byte, error), to func([]byte) string) error {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			if err := recode(x, from, to); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, x := range v {
			s, is := x.(string)
			if !is || k != "traceId" && k != "spanId" && k != "parentSpanId" {
				if err := recode(x, from, to); err != nil {
					return err
				}
				continue
			}
			b, err := from(s)
			if err != nil {
				return err
			}
			v[k] = to(b)
		}
	}
	return nil
}
