// Package modeltest has the suite that every provider of models passes, against a
// server in this process that speaks its language, well and badly.
package modeltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/projection/event"
)

// Wire is the language of a provider's server.
type Wire struct {
	// Read returns what a request asks for.
	Read func(r *http.Request, body []byte) (Seen, error)
	// Begin and End are what surrounds an answer that is streamed.
	Begin func(a *Answer) []string
	Piece func(text string) string
	End   func(a *Answer) []string
	// Whole is the body of an answer that comes at once; "" = there is none.
	Whole func(a *Answer) string
	// Error is the body of a refusal.
	Error func(kind, message string) string
	// Unknown is what the server says of a schema it cannot hold a model to.
	Unknown string
	// Told is an error in the middle of a stream, Broken a line that is no JSON.
	Told, Broken string
}

// Seen is a request as the server sees it.
type Seen struct {
	Key, Model, System string
	Messages           []string // "user: text", "assistant: text", "call: id tool arguments", "result: id text"
	Tools              []string
	MaxTokens          int
	Temperature        *float64
	Schema             bool
	Stream             bool
}

// Answer is what the server answers.
type Answer struct {
	Pieces          []string
	Calls           []model.Call
	Stop            string // a constant of package model
	In, Cached, Out int64
}

// server answers one request after the other.
type server struct {
	t    testing.TB
	w    *Wire
	http *httptest.Server
	seen []Seen
}

// serve starts a server whose n-th request answer answers.
func serve(t testing.TB, w *Wire, answer func(s *server, n int, seen Seen, rw http.ResponseWriter, r *http.Request)) *server {
	s := &server{t: t, w: w}
	s.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		seen, err := w.Read(r, body)
		if err != nil {
			t.Errorf("the request cannot be read: %v\n%s", err, body)
		}
		s.seen = append(s.seen, seen)
		answer(s, len(s.seen), seen, rw, r)
	}))
	t.Cleanup(s.http.Close)
	return s
}

// say answers in the form that was asked for.
func (s *server) say(rw http.ResponseWriter, seen Seen, a *Answer) {
	if !seen.Stream {
		rw.Header().Set("Content-Type", "application/json")
		io.WriteString(rw, s.w.Whole(a))
		return
	}
	rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	for _, line := range slices.Concat(s.w.Begin(a), pieces(s.w, a), s.w.End(a)) {
		io.WriteString(rw, line+"\n\n")
		rw.(http.Flusher).Flush()
	}
}

func pieces(w *Wire, a *Answer) []string {
	var lines []string
	for _, p := range a.Pieces {
		lines = append(lines, w.Piece(p))
	}
	return lines
}

func request(s *server) *model.Request {
	warmth := 0.5
	return &model.Request{
		BaseURL: s.http.URL, APIKey: "key-1", Model: "model-1", System: "You are one.", MaxTokens: 77, Temperature: &warmth,
		Messages: []model.Message{{From: model.User, Text: "Hello"}},
	}
}

// Run runs the suite.
func Run(t *testing.T, provider func() model.Provider, w *Wire) {
	t.Run("Text", func(t *testing.T) { text(t, provider(), w) })
	t.Run("Schema", func(t *testing.T) { schema(t, provider(), w) })
	t.Run("Tools", func(t *testing.T) { tools(t, provider(), w) })
	t.Run("Stops", func(t *testing.T) { stops(t, provider(), w) })
	t.Run("Refusals", func(t *testing.T) { refusals(t, provider(), w) })
	t.Run("Broken", func(t *testing.T) { broken(t, provider(), w) })
	t.Run("Hangs", func(t *testing.T) { hangs(t, provider(), w) })
	t.Run("AtOnce", func(t *testing.T) { atOnce(t, provider(), w) })
}

