package eventlog_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// TestRecordedChild appends to a young log, so that it is created, rotates and seals,
// has payloads erased, and appends more. It says what was acknowledged.
func TestRecordedChild(t *testing.T) {
	dir := os.Getenv("EVENTLOG_RECORDED_DIR")
	if dir == "" {
		t.Skip("runs as a child under strace")
	}
	out, err := os.Create(dir + ".acks")
	if err != nil {
		t.Fatal(err)
	}
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		t.Fatal(err)
	}
	some := func(from, to int) {
		for i := from; i < to; i++ {
			head := d.Head()
			if _, err := fillSome(d, i, 1); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(out, "ack", uint64(head)+1, 3, i+1, eventlogtest.RunNo(i%5+1))
		}
	}
	some(0, 24)
	if _, err := d.Erase(t.Context(), []eventlog.Span{{Run: eventlogtest.RunNo(1), From: 1, To: 6}}, func(eventlog.Event) ([]byte, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	some(24, 36)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// A change is a system call that changed a file or a directory. It began and ended at
// moments; between those it may or may not have happened.
type change struct {
	begin, end int
	path       string // as it was called then
	what       changed
	data       []byte // written
	at         int64  // where it was written; of a truncation, the new size
	to         string // the new name
}

type changed int

const (
	wrote changed = iota
	truncated
	synced
	created
	madeDir
	renamed
	removed
	acked // to those outside: data is what was said
)

var (
	callStart = regexp.MustCompile(`^(\d+) +(?:<\.\.\. \w+ resumed>)?(.*)$`)
	fileCall  = regexp.MustCompile(`^(pwrite64|write|ftruncate|fsync|fdatasync)\(\d+<([^>]*)>(?:, (.*))?\) += (-?\d+)`)
	nameCall  = regexp.MustCompile(`^(openat|renameat|unlinkat|mkdirat)\(AT_FDCWD<[^>]*>, "([^"]*)"(?:, (.*))?\) += (-?\d+)`)
	secondArg = regexp.MustCompile(`AT_FDCWD<[^>]*>, "([^"]*)"`)
)

// record runs the child under strace and returns what it changed in dir, in order.
func record(t *testing.T, dir string) (all []change) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	out, err := child(t, "TestRecordedChild", []string{"EVENTLOG_RECORDED_DIR=" + dir},
		strace, "-f", "-qq", "-y", "-xx", "-s", "20000000", "-o", trace, "-e", "signal=none",
		"-e", "trace=openat,pwrite64,write,ftruncate,fsync,fdatasync,renameat,renameat2,unlinkat,mkdirat,fallocate,writev,pwritev,copy_file_range")
	if err != nil {
		if strings.Contains(out, "ptrace") {
			t.Skip("strace may not trace here")
		}
		t.Fatalf("child: %v\n%s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	type half struct {
		begin int
		text  string
	}
	open := map[string]half{} // calls under way, by thread
	for n, line := range strings.Split(string(text), "\n") {
		m := callStart.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		thread, call := m[1], m[2]
		if begun, ok := strings.CutSuffix(call, "<unfinished ...>"); ok {
			open[thread] = half{n, strings.TrimRight(begun, " ")}
			continue
		}
		begin := n
		if strings.Contains(line, " resumed>") {
			begin, call = open[thread].begin, open[thread].text+call
		}
		if c, ok := parseCall(t, call, dir); ok {
			c.begin, c.end = begin, n
			all = append(all, c)
		}
	}
	if len(all) < 200 {
		t.Fatalf("only %d changes were recorded", len(all))
	}
	return all
}

// parseCall returns what a call of strace's list changed in dir.
func parseCall(t *testing.T, call, dir string) (c change, ok bool) {
	bad := func() {
		t.Fatalf("a call that is not understood: %.200s", call)
	}
	m := fileCall.FindStringSubmatch(call)
	if m == nil {
		m = nameCall.FindStringSubmatch(call)
	}
	if m == nil {
		for _, name := range []string{"renameat2", "fallocate", "writev", "pwritev", "copy_file_range"} {
			if strings.HasPrefix(call, name+"(") && strings.Contains(call, hex.EncodeToString([]byte(filepath.Base(dir)))) {
				bad() // it changes files in a way that is not known here
			}
		}
		return c, false
	}
	name, path, rest := m[1], string(unhex(m[2])), m[3]
	ret, err := strconv.ParseInt(m[4], 10, 64)
	inside := path == dir || strings.HasPrefix(path, dir+"/")
	if err != nil || ret < 0 || !inside && path != dir+".acks" {
		return c, false
	}
	c.path = path
	data, numbers, _ := strings.Cut(strings.TrimPrefix(rest, `"`), `", `)
	switch name {
	case "pwrite64", "write":
		c.what, c.data, c.at = wrote, unhex(data), -1
		if name == "pwrite64" {
			var n int64
			if k, _ := fmt.Sscanf(numbers, "%d, %d", &n, &c.at); k != 2 {
				bad()
			}
		}
		if int64(len(c.data)) != ret {
			bad()
		}
		if !inside {
			c.what = acked
		}
	case "ftruncate":
		c.what = truncated
		if c.at, err = strconv.ParseInt(rest, 10, 64); err != nil {
			bad()
		}
	case "fsync", "fdatasync":
		c.what = synced
	case "openat":
		c.what = created
		if !strings.Contains(rest, "O_CREAT") {
			return c, false
		}
	case "mkdirat":
		c.what = madeDir
	case "unlinkat":
		c.what = removed
	case "renameat":
		m := secondArg.FindStringSubmatch(rest)
		if m == nil {
			bad()
		}
		c.what, c.to = renamed, string(unhex(m[1]))
	}
	return c, inside || c.what == acked
}

// unhex decodes what strace -xx writes.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		return bytes.Clone([]byte(s))
	}
	return b
}
