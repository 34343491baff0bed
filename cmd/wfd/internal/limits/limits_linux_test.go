package limits

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A limit is found in whichever group above this process has the least left, by either
// version of control groups, and in a container that shows its own group as the root.
func TestRoomOfGroups(t *testing.T) {
	top := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pids/a/pids.max", "100\n")
	write("pids/a/pids.current", "30\n")
	write("pids/a/b/pids.max", "max\n")
	write("pids/a/b/pids.current", "5\n")
	write("pids.max", "50\n")
	write("pids.current", "60\n")
	for _, c := range []struct {
		membership string
		want       room
	}{
		{"8:pids:/a/b\n4:memory:/\n", room{70, top + "/pids/a/pids.max", true}},
		{"8:cpu,pids:/a\n", room{70, top + "/pids/a/pids.max", true}},
		{"8:pids:/\n", room{}},
		{"0::/docker/123\n", room{0, top + "/pids.max", true}}, // more than may be are there already
		{"0::/\n8:pids:/a\n", room{0, top + "/pids.max", true}},
		{"nonsense\n\n", room{}},
	} {
		var got room
		for dir := range membership(c.membership).dirs(top, "pids") {
			got = got.less(roomOf(dir, "pids.max", "pids.current"))
		}
		if got != c.want {
			t.Errorf("%q: %+v, want %+v", c.membership, got, c.want)
		}
	}
}

func TestThreadsOfUsers(t *testing.T) {
	status := "Name:\tx\nUid:\t7\t0\t0\t0\nVmLck:\nThreads:\t12\n"
	if n := threadsOf(status, 7); n != 12 {
		t.Errorf("%d threads", n)
	}
	if n := threadsOf(status, 0); n != 0 {
		t.Errorf("%d threads of another user", n)
	}
}

// What an error is about is found below whatever was made of it, and says how it is mended.
func TestOf(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.ENOMEM: true, &Short{Need: "x", Fix: "y"}: true,
		syscall.EIO: false, errors.New("too many open files"): false,
	} {
		got := Of(fmt.Errorf("log/1.db: %w", err))
		if (got != nil) != want || want && (got.Need == "" || got.Fix == "") {
			t.Errorf("%v: %+v", err, got)
		}
	}
	if Of(nil) != nil {
		t.Error("no error is of a limit")
	}
}

// What is reserved is there to be used by as many who wait in the system at once.
func TestReserveThreads(t *testing.T) {
	ReserveThreads(3)
	n := threadsOf(readText("/proc/self/status"), os.Getuid())
	if n < reservedThreads+3 {
		t.Errorf("%d threads", n)
	}
}