func text(t *testing.T, p model.Provider, w *Wire) {
	a := &Answer{Pieces: []string{"Once ", "", "upon\n", "a tïme\x1b[2J"}, Stop: model.End, In: 30, Cached: 10, Out: 5}
	s := serve(t, w, func(s *server, _ int, seen Seen, rw http.ResponseWriter, _ *http.Request) { s.say(rw, seen, a) })
	var shown []string
	got, err := p.Ask(t.Context(), request(s), func(piece string) { shown = append(shown, piece) })
	if err != nil || got.Text != "Once upon\na tïme\x1b[2J" || got.Stop != model.End || len(got.Calls) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if !slices.Equal(shown, []string{"Once ", "upon\n", "a tïme\x1b[2J"}) {
		t.Errorf("shown %q", shown)
	}
	if u := got.Usage; u == nil || u.InputTokens != 30 || u.CachedTokens != 10 || u.OutputTokens != 5 || u.Model == "" {
		t.Errorf("usage %+v", u)
	}
	seen := s.seen[0]
	if seen.Key != "key-1" || seen.Model != "model-1" || seen.System != "You are one." || seen.MaxTokens != 77 || seen.Temperature == nil || *seen.Temperature != 0.5 ||
		!seen.Stream || seen.Schema || !slices.Equal(seen.Messages, []string{"user: Hello"}) {
		t.Errorf("the server saw %+v", seen)
	}
	r := request(s)
	r.System, r.Temperature, r.MaxTokens = "", nil, 1
	if got, err := p.Ask(t.Context(), r, nil); err != nil || got.Text == "" {
		t.Errorf("unwatched: %+v, %v", got, err)
	}
	if seen := s.seen[1]; seen.System != "" || seen.Temperature != nil {
		t.Errorf("the server saw %+v", seen)
	}
}

var object = map[string]any{"type": "object", "properties": map[string]any{"n": map[string]any{"type": "integer"}}, "required": []any{"n"}}

func schema(t *testing.T, p model.Provider, w *Wire) {
	refuse := false
	s := serve(t, w, func(s *server, _ int, seen Seen, rw http.ResponseWriter, _ *http.Request) {
		if seen.Schema && refuse {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(400)
			io.WriteString(rw, w.Error("invalid_request_error", w.Unknown))
			return
		}
		s.say(rw, seen, &Answer{Pieces: []string{`{"n"`, `: 3}`}, Stop: model.End, In: 1, Out: 1})
	})
	r := request(s)
	r.Schema = object
	shown := 0
	got, err := p.Ask(t.Context(), r, func(string) { shown++ })
	if err != nil || got.Text != `{"n": 3}` || shown > 0 || !s.seen[0].Schema {
		t.Errorf("%+v, %v, shown %d times, the server saw %+v", got, err, shown, s.seen[0])
	}
	refuse = true
	for i := range 2 {
		if got, err := p.Ask(t.Context(), r, nil); err != nil || got.Text != `{"n": 3}` {
			t.Errorf("refused: %+v, %v", got, err)
		}
		if len(s.seen) != 3+i || s.seen[len(s.seen)-1].Schema { // the second time it is known
			t.Errorf("after %d answers the server saw %d requests, the last with schema: %v", i+2, len(s.seen), s.seen[len(s.seen)-1].Schema)
		}
	}
}

func tools(t *testing.T, p model.Provider, w *Wire) {
	s := serve(t, w, func(s *server, n int, seen Seen, rw http.ResponseWriter, _ *http.Request) {
		a := &Answer{Pieces: []string{"It rains."}, Stop: model.End, In: 1, Out: 1}
		if n == 1 {
			a = &Answer{Pieces: []string{"Let me see."}, Stop: model.Calls, In: 1, Out: 1, Calls: []model.Call{
				{ID: "c1", Tool: "weather", Arguments: json.RawMessage(`{"city":"Rome","days":2}`)}, {ID: "c2", Tool: "now", Arguments: json.RawMessage(`{}`)},
			}}
		}
		s.say(rw, seen, a)
	})
	r := request(s)
	r.Tools = []model.Tool{
		{Name: "weather", Description: "Tells the weather", Schema: map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}},
		{Name: "now", Schema: map[string]any{"type": "object"}},
	}
	got, err := p.Ask(t.Context(), r, nil)
	if err != nil || got.Stop != model.Calls || got.Text != "Let me see." || len(got.Calls) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range []string{`c1 weather {"city":"Rome","days":2}`, `c2 now {}`} {
		if c := got.Calls[i]; fmt.Sprintf("%s %s %s", c.ID, c.Tool, c.Arguments) != want {
			t.Errorf("call %d: %+v", i, c)
		}
	}
	r.Messages = append(r.Messages,
		model.Message{From: model.Assistant, Text: got.Text, Calls: got.Calls},
		model.Message{From: model.User, Results: []model.Result{{Call: "c1", Text: "rain"}, {Call: "c2", Text: "broken", Failed: true}}})
	if got, err = p.Ask(t.Context(), r, nil); err != nil || got.Text != "It rains." || got.Stop != model.End {
		t.Fatalf("%+v, %v", got, err)
	}
	want := []string{"user: Hello", "assistant: Let me see.", `call: c1 weather {"city":"Rome","days":2}`, "call: c2 now {}", "result: c1 rain", "result: c2 broken"}
	if seen := s.seen[1]; !slices.Equal(seen.Messages, want) || !slices.Equal(seen.Tools, []string{"weather: Tells the weather", "now: "}) {
		t.Errorf("the server saw %q, %q", seen.Messages, seen.Tools)
	}
}

