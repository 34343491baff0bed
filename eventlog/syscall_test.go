package eventlog_test

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	made := madeCalls(t, strace)
	// Of those that are rare each call fails, and the others share what is left.
	rarest := slices.SortedFunc(maps.Keys(ways), func(a, b string) int {
		return cmp.Or(len(made[a])-len(made[b]), cmp.Compare(a, b))
	})
	left, share := 0, map[string]int{}
	for _, how := range ways {
		left += len(how)
	}
	for budget, at := *faults*left, 0; at < len(rarest); at++ {
		call := rarest[at]
		share[call] = min(len(made[call]), budget/left)
		budget -= share[call] * len(ways[call])
		left -= len(ways[call])
	}
	var tried, hit, killed, acked atomic.Int64
	t.Run("call", func(t *testing.T) {
		for call, how := range ways {
			for j, way := range how {
				t.Run(call+":"+way, func(t *testing.T) {
					t.Parallel()
					for i := range share[call] {
						// Spread over the scenario, each way at other calls.
						all := made[call]
						n := all[(i*len(how)+j)*len(all)/(share[call]*len(how))]
						met, acks := fails(t, strace, fmt.Sprintf("%s:%s:when=%d", call, way, n))
						tried.Add(1)
						if met {
							hit.Add(1)
							if way == "signal=KILL" {
								killed.Add(1)
							}
						}
						acked.Add(int64(acks))
					}
				})
			}
		}
	})
	if hit.Load()*2 < tried.Load() || killed.Load()*10 < tried.Load() || acked.Load() < tried.Load() {
		t.Errorf("%d faults, %d of which were met, %d killed, %d acknowledgements: too few to mean anything", tried.Load(), hit.Load(), killed.Load(), acked.Load())
	}
	t.Logf("%d faults, %d met, %d of them killed, %d acknowledgements", tried.Load(), hit.Load(), killed.Load(), acked.Load())
}

// madeCalls returns which calls of each kind concern the log when the scenario is left
// alone, by what strace counts: the calls of one kind of one thread.
func madeCalls(t *testing.T, strace string) map[string][]int {
	dir := filepath.Join(onMemory(t), "data")
	text, trace, err := scenario(t, strace, dir, "pwrite64,fdatasync,fsync,ftruncate,renameat,unlinkat,openat", "")
	if err != nil || !strings.Contains(text, "closed <nil>") {
		t.Fatalf("the scenario fails without a fault: %v\n%s", err, text)
	}
	counts, made := map[string]int{}, map[string][]int{}
	for _, m := range regexp.MustCompile(`(?m)^(\d+) +(\w+)\((.*)$`).FindAllStringSubmatch(trace, -1) {
		thread, call := m[1]+m[2], m[2]
		counts[thread]++
		if n := counts[thread]; (call != "openat" || strings.Contains(m[3], dir)) && !slices.Contains(made[call], n) {
			made[call] = append(made[call], n)
		}
	}
	for _, calls := range made {
		slices.Sort(calls)
	}
	return made
}

// fails runs a scenario with a fault, and verifies what it leaves. It returns whether the
// fault was met, and how many appends were acknowledged.
func fails(t *testing.T, strace, inject string) (met bool, acked int) {
	root := onMemory(t)
	defer os.RemoveAll(root)
	dir := filepath.Join(root, "data")
	call, _, _ := strings.Cut(inject, ":")
	text, trace, err := scenario(t, strace, dir, call, inject)
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
	return err != nil || strings.Contains(trace, "(INJECTED)") || strings.Contains(trace, "(DELAYED)"), len(acks)
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
	text, _, _ := scenario(t, strace, dir, "pwrite64", "pwrite64:retval=4096:when=20+1")
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

// scenario runs TestScenarioChild with calls traced and a fault, if any, and returns what
// it said and the trace.
func scenario(t *testing.T, strace, dir, calls, inject string) (text, trace string, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	log := dir + ".trace"
	args := []string{"-D", "-f", "-qq", "-o", log, "-e", "trace=" + calls}
	if inject != "" {
		args = append(args, "-e", "inject="+inject)
	}
	if !strings.Contains(inject, "signal=") { // which nobody would get where the filter stops them
		args = append(args, "--seccomp-bpf")
	}
	cmd := exec.CommandContext(t.Context(), strace, append(args, os.Args[0], "-test.run=^TestScenarioChild$", "-test.timeout=60s")...)
	cmd.Env = append(os.Environ(), "EVENTLOG_SCENARIO_DIR="+dir)
	cmd.ExtraFiles = []*os.File{w}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	said, _ := io.ReadAll(r)
	err = cmd.Wait()
	b, _ := os.ReadFile(log)
	return string(said), string(b), err
}
