package api

import (
	"context"
	"io"
	"net/http"
)

// Inside returns a transport that calls a handler in this process. Requests are made
// by actor and pass without a token; with no actor they are let in as those from outside.
func Inside(h http.Handler, actor string) http.RoundTripper { return inside{h, actor} }

// inside is a transport that calls a handler instead of a socket.
type inside struct {
	handler http.Handler
	actor   string
}

// RoundTrip runs the handler in a goroutine and returns with its headers; the
// body is read as the handler writes it. Closing the body ends the request.
func (t inside) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(r.Context())
	if t.actor != "" {
		ctx = WithActor(ctx, t.actor)
	}
	r = r.Clone(ctx)
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, write := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: write, begun: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.handler.ServeHTTP(w, r)
		w.WriteHeader(http.StatusOK)
		write.Close()
	}()
	<-w.begun // a handler that hangs does so with its context
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &pipeBody{body, cancel, done}, ContentLength: -1, Request: r,
	}, nil
}

// pipeWriter is the ResponseWriter of one request. Only the handler uses it.
type pipeWriter struct {
	header http.Header
	sent   http.Header // header as it was when it went out
	status int
	body   *io.PipeWriter
	begun  chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	}
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush has nothing to do: every write goes out at once.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }

type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   <-chan struct{}
}

// Close ends the request and waits for its handler.
func (b *pipeBody) Close() error {
	b.cancel()
	err := b.PipeReader.Close()
	<-b.done
	return err
}