func stops(t *testing.T, p model.Provider, w *Wire) {
	for _, stop := range []string{model.End, model.Length, model.Refused} {
		s := serve(t, w, func(s *server, _ int, seen Seen, rw http.ResponseWriter, _ *http.Request) {
			s.say(rw, seen, &Answer{Pieces: []string{"I"}, Stop: stop, In: 1, Out: 1})
		})
		if got, err := p.Ask(t.Context(), request(s), nil); err != nil || got.Stop != stop {
			t.Errorf("%s: %+v, %v", stop, got, err)
		}
	}
}

// refusals are statuses, with what follows from each.
func refusals(t *testing.T, p model.Provider, w *Wire) {
	cases := []struct {
		status        int
		kind, message string
		header        string
		class         string
		final         bool
		after         time.Duration
	}{
		{429, "rate_limit_error", "slow down", "Retry-After: 7", event.ClassRateLimit, false, 7 * time.Second},
		{429, "rate_limit_error", "slow down", "Retry-After-Ms: 250", event.ClassRateLimit, false, 250 * time.Millisecond},
		{429, "insufficient_quota", "no credit", "", event.ClassBudget, true, 0},
		{500, "api_error", "oops", "", event.ClassUnavailable, false, 0},
		{503, "", "<html>down</html>", "Retry-After: 2", event.ClassUnavailable, false, 2 * time.Second},
		{529, "overloaded_error", "busy", "", event.ClassUnavailable, false, 0},
		{401, "authentication_error", "bad key", "", event.ClassAuth, true, 0},
		{403, "permission_error", "not you", "", event.ClassAuth, true, 0},
		{404, "not_found_error", "no such model", "", event.ClassNotFound, true, 0},
		{408, "timeout_error", "late", "", event.ClassTimeout, false, 0},
		{400, "invalid_request_error", "bad request", "Retry-After: 9", event.ClassToolFailed, true, 0},
		{413, "request_too_large", "too large", "", event.ClassToolFailed, true, 0},
	}
	for _, c := range cases {
		requests := 0
		s := serve(t, w, func(_ *server, _ int, _ Seen, rw http.ResponseWriter, _ *http.Request) {
			requests++
			if name, v, ok := strings.Cut(c.header, ": "); ok {
				rw.Header().Set(name, v)
			}
			body := c.message
			if c.kind != "" {
				rw.Header().Set("Content-Type", "application/json")
				body = w.Error(c.kind, c.message)
			}
			rw.WriteHeader(c.status)
			io.WriteString(rw, body)
		})
		_, err := p.Ask(t.Context(), request(s), nil)
		var e *model.Error
		if !errors.As(err, &e) {
			t.Errorf("%d: %v", c.status, err)
			continue
		}
		if e.Class != c.class || (e.Again != nil && !*e.Again) != c.final || e.After != c.after || !strings.Contains(e.Message, c.message) || !strings.HasPrefix(e.Message, fmt.Sprint(c.status)) {
			t.Errorf("%d %s: %+v (final %v)", c.status, c.kind, e, e.Again)
		}
		if requests != 1 {
			t.Errorf("%d: %d requests for one attempt", c.status, requests)
		}
	}
}

