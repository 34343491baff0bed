package projection

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
)

// Errors of Views.
var (
	// ErrNotFound: there is no such run or definition.
	ErrNotFound = errors.New("not found")
	// ErrClosed: the views were closed.
	ErrClosed = errors.New("views are closed")
)

// Options of Views. The zero value is good.
type Options struct {
	// Logger is told when views are thrown away and why. Default: slog.Default.
	Logger *slog.Logger
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
	// clean.
	turn  chan struct{}
	clean bool // the marker says so: sync was called after the last commit

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
	size, err := fileSize(v.path())
	if err != nil {
		return nil, err
	}
	if size == 0 {
		return v, v.create()
	}
	clean, reason, err := readMarker(dir)
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
	return v, v.discard(reason)
}

func (v *Views) path() string { return filepath.Join(v.dir, viewsFile) }

// errUntrusted marks a file that is sound and does not belong to this log or
// this build.
var errUntrusted = errors.New("views are of another making")

func isUntrusted(err error) bool { return isDamage(err) || errors.Is(err, errUntrusted) }

func allBuckets() []string {
	var names []string
	for _, v := range views {
		names = append(names, v.buckets()...)
	}
	return names
}

// openFile opens the file that is there if its rows belong to this log.
func (v *Views) openFile() error {
	size, err := fileSize(v.path())
	if err != nil {
		return err
	}
	s, err := openStore(v.path(), allBuckets())
	if err != nil {
		return err
	}
	var m meta
	err = s.view(func(r *reader) (err error) {
		m, err = r.readMeta()
		return err
	})
	if err == nil {
		err = v.belongs(m)
	}
	if err == nil && size <= walkBelow {
		err = s.checkSums(allBuckets())
	}
	if err != nil {
		s.abandon()
		return err
	}
	v.store = s
	v.applied.Store(m.cursor)
	return nil
}

// belongs compares a file's head with the log: the event at its cursor must be
// the one it has folded.
func (v *Views) belongs(m meta) error {
	if m.signature != signature() {
		return fmt.Errorf("%w: %q, not %q", errUntrusted, m.signature, signature())
	}
	if m.cursor == 0 {
		return nil
	}
	if head := uint64(v.log.Head()); m.cursor > head {
		return fmt.Errorf("%w: they stand at %d, the log ends at %d", errUntrusted, m.cursor, head)
	}
	at, err := v.log.ReadFrom(eventlog.Seq(m.cursor-1), 1)
	if err != nil {
		return err
	}
	if len(at) == 0 || fingerprint(at[0]) != m.print {
		return fmt.Errorf("%w: event %d of the log is not the one they have seen", errUntrusted, m.cursor)
	}
	return nil
}

// fingerprint tells an event from any other, in whatever log it is; it is the
// same after the event's payload was erased.
func fingerprint(e eventlog.Event) uint64 {
	b := binary.BigEndian.AppendUint64(nil, uint64(e.Seq))
	b = append(b, e.Run[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Version))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Append))
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:])
}

// create makes an empty file.
func (v *Views) create() error {
	// Dirty first: a file without a marker is not trusted, and one half made
	// does not pass the checks when it is opened.
	if err := writeMarker(v.dir, false); err != nil {
		return err
	}
	s, err := openStore(v.path(), allBuckets())
	if err != nil {
		return err
	}
	err = s.update(func(w *writer) error {
		w.meta.signature = signature()
		return nil
	})
	if err != nil {
		s.abandon()
		return err
	}
	v.clean, v.store = false, s
	v.applied.Store(0)
	return nil
}

// discard puts the file aside and begins a new one.
func (v *Views) discard(reason string) error {
	v.opt.Logger.Warn("views are built anew from the log", "reason", reason, "events", v.log.Head())
	if err := os.Rename(v.path(), v.path()+".discarded"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return v.create()
}

// repair replaces the file after damage was met in s. The rows are then those of
// an empty log until the next catch-up.
func (v *Views) repair(s *store, cause error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.store == nil {
		return ErrClosed
	}
	if v.store != s {
		return nil // someone else has
	}
	s.abandon()
	if err := v.discard(cause.Error()); err != nil {
		return errors.Join(cause, err)
	}
	return nil
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
	return writeMarker(v.dir, true)
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
