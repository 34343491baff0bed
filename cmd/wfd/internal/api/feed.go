package api

import (
	"sort"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// A feed reads events in order, page by page. It is used by one goroutine.
type feed interface {
	// next returns the events that follow, none at the present end.
	next(limit int) ([]eventlog.Event, error)
	// at is the seq up to which events were read.
	at() eventlog.Seq
	// more reports whether there are events after at, as far as is known.
	more() bool
	// wait returns a channel that is closed when there may be more than there
	// was before the call.
	wait() <-chan struct{}
	// ended reports whether nothing more is to be expected by itself.
	ended() bool
	// tokens are the pieces of answers as they come; nil: none are wanted.
	tokens() <-chan engine.Token
	close()
}

// logFeed is the whole log.
type logFeed struct {
	o     Options
	after eventlog.Seq
}

func (f *logFeed) next(limit int) ([]eventlog.Event, error) {
	events, err := f.o.Log.ReadFrom(f.after, limit)
	if n := len(events); n > 0 {
		f.after = events[n-1].Seq
	}
	return events, err
}

func (f *logFeed) at() eventlog.Seq      { return f.after }
func (f *logFeed) more() bool            { return f.after < f.o.Log.Head() }
func (f *logFeed) wait() <-chan struct{} { return f.o.Commit() }
func (f *logFeed) ended() bool           { return false }
func (f *logFeed) close()                {}

func (f *logFeed) tokens() <-chan engine.Token { return nil }

// runFeed is the events of one run.
type runFeed struct {
	o       Options
	run     eventlog.RunID
	version eventlog.Version
	seq     eventlog.Seq
	last    eventlog.Kind // of the last event read
	changed func() <-chan struct{}
	pieces  <-chan engine.Token
	stop    func()
}

func newRunFeed(o Options, id eventlog.RunID, after eventlog.Seq, tokens bool) (*runFeed, error) {
	f := &runFeed{o: o, run: id, seq: after}
	if after > 0 {
		if err := f.seek(after); err != nil {
			return nil, err
		}
	}
	if o.Engine == nil { // the past: nothing more comes
		f.changed, f.stop = func() <-chan struct{} { return nil }, func() {}
		return f, nil
	}
	f.changed, f.stop = o.Engine.Watch(id)
	if tokens {
		pieces, end := o.Engine.Tokens(id)
		stop := f.stop
		f.pieces, f.stop = pieces, func() {
			stop()
			end()
		}
	}
	return f, nil
}

// seek finds the run's last version at or before a seq: both rise together.
func (f *runFeed) seek(after eventlog.Seq) (err error) {
	newest, err := f.o.Log.Version(f.run)
	if err != nil {
		return err
	}
	n := sort.Search(int(newest), func(i int) bool {
		events, e := f.o.Log.ReadRun(f.run, eventlog.Version(i), 1)
		if e != nil || len(events) == 0 {
			err = e
			return true
		}
		return events[0].Seq > after
	})
	f.version = eventlog.Version(n)
	if err == nil && n > 0 {
		var events []eventlog.Event
		if events, err = f.o.Log.ReadRun(f.run, f.version-1, 1); len(events) > 0 {
			f.last = events[0].Kind
		}
	}
	return err
}

func (f *runFeed) next(limit int) ([]eventlog.Event, error) {
	events, err := f.o.Log.ReadRun(f.run, f.version, limit)
	if n := len(events); n > 0 {
		f.version, f.seq, f.last = events[n-1].Version, events[n-1].Seq, events[n-1].Kind
	}
	return events, err
}

func (f *runFeed) at() eventlog.Seq { return f.seq }

func (f *runFeed) more() bool {
	v, err := f.o.Log.Version(f.run)
	return err == nil && v > f.version
}

func (f *runFeed) wait() <-chan struct{} { return f.changed() }

// ended reports whether the last event read is one that ends a run. What may
// follow it then (a late result, a name for a checkpoint) does not come by
// itself.
func (f *runFeed) ended() bool {
	if f.o.Engine == nil {
		return true
	}
	switch f.last {
	case event.KindRunCompleted, event.KindRunFailed, event.KindRunCancelled:
		return true
	case event.KindResultIgnored, event.KindCheckpointCreated, event.KindCheckpointPruned:
		row, err := f.o.Views.Run(noWait, f.run)
		return err == nil && row.Status.Terminal()
	}
	return false
}

func (f *runFeed) tokens() <-chan engine.Token { return f.pieces }

func (f *runFeed) close() { f.stop() }
