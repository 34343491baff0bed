package projection

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// Errors of Views.
var (
	// ErrNotFound: there is no such run or definition.
	ErrNotFound = errors.New("not found")
	// ErrErased: what is asked for was erased.
	ErrErased = errors.New("its text was erased")
	// ErrClosed: the views were closed.
	ErrClosed = errors.New("views are closed")
)

// Options of Views. The zero value is good.
type Options struct {
	// Logger is told when views are thrown away and why. Default: slog.Default.
	Logger *slog.Logger
	// Ring has the data keys of the log, if it is encrypted: rows are sealed as events are.
	Ring *crypt.Ring
	// Interval is how long an event may wait for the next commit while nobody
	// reads. Default: one second.
	Interval time.Duration
}

// Views are the rows folded from a log. All methods may be called concurrently.
type Views struct {
	dir string
	log eventlog.Log
	opt Options

	// turn is held, as its one element, by whoever folds events; it guards
	// clean and holes.
	turn  chan struct{}
	clean bool // the marker says so: sync was called after the last commit
	holes bool // events were met that are lost

	// applied is the cursor of the committed rows: applied ≤ the log's head.
	applied atomic.Uint64

	mu    sync.RWMutex // guards store against being replaced while it is read
	store *store       // nil once closed

	bell    chan struct{} // has an element when events wait to be folded
	moved   sync.Mutex    // guards advance
	advance chan struct{} // closed, and replaced, at each doorbell

	service service
}

const viewsFile = "views.db"

// Open opens the views of log in dir, and creates them where they are missing
// or cannot be trusted; it does not wait for them to reach the log's head: see
// [Views.CatchUp]. The log must stay open as long as the views.
func Open(dir string, log eventlog.Log, opt Options) (*Views, error) {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.Interval == 0 {
		opt.Interval = time.Second
	}
	v := &Views{
		dir: dir, log: log, opt: opt,
		turn: make(chan struct{}, 1), bell: make(chan struct{}, 1), advance: make(chan struct{}),
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(dir, verifyDir+"*")) // by a Verify that a crash ended
	if err != nil {
		return nil, err
	}
	for _, name := range left {
		if err := os.RemoveAll(name); err != nil {
			return nil, err
		}
	}
	if err := os.Remove(filepath.Join(dir, scrubName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	size, err := fileSize(v.path())
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return opened(v, v.create())
	}
	clean, reason, err := readMarker(dir, v.ring().Seals())
	if err != nil {
		return nil, err
	}
	if reason == "" {
		v.clean = clean
		err := v.openFile()
		if err == nil {
			return v, nil
		}
		if !isUntrusted(err) {
			return nil, err
		}
		reason = err.Error()
	}
	return opened(v, v.discard(reason))
}

func opened(v *Views, err error) (*Views, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Views) ring() *crypt.Ring { return v.opt.Ring }

func (v *Views) path() string { return filepath.Join(v.dir, viewsFile) }

func allBuckets() []string {
	var names []string
	for _, v := range views {
		names = append(names, v.buckets()...)
	}
	return names
}

// Close stops the service and closes the file. It does not fold what the views
// have not seen; the next Open goes on from there.
func (v *Views) Close() error {
	v.Stop()
	v.turn <- struct{}{}
	defer func() { <-v.turn }()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.store == nil {
		return nil
	}
	s := v.store
	v.store = nil
	if !v.clean {
		if err := s.sync(); err != nil {
			s.abandon()
			return err
		}
	}
	if err := s.close(); err != nil {
		return err
	}
	if v.clean {
		return nil
	}
	// A crash before this leaves the marker dirty, which is true enough.
	v.clean = true
	return writeMarker(v.dir, s.sealed, true)
}

// Applied returns the sequence number of the last event that the rows have seen.
func (v *Views) Applied() eventlog.Seq { return eventlog.Seq(v.applied.Load()) }

// read runs fn on rows that have seen every event up to the log's head at the
// time of the call. fn may run twice and must not keep what it is given.
func (v *Views) read(ctx context.Context, fn func(*reader) error) error {
	for try := 0; ; try++ {
		if err := v.Flush(ctx); err != nil {
			return err
		}
		v.mu.RLock()
		s, err := v.store, ErrClosed
		if s != nil {
			err = s.view(fn)
		}
		v.mu.RUnlock()
		if !isDamage(err) || try == maxRepairs {
			return err
		}
		if err := v.inTurn(ctx, func() error { return v.repair(s, err) }); err != nil {
			return err
		}
	}
}

// maxRepairs is how often one call builds a damaged file anew before it gives
// up: a file that is damaged at once will be again.
const maxRepairs = 1

func (v *Views) inTurn(ctx context.Context, fn func() error) error {
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-v.turn }()
	return fn()
}