// broken are answers that are none.
func broken(t *testing.T, p model.Provider, w *Wire) {
	a := &Answer{Pieces: []string{"Once upon"}, Stop: model.End, In: 9, Out: 1}
	stream := func(rw http.ResponseWriter, lines ...string) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for _, l := range lines {
			io.WriteString(rw, l+"\n\n")
		}
		rw.(http.Flusher).Flush()
	}
	long := strings.Repeat("x", 900<<10)
	for name, c := range map[string]struct {
		answer func(rw http.ResponseWriter)
		class  string
		text   string // that is known
	}{
		"broken off": {func(rw http.ResponseWriter) {
			stream(rw, append(w.Begin(a), w.Piece("Once upon"))...)
			panic(http.ErrAbortHandler)
		}, event.ClassNetwork, "Once upon"},
		"ends early": {func(rw http.ResponseWriter) {
			stream(rw, append(w.Begin(a), w.Piece("Once upon"))...)
		}, event.ClassNetwork, "Once upon"},
		"empty":           {func(rw http.ResponseWriter) { stream(rw) }, event.ClassNetwork, ""},
		"no JSON":         {func(rw http.ResponseWriter) { stream(rw, append(w.Begin(a), w.Broken)...) }, event.ClassInvalidOutput, ""},
		"JSON of a sort":  {func(rw http.ResponseWriter) { stream(rw, "event: message_start\ndata: [1, 2]") }, "", ""},
		"told in between": {func(rw http.ResponseWriter) { stream(rw, append(w.Begin(a), w.Told)...) }, event.ClassUnavailable, ""},
		"an endless line": {func(rw http.ResponseWriter) {
			rw.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(rw, "data: {\"x\": \"")
			for range 4 {
				if _, err := io.WriteString(rw, long); err != nil {
					return
				}
			}
		}, event.ClassInvalidOutput, ""},
		"an endless text": {func(rw http.ResponseWriter) {
			stream(rw, w.Begin(a)...)
			for range 8 {
				if _, err := io.WriteString(rw, w.Piece(long)+"\n\n"); err != nil {
					return
				}
			}
			stream(rw, w.End(a)...)
		}, event.ClassInvalidOutput, ""},
		"a redirect": {func(rw http.ResponseWriter) {
			rw.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			rw.WriteHeader(http.StatusTemporaryRedirect)
		}, event.ClassToolFailed, ""},
		"a closed connection": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, event.ClassNetwork, ""},
	} {
		s := serve(t, w, func(_ *server, _ int, _ Seen, rw http.ResponseWriter, _ *http.Request) { c.answer(rw) })
		got, err := p.Ask(t.Context(), request(s), nil)
		var e *model.Error
		if !errors.As(err, &e) || c.class != "" && e.Class != c.class || c.text != "" && got.Text != c.text {
			t.Errorf("%s: %.200v, %.200q", name, err, got.Text)
		}
		if strings.Contains(fmt.Sprint(err), "key-1") || strings.Contains(fmt.Sprint(err), s.http.URL) {
			t.Errorf("%s: the error tells the key, or the address: %v", name, err)
		}
	}
	s := serve(t, w, func(*server, int, Seen, http.ResponseWriter, *http.Request) {})
	s.http.Close()
	var e *model.Error
	if _, err := p.Ask(t.Context(), request(s), nil); !errors.As(err, &e) || e.Class != event.ClassNetwork || e.Again != nil {
		t.Errorf("nobody there: %v", err)
	}
}

// hangs are answers that do not come, or do not end.
func hangs(t *testing.T, p model.Provider, w *Wire) {
	for name, begin := range map[string]bool{"before the headers": false, "in the middle": true} {
		s := serve(t, w, func(s *server, _ int, _ Seen, rw http.ResponseWriter, r *http.Request) {
			if begin {
				rw.Header().Set("Content-Type", "text/event-stream")
				for _, l := range append(w.Begin(&Answer{}), w.Piece("Once")) {
					io.WriteString(rw, l+"\n\n")
				}
				rw.(http.Flusher).Flush()
			}
			<-r.Context().Done() // until the client goes
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := p.Ask(ctx, request(s), nil)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// atOnce are servers that do not stream.
func atOnce(t *testing.T, p model.Provider, w *Wire) {
	s := serve(t, w, func(s *server, _ int, seen Seen, rw http.ResponseWriter, _ *http.Request) {
		seen.Stream = false
		s.say(rw, seen, &Answer{Pieces: []string{"All at once"}, Stop: model.End, In: 3, Out: 2})
	})
	var shown bytes.Buffer
	got, err := p.Ask(t.Context(), request(s), func(piece string) { shown.WriteString(piece) })
	if w.Whole(&Answer{}) == "" {
		var e *model.Error
		if !errors.As(err, &e) || e.Class != event.ClassInvalidOutput {
			t.Errorf("%+v, %v", got, err)
		}
		return
	}
	if err != nil || got.Text != "All at once" || shown.String() != "All at once" || got.Usage.OutputTokens != 2 {
		t.Errorf("%+v, %v, shown %q", got, err, shown.String())
	}
}
