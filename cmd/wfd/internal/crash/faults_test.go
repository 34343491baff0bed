package crash

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

var (
	faults = flag.Int("faults", 1, "how many calls of each kind are made to fail under the daemon, in each way")
	cuts   = flag.Int("cuts", 3, "how often the power is cut under the daemon")
)

var unfinishedCheckpoint = regexp.MustCompile(`damaged: checkpoints\.txt: the \d+ bytes at the end are not a whole entry`)

// exitStorage is what a daemon ends with whose log has failed.
const exitStorage = 6

// strace returns a command line in which a system call of the daemon fails, and the file
// that tells of it.
func strace(t *testing.T, call, fault string) (wrap []string, trace string) {
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	trace = filepath.Join(t.TempDir(), "trace")
	wrap = []string{path, "-D", "-f", "-qq", "-o", trace, "-e", "trace=" + call, "-e", "inject=" + call + ":" + fault}
	if !strings.HasPrefix(fault, "signal=") { // which nobody would get where the filter stops them
		wrap = append(wrap, "--seccomp-bpf")
	}
	return wrap, trace
}

// injected reports whether a trace tells of a fault.
func injected(trace string) bool {
	b, _ := os.ReadFile(trace)
	return bytes.Contains(b, []byte("(INJECTED)")) || bytes.Contains(b, []byte("(DELAYED)"))
}

