package eventlog_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

var cuts = flag.Int("cuts", 12, "how many times the power is cut")

// lying has the disk say that it has synced, and do nothing.
var lying = []string{"strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:retval=0"}

// cutOff runs the child of TestCrash on a disk until the power is cut, so long after it
// was started and has said so many lines, the first that the log is open, and returns what
// it had acknowledged.
func cutOff(t *testing.T, disk *eventlogtest.Disk, dir string, seed uint64, lines int, after time.Duration, wrap ...string) []ack {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	args := append(wrap, os.Args[0], "-test.run=^TestCrashChild$")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "EVENTLOG_CRASH_DIR="+dir, fmt.Sprint("EVENTLOG_CRASH_SEED=", seed))
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	said, heard := make(chan string, 1), make(chan bool)
	go func() {
		var text strings.Builder
		from := bufio.NewReader(r)
		for range lines {
			line, _ := from.ReadString('\n')
			text.WriteString(line)
		}
		close(heard)
		io.Copy(&text, from)
		said <- text.String()
	}()
	<-heard
	time.Sleep(after)
	disk.Cut()
	// What it says from here on it says of a disk that is gone: errors, not
	// acknowledgements, or the log would not be one.
	time.Sleep(5 * time.Millisecond)
	cmd.Process.Kill()
	cmd.Wait()
	disk.Restore()
	return acksIn(<-said)
}

// The power is cut at random moments: in the middle of commits, of rotations and
// seals, and of the creation of a log. Nothing that was acknowledged is lost.
func TestPowerCut(t *testing.T) {
	processes(t)
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-seed=%d -cuts=%d repeats it)", s, s, *cuts)
	rng := rand.New(rand.NewPCG(s, 1))
	disk := eventlogtest.NewDisk(t, 128)
	dir := filepath.Join(disk.Dir, "data")
	var acks []ack
	all := 0
	for i := range *cuts {
		lines, after := 1, time.Duration(30+rng.IntN(170))*time.Millisecond
		switch i % 4 {
		case 0, 2: // on a slow machine nothing may be acknowledged so soon
			lines = 5
		case 3: // a new log, while it is created
			os.RemoveAll(dir)
			acks, lines, after = nil, 0, time.Duration(rng.IntN(120))*time.Millisecond
		}
		new := cutOff(t, disk, dir, s+uint64(i), lines, after)
		all += len(new)
		acks = append(acks, new...)
		verifyAcks(t, dir, acks)
		if t.Failed() {
			t.Fatalf("cut %d", i)
		}
	}
	if all < *cuts {
		t.Errorf("only %d acknowledgements before %d cuts: the test proves nothing", all, *cuts)
	}
	t.Logf("%d cuts, %d acknowledgements", *cuts, all)
}

// On a disk that lies about its syncs a power cut loses what was acknowledged: a test
// that does not find that out finds nothing out.
func TestPowerCutOfALyingDisk(t *testing.T) {
	processes(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	disk := eventlogtest.NewDisk(t, 64)
	for i := range 20 {
		dir := filepath.Join(disk.Dir, fmt.Sprint("data", i))
		acks := cutOff(t, disk, dir, uint64(i), 1, 200*time.Millisecond, lying...)
		if len(acks) == 0 {
			continue // it was not that far
		}
		d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
		if err != nil {
			return // and it says so
		}
		events, err := eventlogtest.All(d, 1000)
		d.Close()
		if err != nil || missing(events, acks) != nil {
			return
		}
	}
	t.Error("nothing is missing after power cuts on a disk that lies")
}
