package otlp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/wfd-dev/wfd/engine/trace"
	"github.com/wfd-dev/wfd/eventlog"
)

const (
	// page is how many events are read at once, and batch how many spans are sent.
	page  = 512
	batch = 512
	// maxBehind is how many events the follower may be behind the log. What is further
	// behind is passed over, and counted.
	maxBehind = 1 << 18
	// maxOpen bounds the runs whose spans are begun; others are begun anew from the log.
	maxOpen = 4096
	// again is how long it waits after the other side has failed for good.
	again = 5 * time.Second
	// lastTime is how long what is left may take at the end.
	lastTime = 3 * time.Second
)

// Log is what is followed.
type Log interface {
	trace.Source
	Head() eventlog.Seq
	ReadFrom(after eventlog.Seq, limit int) ([]eventlog.Event, error)
}

// Options of a Follower.
type Options struct {
	Endpoint string // URL
	Content  bool   // prompts, answers and messages too
	Version  string
	File     string                 // where it remembers how far it has come
	Next     func() <-chan struct{} // closed at the next commit
	Logger   *slog.Logger
}

// Follower sends the spans of what is committed.
type Follower struct {
	log    Log
	o      Options
	client otlptrace.Client
	runs   runs
	after  eventlog.Seq // what was sent, or passed over

	sent, dropped atomic.Uint64 // spans; events that were passed over
	failed        atomic.Uint64 // requests, with all that were repeated of each
	behind        atomic.Uint64 // events

	stop context.CancelFunc
	done sync.WaitGroup
}

// Start begins to follow a log from where a former process had come, or else from its
// end.
func Start(log Log, o Options) (*Follower, error) {
	client, err := dial(o.Endpoint)
	if err != nil {
		return nil, err
	}
	f := &Follower{log: log, o: o, client: client, runs: runs{log: log, content: o.Content, open: map[eventlog.RunID]*builder{}}}
	if f.after, err = f.remembered(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := client.Start(ctx); err != nil {
		cancel()
		return nil, err
	}
	f.stop = cancel
	f.done.Go(func() { f.follow(ctx) })
	return f, nil
}

// Stop sends what is left, if that goes quickly, and ends.
func (f *Follower) Stop() {
	f.stop()
	f.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), lastTime)
	defer cancel()
	f.catchUp(ctx)
	f.client.Stop(ctx)
}

// Counts returns how many spans were sent, how many times the other side took none of
// them, how many events were passed over, and how many are still to be looked at.
func (f *Follower) Counts() (sent, failed, dropped, behind uint64) {
	return f.sent.Load(), f.failed.Load(), f.dropped.Load(), f.behind.Load()
}

func (f *Follower) follow(ctx context.Context) {
	said := false
	for ctx.Err() == nil {
		next := f.o.Next()
		err := f.catchUp(ctx)
		if err == nil {
			said = false
			select {
			case <-next:
			case <-ctx.Done():
			}
			continue
		}
		if ctx.Err() == nil && !said {
			said = true
			f.o.Logger.Warn("traces are not sent; this is tried again", "endpoint", f.o.Endpoint, "error", err)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
		}
	}
}

// catchUp sends the spans of all that is in the log. If we crash before the place is
// remembered the same spans are sent again.
func (f *Follower) catchUp(ctx context.Context) error {
	for {
		head := f.log.Head()
		if f.after > head {
			f.after = head // another log
		}
		f.behind.Store(uint64(head - f.after))
		if head-f.after > maxBehind {
			f.dropped.Add(uint64(head - f.after - maxBehind))
			f.after = head - maxBehind
			clear(f.runs.open)
		}
		events, err := f.log.ReadFrom(f.after, page)
		if err != nil || len(events) == 0 {
			return err
		}
		var spans []*tracepb.Span
		for _, e := range events {
			spans = append(spans, f.spansOf(e)...)
		}
		for len(spans) > 0 {
			n := min(batch, len(spans))
			if err := f.client.UploadTraces(ctx, resource(spans[:n], f.o.Version)); err != nil {
				clear(f.runs.open) // they are built anew
				f.failed.Add(1)
				return err
			}
			f.sent.Add(uint64(n))
			spans = spans[n:]
		}
		f.after = events[len(events)-1].Seq
		f.remember()
	}
}

// spansOf returns the spans that have ended with an event. One that cannot be read is
// passed over: whoever looks at its run is told.
func (f *Follower) spansOf(e eventlog.Event) []*tracepb.Span {
	spans, err := f.runs.apply(e)
	if err != nil {
		f.dropped.Add(1)
		f.o.Logger.Debug("an event is in no trace", "run", e.Run.String(), "seq", e.Seq, "error", err)
	}
	return spans
}

// remembered returns how far a former process had come.
func (f *Follower) remembered() (eventlog.Seq, error) {
	b, err := os.ReadFile(f.o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return f.log.Head(), nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil { // cut off by a crash: it is a cache
		return f.log.Head(), nil
	}
	return eventlog.Seq(n), nil
}

// remember is not synced: what is lost of it is sent again.
func (f *Follower) remember() {
	tmp := f.o.File + ".tmp"
	err := os.WriteFile(tmp, fmt.Appendf(nil, "%d\n", f.after), 0o600)
	if err == nil {
		err = os.Rename(tmp, f.o.File)
	}
	if err != nil {
		f.o.Logger.Debug("the place in the log is not remembered", "error", err)
	}
}

// runs has a builder for each run whose events come.
type runs struct {
	log     trace.Source
	content bool
	open    map[eventlog.RunID]*builder
}

// apply takes an event of any run.
func (r *runs) apply(e eventlog.Event) ([]*tracepb.Span, error) {
	if e.Run.IsSystem() {
		return nil, nil
	}
	b := r.open[e.Run]
	if b == nil {
		b = &builder{id: e.Run, content: r.content, open: map[visit]*attempt{}}
		if err := b.reach(r.log, e.Version); err != nil {
			return nil, err
		}
		if len(r.open) >= maxOpen {
			for id := range r.open { // any: it is built anew when it goes on
				delete(r.open, id)
				break
			}
		}
		r.open[e.Run] = b
	}
	if e.Version <= b.at {
		return nil, nil
	}
	spans, err := b.apply(r.log, e)
	for _, s := range spans {
		if len(s.ParentSpanId) == 0 || string(s.SpanId) == string(rootOf(e.Run)) {
			delete(r.open, e.Run)
		}
	}
	if b.place.Unsampled { // whoever began the trace wants none of it
		return nil, err
	}
	return spans, err
}

func rootOf(id eventlog.RunID) []byte {
	s := trace.OfRun(id)
	return s[:]
}

// reach brings a builder to where version is the next one. What ended before is not sent.
func (b *builder) reach(log trace.Source, version eventlog.Version) error {
	for b.at+1 < version {
		events, err := log.ReadRun(b.id, b.at, int(min(page, version-b.at-1)))
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return fmt.Errorf("run %s has no event %d", b.id, b.at+1)
		}
		for _, e := range events {
			if _, err := b.apply(log, e); err != nil {
				return err
			}
		}
	}
	return nil
}
