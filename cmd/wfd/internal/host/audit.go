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
)

// signEvery is how often a daemon signs a log that has grown. What came after
// the last checkpoint is what somebody who can write to the disk could still
// change unseen; a signature is a millisecond and 300 bytes in checkpoints.txt.
const signEvery = time.Minute

// auditing is the auditor of a host's log: opened when it is first needed, and
// signing in the background if it was started. Nothing of it is on the way of an
// append, and no failure of it ends the daemon.
type auditing struct {
	dir  string
	log  *eventlog.DB
	slog *slog.Logger

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
		a, err := audit.Open(s.dir, s.log, audit.Options{Logger: s.slog})
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
