package doctor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
)

// What is wrong is said of the right thing, and the directory is as it was.
func TestFindings(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	none := func(context.Context, *eventlog.LockedError) (time.Time, error) { return time.Time{}, nil }
	later := func(context.Context, *eventlog.LockedError) (time.Time, error) { return now.Add(time.Hour), nil }
	refused := func(context.Context, *eventlog.LockedError) (time.Time, error) { return now, errors.New("no token") }
	for _, c := range []struct {
		what   string
		in     Input
		name   string
		status Status
		found  string
	}{
		{"as it should be", Input{Dir: dir, Last: none}, "lock", OK, "nobody"},
		{"not there yet", Input{Dir: filepath.Join(dir, "a", "b"), Last: none}, "directory", OK, "not there yet"},
		{"a file", Input{Dir: "doctor_test.go", Last: none}, "directory", Fail, "no directory"},
		{"below a file", Input{Dir: "doctor_test.go/x", Last: none}, "directory", Fail, "not a directory"},
		{"a clock that went back", Input{Dir: dir, Last: later}, "clock", Fail, "2026-01-02T04:04:05Z"},
		{"a log that is not shown", Input{Dir: dir, Last: refused}, "clock", Warn, "no token"},
		{"an address that is taken", Input{Dir: dir, Last: none, Addr: taken.Addr().String()}, "address", Fail, "taken"},
		{"no address", Input{Dir: dir, Last: none, Addr: "nowhere"}, "address", Fail, "nowhere"},
	} {
		if c.in.Addr == "" {
			c.in.Addr = "127.0.0.1:0"
		}
		c.in.Now = func() time.Time { return now }
		got := map[string]Check{}
		for _, x := range Run(t.Context(), c.in) {
			got[x.Name] = x
		}
		if x := got[c.name]; x.Status != c.status || !strings.Contains(x.Found, c.found) {
			t.Errorf("%s: %+v, want %s: … %s …", c.what, x, c.status, c.found)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left behind", left)
	}
}

// Who writes to a log holds its directory, and is named.
func TestHeld(t *testing.T) {
	dir := t.TempDir()
	log, err := eventlog.Open(dir, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.SetAddress("127.0.0.1:9"); err != nil {
		t.Fatal(err)
	}
	held, err := eventlog.Holder(dir)
	if err != nil || held == nil || held.PID != os.Getpid() || held.Address != "127.0.0.1:9" {
		t.Fatalf("%+v, %v", held, err)
	}
	if c := lock(held, nil); c.Status != OK || !strings.Contains(c.Found, "127.0.0.1:9") {
		t.Errorf("%+v", c)
	}
}

// A daemon's own address is known in each of its forms.
func TestSame(t *testing.T) {
	for _, c := range []struct {
		held, addr string
		want       bool
	}{
		{"127.0.0.1:7117", "127.0.0.1:7117", true}, {"127.0.0.1:7117", "localhost:7117", true}, {"https://127.0.0.1:7117", "127.0.0.1:7117", true},
		{"[::]:7117", "127.0.0.1:7117", true}, {"127.0.0.1:7117", ":7117", true}, {"127.0.0.1:7117", "127.0.0.1:7118", false},
		{"127.0.0.1:7117", "127.0.0.2:7117", false}, {"nowhere", "127.0.0.1:7117", false},
	} {
		if got := same(c.held, c.addr); got != c.want {
			t.Errorf("%s is %s: %t", c.held, c.addr, got)
		}
	}
}
