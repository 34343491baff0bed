package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// headerTime cuts off clients that drip their headers.
	headerTime = 5 * time.Second
	// idleTime is how long a connection is kept for the next request.
	idleTime = 2 * time.Minute
	// writeTime bounds an answer: the longest long poll, and time to send.
	// Streams set their own limit for each write.
	writeTime = 2 * time.Minute
	// drainTime is how long requests under way have to end at a shutdown. None
	// needs long: streams and long polls are told to end.
	drainTime = 10 * time.Second
	// failedReads is how long reads go on after the log has failed, so that
	// somebody who looks can see why.
	failedReads = 5 * time.Second
	// failedPoll is how often the engine is asked whether it has failed.
	failedPoll = 100 * time.Millisecond
)

// ErrFailed: the engine stopped by itself; only a fresh start decides what is
// stored.
var ErrFailed = errors.New("the log has failed")

// Serve serves the API until ctx ends, or until the engine fails: then reads go
// on for a while and the error is ErrFailed. The host is closed in the end.
func (h *Host) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{
		Handler: h.API, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, WriteTimeout: writeTime, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(h.slog.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	boss := supervisor{h}
	watched, unwatch := context.WithCancel(context.Background())
	defer unwatch()
	go boss.watch(watched)
	var why error
	started := make(chan error, 1)
	go func() { started <- h.Start(ctx) }()
	poll := time.NewTicker(failedPoll)
	defer poll.Stop()
	for why == nil {
		select {
		case err := <-started:
			started = nil
			if err != nil && ctx.Err() == nil {
				why = err
			}
			if err == nil {
				h.audit.start(signEvery)
				boss.ready()
			}
			continue
		case <-poll.C:
			if err := h.Engine.Failed(); err != nil {
				h.slog.Error("the log has failed; reads go on for a moment, then the daemon ends", "error", err, "in", failedReads)
				select {
				case <-time.After(failedReads):
				case <-ctx.Done():
				}
				why = fmt.Errorf("%w: %w", ErrFailed, err)
			}
			continue
		case why = <-served:
		case <-ctx.Done():
		}
		break
	}
	h.slog.Info("stopping")
	boss.stopping()
	h.API.Drain()
	down, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := s.Shutdown(down); err != nil {
		h.slog.Warn("requests under way are cut off", "error", err)
		s.Close()
	}
	if started != nil {
		<-started // Start ends with ctx, or has come to its end
	}
	if err := h.Close(); err != nil && why == nil {
		why = err
	}
	h.slog.Info("stopped")
	return why
}
