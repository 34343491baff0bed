package eventlog_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

var faults = flag.Int("faults", 3, "how many calls of each kind are made to fail, in each way")

// TestScenarioChild appends to a log that is young enough to be created, to rotate and
// to seal, until an error, and says what was acknowledged.
func TestScenarioChild(t *testing.T) {
	dir := os.Getenv("EVENTLOG_SCENARIO_DIR")
	if dir == "" {
		t.Skip("runs as a child under strace")
	}
	out := os.NewFile(3, "acks")
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		fmt.Fprintln(out, "open", err)
		return
	}
	for i := range 50 {
		head := d.Head()
		if n, err := fillSome(d, i, 1); n == 0 {
			fmt.Fprintln(out, "error", err)
			break
		}
		fmt.Fprintln(out, "ack", uint64(head)+1, 3, i+1, eventlogtest.RunNo(i%5+1))
	}
	fmt.Fprintln(out, "closed", d.Close())
}

// At every call N of every kind that changes a disk the process is killed, or the call
// fails in every way that it can. What was acknowledged is there afterwards, and the
// log is whole.
func TestEverySystemCall(t *testing.T) {
	processes(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	ways := map[string][]string{
		"pwrite64":  {"signal=KILL", "error=EIO", "error=ENOSPC", "delay_exit=20000"},
		"fdatasync": {"signal=KILL", "error=EIO", "error=ENOSPC", "delay_exit=20000"},
		"fsync":     {"signal=KILL", "error=EIO"},
		"ftruncate": {"signal=KILL", "error=EIO", "error=ENOSPC"},
		"renameat":  {"signal=KILL", "error=EIO", "error=ENOSPC"},
		"unlinkat":  {"signal=KILL", "error=EIO"},
		"openat":    {"signal=KILL", "error=EMFILE"},
	}
	var tried, hit, acked atomic.Int64
	t.Run("call", func(t *testing.T) {
		for call, how := range ways {
			for _, way := range how {
				t.Run(call+":"+way, func(t *testing.T) {
					t.Parallel()
					for i := range *faults {
						// Spread over the scenario: near its beginning, and further on.
						n := 1 + i
						switch call {
						case "pwrite64", "fdatasync": // of which there are many
							n += i * i * 3 % 120
						case "openat":
							n += 12 // before that the program itself is loaded
						}
						met, acks := fails(t, strace, fmt.Sprintf("%s:%s:when=%d", call, way, n))
						tried.Add(1)
						if met {
							hit.Add(1)
						}
						acked.Add(int64(acks))
					}
				})
			}
		}
	})
	if hit.Load()*6 < tried.Load() || acked.Load() < tried.Load() {
		t.Errorf("%d faults, %d of which were met, %d acknowledgements: too few to mean anything", tried.Load(), hit.Load(), acked.Load())
	}
	t.Logf("%d faults, %d met, %d acknowledgements", tried.Load(), hit.Load(), acked.Load())
}

// fails runs a scenario with a fault, and verifies what it leaves. It returns whether the
// fault was met, and how many appends were acknowledged.
func fails(t *testing.T, strace, inject string) (met bool, acked int) {
	dir := filepath.Join(t.TempDir(), "data")
	text, err := scenario(t, strace, dir, inject)
	acks := acksIn(text)
	if strings.Contains(text, "closed") && !strings.Contains(text, "closed <nil>") {
		t.Errorf("%s: %s", inject, text)
	}
	if _, err := os.Stat(dir); err == nil {
		verifyAcks(t, dir, acks)
	}
	if t.Failed() {
		t.Fatalf("%s:\n%s", inject, text)
	}
	return err != nil || strings.Contains(text, "error") || strings.Contains(text, "open "), len(acks)
}

// A process whose writes are swallowed acknowledges what is not there: a check of
// acknowledgements that does not notice checks nothing.
func TestSwallowedWrites(t *testing.T) {
	processes(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	dir := filepath.Join(t.TempDir(), "data")
	text, _ := scenario(t, strace, dir, "pwrite64:retval=4096:when=20+1")
	acks := acksIn(text)
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		return // damage, and it is named
	}
	defer d.Close()
	if events, err := eventlogtest.All(d, 1000); err == nil && missing(events, acks) == nil && len(acks) > 5 {
		t.Errorf("writes were swallowed, and all of %d acknowledged appends are there", len(acks))
	}
}

// scenario runs TestScenarioChild with a fault and returns what it said.
func scenario(t *testing.T, strace, dir, inject string) (string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	call, _, _ := strings.Cut(inject, ":")
	cmd := exec.CommandContext(t.Context(), strace, "-D", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace="+call, "-e", "inject="+inject,
		os.Args[0], "-test.run=^TestScenarioChild$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "EVENTLOG_SCENARIO_DIR="+dir)
	cmd.ExtraFiles = []*os.File{w}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	text, _ := io.ReadAll(r)
	return string(text), cmd.Wait()
}
