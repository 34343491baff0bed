package eventlog_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

var (
	kills = flag.Int("kills", 12, "how many times the crash test kills its child at a random moment")
	seed  = flag.Uint64("seed", 0, "seed of the crash test; 0 takes the time")
)

// child runs one test of this binary in a process of its own.
func child(t *testing.T, name string, env []string, wrap ...string) (string, error) {
	args := append(wrap, os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), append([]string{"EVENTLOG_CHILD=1"}, env...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// processes is of tests whose work is done by other processes: with the race detector
// each takes a second to begin.
func processes(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	unraced(t)
	t.Parallel()
}

// unraced is of tests in which the race detector has nothing to see, and which it makes
// slow. `make race` runs them without it, in a round of their own.
func unraced(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("is run without the race detector")
	}
}

// TestCrashChild is the process that is killed: several producers append to
// runs of their own, with seeded sizes, and say on stdout what was acknowledged.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv("EVENTLOG_CRASH_DIR")
	if dir == "" {
		t.Skip("runs as a child of TestCrash")
	}
	s, _ := strconv.ParseUint(os.Getenv("EVENTLOG_CRASH_SEED"), 10, 64)
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	out := os.NewFile(3, "acks")
	fmt.Fprintln(out, "open", d.Head())
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(s, uint64(p)))
			for i := 0; ; i++ {
				run := eventlogtest.RunNo(p*8 + rng.IntN(8) + 1)
				v, err := d.Version(run)
				if err != nil {
					t.Error(err)
					return
				}
				a := eventlog.Append{ID: eventlog.AppendID(rng.Uint64() | 1), Run: run, Expect: v}
				for range rng.IntN(4) + 1 {
					size := []int{0, 10, 200, 200, 1500, 9000}[rng.IntN(6)]
					if rng.IntN(60) == 0 {
						size = eventlog.BlobOver + rng.IntN(1000) + 1
					}
					a.Records = append(a.Records, eventlog.Record{Time: int64(i + 1), Kind: 1, Actor: "p", Payload: bytes.Repeat([]byte{byte(a.ID)}, size)})
				}
				if ev, err := d.ReadRun(run, max(v, 1)-1, 1); err == nil && len(ev) == 1 {
					a.Records[0].Time = max(a.Records[0].Time, ev[0].Time)
					for i := range a.Records {
						a.Records[i].Time = max(a.Records[i].Time, a.Records[0].Time)
					}
				}
				seq, err := d.Append(context.Background(), a)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Fprintln(out, "ack", uint64(seq), len(a.Records), uint64(a.ID), run)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// ack is one line of the child.
type ack struct {
	seq, n int
	id     eventlog.AppendID
	run    string
}

// killed runs the child on dir until it dies, by itself at a failpoint or
// after a while, and returns what it acknowledged. The while begins with the
// process, or where awaited with its first acknowledgement: one that begins
// with the process may end while the log is still being opened, and on a slow
// machine always does.
func killed(t *testing.T, dir string, seed uint64, failpoint string, after time.Duration, awaited bool) (acks []ack, died bool) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	cmd.Env = append(os.Environ(), "EVENTLOG_CRASH_DIR="+dir, fmt.Sprint("EVENTLOG_CRASH_SEED=", seed), "WFD_FAILPOINT="+failpoint)
	cmd.ExtraFiles = []*os.File{w}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var said bytes.Buffer
	from := bufio.NewReader(r)
	for awaited && !strings.Contains(said.String(), "ack ") {
		line, err := from.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			break // it died before
		}
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	io.Copy(&said, from)
	err = cmd.Wait()
	died = timer.Stop()
	if out.Len() > 0 || err == nil {
		t.Errorf("the child ended with %v:\n%s", err, out.String())
	}
	return acksIn(said.String()), died
}

// acksIn returns what a child has said that it acknowledged.
func acksIn(text string) (acks []ack) {
	for line := range strings.Lines(text) {
		var a ack
		if n, _ := fmt.Sscanf(line, "ack %d %d %d %s", &a.seq, &a.n, &a.id, &a.run); n == 4 && strings.HasSuffix(line, "\n") {
			acks = append(acks, a)
		}
	}
	return acks
}

// verifyAcks checks the log after a kill, and that it holds what was
// acknowledged.
func verifyAcks(t *testing.T, dir string, acks []ack) {
	t.Helper()
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		t.Fatalf("open after a kill: %v", err)
	}
	events, err := eventlogtest.All(d, 1000)
	if err != nil {
		t.Errorf("read after a kill: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	check(t, dir)
	if err := missing(events, acks); err != nil {
		t.Error(err)
	}
}

// missing returns an error if what was acknowledged is not among events.
func missing(events []eventlog.Event, acks []ack) error {
	for _, a := range acks {
		if a.seq+a.n-1 > len(events) {
			return fmt.Errorf("acknowledged and lost: %+v, the log ends at %d", a, len(events))
		}
		for i := range a.n {
			if e := events[a.seq-1+i]; e.Append != a.id || e.Run.String() != a.run {
				return fmt.Errorf("acknowledged %+v, found %v of append %d at %d", a, e.Run, e.Append, e.Seq)
			}
		}
	}
	return nil
}

// The child is killed at random moments, and at every failpoint, again and
// again on the same directory: nothing that it acknowledged is ever lost.
func TestCrash(t *testing.T) {
	processes(t)
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-seed=%d -kills=%d repeats it)", s, s, *kills)
	rng := rand.New(rand.NewPCG(s, 0))
	t.Run("moments", func(t *testing.T) {
		dir := t.TempDir()
		var acks []ack
		for i := range *kills {
			awaited := i%2 == 1
			new, _ := killed(t, dir, s+uint64(i), "", time.Duration(rng.IntN(200))*time.Millisecond, awaited)
			if awaited && len(new) == 0 {
				t.Errorf("life %d ended by itself before it acknowledged anything", i)
			}
			acks = append(acks, new...)
			verifyAcks(t, dir, acks)
			if t.Failed() {
				t.Fatalf("kill %d", i)
			}
		}
		t.Logf("%d acknowledgements in %d lives", len(acks), *kills)
	})
	t.Run("failpoints", func(t *testing.T) {
		for _, point := range eventlog.Failpoints {
			switch step, _, _ := strings.Cut(point, "."); step {
			case "sweep", "rewrite", "archive":
				continue // not on the way of an append: see TestEraseAfterCrash
			}
			dir := filepath.Join(t.TempDir(), "data")
			var acks []ack
			for life := range 2 {
				spec := fmt.Sprintf("%s:%d", point, 1+rng.IntN(2)+life)
				new, died := killed(t, dir, s+uint64(life), spec, 20*time.Second, false)
				if !died {
					t.Errorf("%s was not reached", spec)
				}
				acks = append(acks, new...)
				verifyAcks(t, dir, acks)
				if t.Failed() {
					t.Fatal(spec)
				}
			}
		}
	})
}
