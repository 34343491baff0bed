package eventlog_test

import (
	"errors"
	"flag"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
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
	goleak.VerifyTestMain(m)
}

// tiny makes segments so small that a few dozen events fill one.
const tiny = 64 << 10

func open(t *testing.T, dir string, o eventlog.Options) *eventlog.DB {
	t.Helper()
	d, err := eventlog.Open(dir, o)
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
	r, err := eventlog.Check(dir, eventlog.CheckOptions{})
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
