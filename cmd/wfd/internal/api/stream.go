package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	// streamWrite is how long a client may take for one write. A slower one is
	// dropped: it costs a connection and its buffers, and resumes where it was.
	streamWrite = 10 * time.Second
	// streamBeat is how often a stream without events says that it is alive, so
	// that proxies keep it and a client that has gone is noticed.
	streamBeat = 15 * time.Second
	// streamPage is how many events are read at once.
	streamPage = 200
	// streamBuffer is how much is gathered for one write, but for an event that is larger
	// by itself. A client that does not read keeps it until it is dropped.
	streamBuffer = 32 << 10
)

// noWait is for look-ups that take no time worth cancelling.
var noWait = context.Background()

// A framing is how a stream writes events.
type framing interface {
	media() string
	follows() bool // without being told
	event(b *bytes.Buffer, v *event.View) error
	problem(b *bytes.Buffer, p *Problem)
	token(b *bytes.Buffer, t *engine.Token) error
	beat() string
}

type sse struct{}

func (sse) media() string { return "text/event-stream" }
func (sse) follows() bool { return true }
func (sse) beat() string  { return ":\n\n" }
func (sse) event(b *bytes.Buffer, v *event.View) error {
	data, err := json.Marshal(v)
	fmt.Fprintf(b, "id: %d\nevent: %s\ndata: %s\n\n", v.Seq, v.Kind, data)
	return err
}
func (sse) problem(b *bytes.Buffer, p *Problem) {
	data, _ := json.Marshal(p) // of plain fields
	fmt.Fprintf(b, "event: problem\ndata: %s\n\n", data)
}

// token has no id: a client that comes back asks for what follows the last event.
func (sse) token(b *bytes.Buffer, t *engine.Token) error {
	data, err := json.Marshal(t)
	fmt.Fprintf(b, "event: token\ndata: %s\n\n", data)
	return err
}

type ndjson struct{}

func (ndjson) media() string { return "application/x-ndjson" }
func (ndjson) follows() bool { return false }
func (ndjson) beat() string  { return "\n" } // an empty line, which readers of NDJSON skip
func (ndjson) event(b *bytes.Buffer, v *event.View) error {
	return json.NewEncoder(b).Encode(v)
}
func (ndjson) token(b *bytes.Buffer, t *engine.Token) error {
	return json.NewEncoder(b).Encode(struct {
		Kind string        `json:"kind"`
		Data *engine.Token `json:"data"`
	}{"token", t})
}
func (ndjson) problem(b *bytes.Buffer, p *Problem) { json.NewEncoder(b).Encode(p) }

// stream answers with events as they come, and with the pieces of answers between
// them if the feed has any. resumed is set where a client has
// come back: there being nothing more for it, 204 tells it to stay away.
func (a *API) stream(f feed, wanted func(eventlog.Kind) bool, form framing, follow string, resumed bool) (*huma.StreamResponse, error) {
	select {
	case a.streams <- struct{}{}:
	default:
		f.close()
		p := problem("busy", fmt.Sprintf("%d streams are open already", maxStreams), "close some, or read pages")
		p.retryAfter = "5"
		return nil, p
	}
	if follow == "" && !form.follows() {
		follow = "false"
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer func() { <-a.streams }()
		defer f.close()
		r, w := humago.Unwrap(hc)
		if resumed && follow == "" && f.ended() && !f.more() {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		ctx, cancel := a.until(r.Context())
		defer cancel()
		s := &streamer{w: w, rc: http.NewResponseController(w), form: form}
		s.rc.SetReadDeadline(time.Time{}) // in a process of its own there is none to lift
		w.Header().Set("Content-Type", form.media())
		w.WriteHeader(http.StatusOK)
		if err := s.run(ctx, f, wanted, follow); err != nil && ctx.Err() == nil {
			a.o.Logger.Info("a stream was dropped", "after", f.at(), "error", err)
		}
	}}, nil
}

type streamer struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	form framing
	buf  bytes.Buffer
}

// run writes until the end, the client's going, or ctx.
func (s *streamer) run(ctx context.Context, f feed, wanted func(eventlog.Kind) bool, follow string) error {
	if err := s.flush(); err != nil { // the headers
		return err
	}
	for {
		more := f.wait() // before the look: what comes after it is not missed
		events, err := f.next(streamPage)
		for i := range events {
			if err != nil || !wanted(events[i].Kind) {
				continue
			}
			var v event.View
			if v, err = event.ViewOf(events[i]); err == nil {
				err = s.form.event(&s.buf, &v)
			}
			if err == nil && s.buf.Len() >= streamBuffer {
				events[i] = eventlog.Event{} // a write may take long: what is written is let go
				v = event.View{}
				if err := s.flush(); err != nil {
					return err
				}
			}
		}
		if err != nil {
			s.form.problem(&s.buf, AsProblem(err))
			s.flush() // the connection ends either way
			return err
		}
		if err := s.flush(); err != nil {
			return err
		}
		if len(events) > 0 {
			continue
		}
		if follow == "false" || follow != "always" && f.ended() {
			return nil
		}
		if err := s.rest(ctx, more, f.tokens()); err != nil {
			return err
		}
	}
}

// rest waits for more, shows the pieces of answers that come, and keeps the connection
// alive meanwhile. A client that is slow to take them loses pieces, see engine.Tokens.
func (s *streamer) rest(ctx context.Context, more <-chan struct{}, tokens <-chan engine.Token) error {
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for {
		select {
		case <-more:
			return s.tokens(tokens, nil) // before what they have become
		case t := <-tokens:
			if err := s.tokens(tokens, &t); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			s.buf.WriteString(s.form.beat())
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
}

// tokens writes a piece, if there is one, and those that have come by now.
func (s *streamer) tokens(tokens <-chan engine.Token, t *engine.Token) error {
	for {
		if t != nil {
			if err := s.form.token(&s.buf, t); err != nil {
				return err
			}
		}
		select {
		case next := <-tokens:
			t = &next
		default:
			return s.flush()
		}
	}
}

func (s *streamer) flush() error {
	s.rc.SetWriteDeadline(time.Now().Add(streamWrite)) // in a process of its own there is none
	if s.buf.Len() > 0 {
		if _, err := s.w.Write(s.buf.Bytes()); err != nil {
			return err
		}
		if s.buf.Reset(); s.buf.Cap() > 2*streamBuffer {
			s.buf = bytes.Buffer{}
		}
	}
	return s.rc.Flush()
}
