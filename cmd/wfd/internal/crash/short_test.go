package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limitFiles has a process write no file beyond a position: the write that crosses it is
// short, with what is before the position really written, and the next one fails.
func limitFiles(t *testing.T, pid int, bytes uint64) {
	l := unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &l, nil); err != nil {
		t.Skipf("the limits of another process cannot be set here: %v", err)
	}
}

// written matches a write in a trace: how much was asked for, and how much was done.
var written = regexp.MustCompile(`pwrite64\(.*, (\d+), \d+\) += (\d+)`)

// shortWrites counts the writes of a trace that did a part of what they were to do.
func shortWrites(trace string) (n int) {
	b, _ := os.ReadFile(trace)
	for _, m := range written.FindAllSubmatch(b, -1) {
		asked, _ := strconv.Atoi(string(m[1]))
		done, _ := strconv.Atoi(string(m[2]))
		if 0 < done && done < asked {
			n++
		}
	}
	return n
}

// openSegment returns the file that a log appends to, and its size.
func openSegment(dir string) (name string, size int64) {
	names, _ := filepath.Glob(filepath.Join(dir, "log", "*.db"))
	for _, n := range names {
		if fi, err := os.Stat(n); err == nil && n > name {
			name, size = n, fi.Size()
		}
	}
	return name, size
}

// Writes of the daemon end in the middle: in the middle of a page, of a commit, of the file
// that is written to or of one beside it, at other places each time. The commit is refused,
// or the daemon says that its storage has failed; when files may grow again it goes on by
// itself. What it acknowledged is there, once, and nothing is torn.
func TestShortWritesUnderTheDaemon(t *testing.T) {
	t.Parallel()
	s := newSite(t, 29)
	s.register(s.up())
	s.down()
	rounds := 2 * *faults
	short, ended, back := 0, 0, 0
	for i := range rounds {
		wrap, trace := traceWrites(t)
		d := launch(t, s.dir, s.replies, nil, wrap)
		s.daemon = d
		if !d.up() {
			t.Fatalf("round %d: the daemon does not come up:\n%s", i, d.log)
		}
		s.client.use(d.addr)
		stop := s.clients(3, i)
		s.awaits(s.book.count()+5, d)
		for range 3 {
			_, size := openSegment(s.dir)
			at := 1 + s.rng.Int64N(max(size, 2)) // most of the file is room that is not used yet
			if s.rng.IntN(2) == 0 {
				at = 1 + s.rng.Int64N(max(size/4, 2))
			}
			limitFiles(t, d.cmd.Process.Pid, uint64(at))
			pause(d, time.Duration(30+s.rng.IntN(60))*time.Millisecond)
			limitFiles(t, d.cmd.Process.Pid, unix.RLIM_INFINITY)
			pause(d, 50*time.Millisecond)
		}
		if !d.ended() && d.up() {
			for acks, end := s.book.count(), time.Now().Add(2*time.Minute); s.book.count() < acks+3 && !d.ended(); pause(d, 5*time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("round %d: it says that it is ready, and acknowledges nothing:\n%s", i, d.log)
				}
			}
			back++
		}
		stop()
		if d.ended() {
			ended++
			if code := d.cmd.ProcessState.ExitCode(); code != exitStorage {
				t.Fatalf("round %d: the daemon ended with %d:\n%s", i, code, d.log)
			}
		}
		s.down()
		if err := check(t, s.dir); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		short += shortWrites(trace)
	}
	s.end()
	if short < rounds || back == 0 || s.book.count() < 6*rounds {
		t.Errorf("%d rounds, %d short writes, %d times it went on, %d acknowledgements: too few to mean anything", rounds, short, back, s.book.count())
	}
	t.Logf("%d rounds, %d short writes, the daemon went on after %d rounds and ended in %d, %d acknowledgements", rounds, short, back, ended, s.book.count())
}

// traceWrites returns a command line that leaves the daemon alone, and the file that tells
// of its writes.
func traceWrites(t *testing.T) (wrap []string, trace string) {
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	trace = filepath.Join(t.TempDir(), "trace")
	return []string{path, "-D", "-f", "-qq", "-s", "0", "-o", trace, "-e", "trace=pwrite64", "--seccomp-bpf"}, trace
}

// pause waits, unless the daemon ends.
func pause(d *daemon, how time.Duration) {
	select {
	case <-d.done:
	case <-time.After(how):
	}
}

// On a disk that says of short writes that they were whole, what is stored is not what was
// acknowledged, and that is found out: else the test above finds nothing out.
func TestNoticesLossOfShortWrites(t *testing.T) {
	for i := range 10 {
		s := newSite(t, uint64(41+i))
		s.register(s.up())
		s.down()
		wrap, trace := strace(t, "pwrite64", fmt.Sprintf("retval=4096:when=%d+3", 5+i))
		d := launch(t, s.dir, s.replies, nil, wrap)
		s.daemon = d
		if d.up() {
			s.client.use(d.addr)
			stop := s.clients(2, i)
			pause(d, 500*time.Millisecond) // it may acknowledge nothing any more, and not end
			stop()
		}
		s.down()
		if injected(trace) && (check(t, s.dir) != nil || s.audit() != nil) {
			return
		}
	}
	t.Error("nothing is missing after writes that were not done")
}