// At every call N of every kind that changes a disk the daemon is killed, or the call
// fails: while it starts, while clients are at work, while retention is. It ends as a
// crash does, says that its storage has failed, or goes on; and what it acknowledged is
// there whatever it was.
func TestFaultsUnderTheDaemon(t *testing.T) {
	t.Parallel()
	ways := []struct{ call, fault string }{
		{"pwrite64", "signal=KILL"}, {"pwrite64", "error=EIO"}, {"pwrite64", "error=ENOSPC"}, {"pwrite64", "delay_exit=20000"},
		{"fdatasync", "signal=KILL"}, {"fdatasync", "error=EIO"}, {"fdatasync", "error=ENOSPC"}, {"fdatasync", "delay_exit=50000"},
		{"fsync", "signal=KILL"}, {"fsync", "error=EIO"},
		{"ftruncate", "error=ENOSPC"}, {"renameat", "signal=KILL"}, {"renameat", "error=EIO"}, {"unlinkat", "signal=KILL"},
		{"openat", "error=EMFILE"}, {"mkdirat", "error=ENOSPC"},
	}
	s := newSite(t, 7)
	s.sick = true
	s.register(s.up())
	s.down()
	tried, met, killed, ended, failed := 0, 0, 0, 0, 0
	for i := range *faults {
		for j, w := range ways {
			// Near the beginning of the thread's calls, and further on.
			n := 1 + (i*7+j*3)%(4+i*9)
			if w.call == "openat" {
				n += 20 // before that the program itself is loaded
			}
			name := fmt.Sprintf("%s:%s:when=%d", w.call, w.fault, n)
			wrap, trace := strace(t, w.call, fmt.Sprintf("%s:when=%d", w.fault, n))
			d := launch(t, s.dir, s.replies, nil, wrap)
			s.daemon = d
			tried++
			if d.up() {
				s.client.use(d.addr)
				stop := s.clients(2, tried)
				select {
				case <-d.done:
				case <-time.After(300 * time.Millisecond):
				}
				stop()
			}
			if !d.ended() && !d.ready() {
				// Its log has stopped: reads go on for a while, then it ends.
				select {
				case <-d.done:
				case <-time.After(20 * time.Second):
					t.Fatalf("%s: the daemon is not ready, and does not end:\n%s", name, d.log)
				}
			}
			if d.ended() {
				ended++
				if code := d.cmd.ProcessState.ExitCode(); code == exitStorage {
					failed++
				} else if code == -1 && w.fault == "signal=KILL" {
					met++
					killed++
				} else if w.call != "openat" || code != 1 && code != exitLimits { // which may be of any file
					t.Fatalf("%s: the daemon ended with %d:\n%s", name, code, d.log)
				}
			}
			if injected(trace) {
				met++
			}
			s.down()
			if err := check(t, s.dir); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	s.end()
	if met*2 < tried || ended*4 < tried || killed == 0 || failed == 0 || s.book.count() < tried {
		t.Errorf("%d faults, %d met, %d ended the daemon, %d killed it, after %d it said that storage failed, %d acknowledgements: too few to mean anything", tried, met, ended, killed, failed, s.book.count())
	}
	t.Logf("%d faults, %d met, %d ended the daemon, %d of them killed it, %d acknowledgements", tried, met, ended, killed, s.book.count())
}

// end brings every run to its end and audits.
func (s *site) end() {
	s.t.Helper()
	s.client.use(s.up().addr)
	s.finish()
	s.down()
	if err := check(s.t, s.dir); err != nil {
		s.t.Fatal(err)
	}
	if err := errors.Join(s.audit(), errors.Join(s.wrong...)); err != nil {
		s.t.Fatal(err)
	}
}

// up starts a daemon with which nothing is wrong.
func (s *site) up() *daemon {
	s.daemon = startDaemon(s.t, s.dir, s.replies, "")
	return s.daemon
}

// down kills the daemon that is up.
func (s *site) down() {
	if s.daemon != nil {
		s.daemon.kill()
	}
}

// The power is cut under the daemon while clients are at work, and while it makes a
// backup of itself.
func TestPowerCutUnderTheDaemon(t *testing.T) {
	t.Parallel()
	s := newSite(t, 11)
	s.sick = true
	disk := eventlogtest.NewDisk(t, 256)
	s.dir = filepath.Join(disk.Dir, "data")
	for i := range *cuts {
		d := startDaemon(t, s.dir, s.replies, "")
		s.register(d)
		s.cutOff(disk, d, i, i%2 == 1)
		// A checkpoint that was cut short is named, too: the next start replaces it.
		if err := check(t, s.dir); err != nil && !(unfinishedCheckpoint.MatchString(err.Error()) && strings.Contains(err.Error(), ": 1 problem")) {
			t.Fatalf("cut %d: %v", i, err)
		}
	}
	s.end()
	if s.book.count() < *cuts {
		t.Errorf("%d acknowledgements before %d cuts: too few to mean anything", s.book.count(), *cuts)
	}
	t.Logf("%d cuts, %d acknowledgements", *cuts, s.book.count())
}

// cutOff has clients work for a while and cuts the power under them.
func (s *site) cutOff(disk *eventlogtest.Disk, d *daemon, round int, backup bool) {
	stop := s.clients(3, round)
	time.Sleep(time.Duration(150+s.rng.IntN(250)) * time.Millisecond)
	if backup {
		go s.client.call(http.MethodPost, "/v1/backup", "", "application/octet-stream", nil, nil) // cut off, most likely
		time.Sleep(time.Duration(s.rng.IntN(20)) * time.Millisecond)
	}
	disk.Cut()
	time.Sleep(5 * time.Millisecond) // what it says from here on it says of a disk that is gone
	d.kill()
	stop()
	disk.Restore()
}

// On a disk that lies about its syncs the same cuts lose what was acknowledged, or the
// daemon says that its log is not whole: else this finds nothing out.
func TestPowerCutUnderTheDaemonOfALyingDisk(t *testing.T) {
	lie, _ := strace(t, "fdatasync,fsync", "retval=0")
	disk := eventlogtest.NewDisk(t, 256)
	for i := range 10 {
		s := newSite(t, uint64(i))
		s.dir = filepath.Join(disk.Dir, fmt.Sprint("data", i))
		d := launch(t, s.dir, s.replies, nil, lie)
		if !d.up() {
			d.kill()
			continue
		}
		s.register(d)
		s.cutOff(disk, d, i, false)
		if s.book.count() == 0 {
			continue
		}
		if _, err := os.Stat(s.dir); err != nil {
			return // all of it is gone
		}
		if check(t, s.dir) != nil || s.audit() != nil {
			return
		}
	}
	t.Error("nothing is missing after power cuts on a disk that lies")
}

// With few files, and with files that may not grow, the daemon refuses what it cannot do
// and goes on with the rest; what it acknowledged is there.
func TestLimitsUnderTheDaemon(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	for name, limit := range map[string]string{"files": "ulimit -n 40", "file size": "ulimit -f 1200"} {
		s := newSite(t, 13)
		s.register(s.up())
		s.down()
		d := launch(t, s.dir, s.replies, nil, []string{sh, "-c", limit + `; exec "$@"`, "sh"})
		s.daemon = d
		if d.up() {
			s.client.use(d.addr)
			stop := s.clients(16, 0)
			s.awaits(10, d)
			select {
			case <-d.done:
			case <-time.After(1500 * time.Millisecond):
			}
			stop()
		}
		if d.ended() {
			if code := d.cmd.ProcessState.ExitCode(); code != exitStorage {
				t.Errorf("%s: the daemon ended with %d:\n%s", name, code, d.log)
			}
		}
		s.down()
		if s.book.count() < 10 {
			t.Errorf("%s: %d acknowledgements: too few to mean anything", name, s.book.count())
		}
		s.end()
	}
}
