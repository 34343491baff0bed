package eventlog

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// DefaultSegmentSize is what a segment grows to before the next one begins. A start
// checks and indexes the open one, 3 to 4 ms per MB of it; a run that is not in it is
// looked for in the filter of each of the others. See
// docs/adr/0033-segments-are-as-large-as-a-start-can-read.md.
const DefaultSegmentSize = 32 << 20

// Options for [Open]. The zero value is right for a daemon.
type Options struct {
	// SegmentSize is the size in bytes that a segment's file grows to, roughly:
	// the commit that passes 15/16 of it is the last one in the segment, and
	// the rest is for the index. 0 means DefaultSegmentSize.
	SegmentSize int64
	// OpenSegments is how many sealed segments are kept open at a time, for
	// reading. 0 means DefaultOpenSegments, or a quarter of the files that the process
	// may have open, if that is less.
	OpenSegments int
	// Zero writes zeros over the whole of a prepared segment once the log is
	// larger than one, which makes commits cheaper on file systems that
	// journal the allocation of blocks, and doubles what is written.
	Zero bool
	// ReadOnly opens an existing log for reading, together with other readers.
	// Nothing is created, repaired or sealed.
	ReadOnly bool
	// Keys open a log that is encrypted, and encrypt one that is not, from then on,
	// unless it is opened for reading. See [crypt.LoadKeys].
	Keys crypt.Keys
	// Quarantine opens a log though its open segment is damaged, and shuts off the
	// runs concerned: see [DB.Damage]. Without, that is an error.
	Quarantine bool
	// OnCommit is called after each durable commit with the new head, before
	// its appends return. It is called in the midst of writing and must not block, nor
	// call Append or Close.
	OnCommit func(head Seq)
	// Logger receives what an operator should know; nil discards it.
	Logger *slog.Logger
	// Failpoint is for tests: it is called with a name at each point listed at
	// [Failpoints], and an error it returns is taken for the disk's.
	Failpoint func(point string) error
}

// Failpoints are the points at which [Options.Failpoint] is called, and at
// which the environment variable WFD_FAILPOINT=name:N kills the process on the
// N-th passage. A point named before something fails with nothing done; a
// point named after something fails with it done.
var Failpoints = []string{
	"create.before-rename", // of a segment: complete under its temporary name
	"create.after-rename",
	"blob.before-write",
	"blob.before-rename",
	"blob.after-rename", // the blob is durable, its event not yet enqueued
	"commit.before",
	"commit.after", // on disk, nobody told
	"rotate.before-rename",
	"rotate.after-rename", // the segment has its name, catalog does not know
	"rotate.after-catalog",
	"seal.before",
	"seal.after-index", // in the segment, catalog does not know
	"seal.after-catalog",
	"sweep.before-remove",
	"archive.before-rename", // complete under its temporary name
	"archive.after-rename",
	"archive.before-remove",  // of one that was written anew
	"rewrite.before-catalog", // of a segment's new file: complete under its temporary name
	"rewrite.before-rename",  // the catalog has both digests
	"rewrite.after-rename",
}

func (o *Options) segmentSize() int64 {
	if o.SegmentSize <= 0 {
		return DefaultSegmentSize
	}
	return max(o.SegmentSize, 16*pageSize)
}

func (o *Options) openSegments() int {
	if o.OpenSegments > 0 {
		return o.OpenSegments
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur/4 >= DefaultOpenSegments {
		return DefaultOpenSegments
	}
	return max(1, int(files.Cur/4))
}

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}

// fail passes a failpoint.
func (o *Options) fail(point string) error {
	if o.Failpoint == nil {
		return nil
	}
	return o.Failpoint(point)
}

// Killpoint returns the Failpoint that WFD_FAILPOINT asks for, nil if it does not.
// [Open] asks by itself; this is for what has failpoints beside a DB.
func Killpoint() (func(string) error, error) {
	spec := os.Getenv("WFD_FAILPOINT")
	if spec == "" {
		return nil, nil
	}
	name, count, _ := strings.Cut(spec, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("WFD_FAILPOINT=%q: want name:N", spec)
	}
	var hits atomic.Int64
	return func(point string) error {
		if point == name && hits.Add(1) == n {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way: go no further
		}
		return nil
	}, nil
}
