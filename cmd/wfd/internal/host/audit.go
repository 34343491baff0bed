package host

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/projection/event"
)

// signEvery is how often a daemon signs a log that has grown. What came after
// the last checkpoint is what somebody who can write to the disk could still
// change unseen; a signature is a millisecond and 300 bytes in checkpoints.txt.
const signEvery = time.Minute

// auditing is the auditor of a host's log: opened when it is first needed, and
// signing in the background if it was started. Nothing of it is on the way of an
// append, and no failure of it ends the daemon.
type auditing struct {
	dir    string
	log    *eventlog.DB
	slog   *slog.Logger
	record func(context.Context, event.Payload, string) (eventlog.Seq, error) // into the stream of the log's custody

	mu      sync.Mutex
	auditor *audit.Auditor // nil until it could be opened

	stop func() // nil: not started. Ends the background signing, and waits.
	told string // the failure that the operator was told of
}

// Auditor returns the auditor of the log. What kept it from being opened may
// have been put right since: each call tries again.
func (s *auditing) Auditor() (*audit.Auditor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.auditor == nil {
		a, err := audit.Open(s.dir, s.log, audit.Options{Announced: s.announced, Logger: s.slog})
		if err != nil {
			return nil, err
		}
		s.auditor = a
	}
	return s.auditor, nil
}

// Rotations returns the content of audit.keys.
func (s *auditing) Rotations() ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "audit.keys"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Rotate makes a new key. The event that says so is written before the key is the
// log's: whatever comes between, the two are brought together.
func (s *auditing) Rotate(ctx context.Context, actor, reason string) error {
	a, err := s.Auditor()
	if err != nil {
		return err
	}
	_, err = a.Rotate(func(r audit.Rotation) error {
		p := &event.KeyRotated{Number: r.Number, From: r.From, To: r.To, At: eventlog.Seq(r.At), Reason: reason}
		_, err := s.record(ctx, p, actor)
		return err
	})
	return err
}

// announced returns what the log says of the rotation to a key, the last word first.
func (s *auditing) announced(to string) (*audit.Rotation, error) {
	last, err := s.log.Version(event.Custody)
	if err != nil {
		return nil, err
	}
	for ; last > 0; last-- {
		e, err := s.log.ReadRun(event.Custody, last-1, 1)
		if err != nil {
			return nil, err
		}
		if r := api.Announced(e[0].Kind, e[0].Payload); r != nil && r.To == to {
			return r, nil
		}
	}
	return nil, nil
}

// start signs now, so that a log that is not what was signed for is noticed at
// once, and then at intervals, until stop.
func (s *auditing) start(every time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.stop = func() { cancel(); <-done }
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			s.sign()
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// close ends the background signing and, if the log is whole, signs a last time.
// Nothing is appended any more.
func (s *auditing) close(whole bool) {
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	if whole {
		s.sign()
	}
}

// sign signs what is new. A failure is told once, and again when it is another.
func (s *auditing) sign() {
	if s.log.Head() == 0 {
		return
	}
	a, err := s.Auditor()
	if err == nil {
		_, _, err = a.Sign()
	}
	if err == nil {
		if s.told != "" {
			s.slog.Info("the log is signed again")
		}
		s.told = ""
		return
	}
	hint := api.AuditHint(err)
	failure := hint // the error counts the events that are missing, which changes
	if hint == "" {
		failure = err.Error()
	}
	if s.told == failure {
		return
	}
	s.told = failure
	if hint != "" {
		s.slog.Error("the log is not what was signed for, so that no checkpoint is signed; the daemon goes on", "error", err, "hint", hint)
		return
	}
	s.slog.Error("no checkpoint could be signed; the daemon goes on and tries again", "error", err)
}
