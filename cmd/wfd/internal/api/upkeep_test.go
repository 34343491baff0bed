package api

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
)

// Whatever stops a compaction, the answer says what it is and that it is not for the daemon
// to mend: none of it is an error inside.
func TestCompactProblems(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		slug   string
	}{
		{fmt.Errorf("archive: %w: no space left on device", eventlog.ErrFull), 507, "disk-full"},
		{&os.PathError{Op: "write", Path: "views.db.scrub", Err: syscall.ENOSPC}, 507, "disk-full"},
		{&os.PathError{Op: "open", Path: "next.tmp", Err: syscall.EROFS}, 503, "unwritable"},
		{&os.PathError{Op: "open", Path: "next.tmp", Err: syscall.EACCES}, 503, "unwritable"},
		{&os.PathError{Op: "open", Path: "next.tmp", Err: syscall.EPERM}, 503, "unwritable"},
		{&os.PathError{Op: "sync", Path: "1.db", Err: syscall.EIO}, 503, "unwritable"},
		{&os.PathError{Op: "open", Path: "1.db", Err: syscall.EMFILE}, 429, "busy"},
		{fmt.Errorf("an earlier erasure: %w", &eventlog.CorruptError{File: "log/1.db", Seq: 5}), 409, "refused"},
		{&eventlog.CorruptError{File: "log/1.db", Err: &os.PathError{Op: "open", Path: "1.db", Err: syscall.EIO}}, 503, "unwritable"},
		{fmt.Errorf("a compaction: %w", engine.ErrUnderWay), 409, "refused"},
		{fmt.Errorf("an earlier erasure: %w", eventlog.ErrStopped), 503, "stopped"},
		{fmt.Errorf("%w: sync", eventlog.ErrUnknown), 503, "outcome-unknown"},
	} {
		p := AsProblem(compactProblem(c.err))
		if p.Status != c.status || !p.OfType(c.slug) || p.Detail == "" || p.Hint == "" {
			t.Errorf("%v: %+v, want %d %s with a hint", c.err, p, c.status, c.slug)
		}
	}
	if err := compactProblem(nil); err != nil {
		t.Error(err)
	}
}
