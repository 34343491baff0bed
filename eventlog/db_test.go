package eventlog_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Each check of the model opens logs on disk; -rapid.checks=N asks for more.
	checks := "15"
	if raceEnabled {
		checks = "6"
	}
	flag.Set("rapid.checks", checks)
	flag.Parse()
	if *encrypt {
		os.Setenv("EVENTLOG_ENCRYPT", "yes")
	}
	goleak.VerifyTestMain(m)
}

// encrypt makes the logs of all tests encrypted; of their children, too, by the
// environment.
var encrypt = flag.Bool("encrypt", os.Getenv("EVENTLOG_ENCRYPT") != "", "encrypt the logs of all tests")

// testKeys are always the same, for children to have them.
var testKeys, _ = crypt.ParseKeys("wfd-key-1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("key!"), 8)))

// keys returns those that the tests open logs with: none, unless they are encrypted.
func keys() crypt.Keys {
	if !*encrypt {
		return nil
	}
	return testKeys
}

// openLog is eventlog.Open with the tests' keys.
func openLog(dir string, o eventlog.Options) (*eventlog.DB, error) {
	if o.Keys == nil {
		o.Keys = keys()
	}
	return eventlog.Open(dir, o)
}

// checkLog is eventlog.Check with the tests' keys.
func checkLog(dir string, o eventlog.CheckOptions) (*eventlog.CheckReport, error) {
	if o.Keys == nil {
		o.Keys = keys()
	}
	return eventlog.Check(dir, o)
}

// tiny makes segments so small that a few dozen events fill one.
const tiny = 64 << 10

func open(t *testing.T, dir string, o eventlog.Options) *eventlog.DB {
	t.Helper()
	d, err := openLog(dir, o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil && !errors.Is(err, eventlog.ErrClosed) {
			t.Errorf("close: %v", err)
		}
		check(t, dir)
	})
	return d
}

// check fails the test if the log in dir has a problem.
func check(t *testing.T, dir string) *eventlog.CheckReport {
	t.Helper()
	r, err := checkLog(dir, eventlog.CheckOptions{})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	for _, p := range r.Problems {
		t.Errorf("check: %v", p)
	}
	return r
}

func TestConformance(t *testing.T) {
	eventlogtest.Run(t, func(t *testing.T) eventlog.Log {
		return open(t, t.TempDir(), eventlog.Options{})
	})
}

func TestConformanceTinySegments(t *testing.T) {
	eventlogtest.Run(t, func(t *testing.T) eventlog.Log {
		return open(t, t.TempDir(), eventlog.Options{SegmentSize: tiny})
	})
}

// Segments that were zeroed ahead hold the same log.
func TestZero(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		d := open(t, dir, eventlog.Options{SegmentSize: tiny, Zero: true})
		if _, err := fillSome(d, 60*i, 60); err != nil {
			t.Fatal(err)
		}
		if s := d.Stats(); s.Segments < 3 || s.Events != uint64(180*(i+1)) {
			t.Errorf("%+v", s)
		}
		d.Close()
	}
}

// A start reads the segment that is written to, so it must not be larger than it is meant
// to be; nor is room left in a file that nothing is written to any more.
func TestSegmentSize(t *testing.T) {
	const size = 1 << 20
	dir := t.TempDir()
	d := open(t, dir, eventlog.Options{SegmentSize: size})
	payload := make([]byte, 4<<10)
	for v := eventlog.Version(0); d.Stats().Segments < 4; v += 8 {
		a := eventlog.Append{ID: eventlog.AppendID(v + 1), Run: eventlogtest.RunNo(1), Expect: v}
		for range 8 {
			a.Records = append(a.Records, eventlog.Record{Time: 1, Kind: 1, Payload: payload})
		}
		if _, err := d.Append(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "log", "*.db"))
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	for _, name := range names[:3] {
		fi, err := os.Stat(name)
		if err != nil || fi.Size() < size*7/8 || fi.Size() > size*3/2 {
			t.Errorf("%s: %d bytes, %v", filepath.Base(name), fi.Size(), err)
		}
	}
}
