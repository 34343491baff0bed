package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// exitLimits is what a command ends with that the system does not let have what it needs.
const exitLimits = 7

// shell returns a command line that does something before it becomes the daemon.
func shell(t *testing.T, first string) []string {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	return []string{sh, "-c", first + ` && exec "$@"`, "sh"}
}

// pids returns a command line whose program, with all that it starts, may have n threads and
// processes, or skips.
func pids(t *testing.T, n int) []string {
	for _, top := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		dir := filepath.Join(top, fmt.Sprintf("wfd-test-%d-%d", os.Getpid(), n))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		if os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(n)), 0o644) == nil {
			return shell(t, "echo $$ >"+dir+"/cgroup.procs")
		}
		os.Remove(dir)
	}
	t.Skip("no control group of processes can be made here")
	return nil
}

// With too little of anything a daemon does not begin: it names the limit and the remedy, and
// ends with a code of its own. What was stored before is as it was.
func TestTooLittleUnderTheDaemon(t *testing.T) {
	t.Parallel()
	s := newSite(t, 17)
	s.register(s.up())
	stop := s.clients(4, 0)
	s.awaits(10, s.daemon)
	stop()
	s.down()
	for _, c := range []struct {
		name, first, limit string
	}{
		{"nearly no files", "ulimit -n 7", "RLIMIT_NOFILE"}, // with which the runtime of Go would not come up
		{"few files", "ulimit -n 20", "RLIMIT_NOFILE"},
		{"little address space", "ulimit -v 2000000", "RLIMIT_AS"},
		{"nearly no threads", "8", "pids.max"},
		{"few threads", "20", "pids.max"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrap := []string(nil)
			if n, err := strconv.Atoi(c.first); err == nil {
				wrap = pids(t, n)
			} else {
				wrap = shell(t, c.first)
			}
			d := launch(t, s.dir, s.replies, nil, wrap)
			select {
			case <-d.done:
			case <-time.After(time.Minute):
				t.Fatal("it runs")
			}
			said := d.log.String()
			if code := d.cmd.ProcessState.ExitCode(); code != exitLimits || !strings.Contains(said, c.limit) || !strings.Contains(said, "hint: ") || strings.Contains(said, "goroutine ") {
				t.Errorf("it ended with %d:\n%s", code, said)
			}
		})
	}
	s.end()
}

// hog is a run of programs that take more processes than there may be. Each is tried again.
const hog = `name: hog
nodes:
  all:
    foreach:
      items: "${[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}"
      as: i
      do: {exec: {command: [sh, -c, "sleep 0.2 & sleep 0.2 & wait"]}, retry: {max: 1000, backoff: 50ms}}
`

// Where no more processes may be made, a program that cannot be begun is a failed attempt,
// whose history says why, and which is made again; the daemon, which needs threads as they
// need processes, goes on, and so does its log.
func TestProcessesUnderTheDaemon(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		queue  string
		failed bool // more programs at once than there is room for
	}{{"as many as fit", "", false}, {"more than fit", "exec=64", true}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, 19)
			var env []string
			if c.queue != "" {
				env = []string{"WFD_QUEUE=" + c.queue}
			}
			d := launch(t, s.dir, "", env, pids(t, 40))
			s.daemon = d
			if !d.up() {
				t.Fatalf("it does not come up:\n%s", d.log)
			}
			s.client.use(d.addr)
			if _, err := s.client.call(http.MethodPost, "/v1/workflows", "", "application/yaml", []byte(hog), nil); err != nil {
				t.Fatal(err)
			}
			var r runView
			if _, err := s.client.post("/v1/workflows/hog/runs", "hog", map[string]any{}, &r); err != nil {
				t.Fatal(err)
			}
			events := ""
			for end := time.Now().Add(2 * time.Minute); !strings.Contains(events, `"run.completed"`); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) || d.ended() {
					t.Fatalf("the run does not come to its end; the daemon ended: %t\n%s\n%s", d.ended(), d.log, events)
				}
				var page struct{ Items json.RawMessage }
				if _, err := s.client.call(http.MethodGet, "/v1/runs/"+r.ID+"/events?limit=1000", "", "", nil, &page); err == nil {
					events = string(page.Items)
				}
			}
			if failed := strings.Contains(events, `"node.failed"`); failed != c.failed || failed && !strings.Contains(events, "no more processes and threads may be made") {
				t.Errorf("attempts failed: %t, want %t; or their history does not say why:\n%s", failed, c.failed, events)
			}
			s.down()
			if !strings.Contains(d.log.String(), "few threads and processes") {
				t.Errorf("nobody is told of the limit:\n%s", d.log)
			}
			if err := check(t, s.dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// With few files, and clients that hold connections and say nothing, whoever comes is turned
// away with an answer; the log tells it once; and the daemon goes on as they leave.
func TestConnectionsUnderTheDaemon(t *testing.T) {
	t.Parallel()
	s := newSite(t, 23)
	s.register(s.up())
	s.down()
	d := launch(t, s.dir, s.replies, nil, shell(t, "ulimit -n 40"))
	s.daemon = d
	if !d.up() {
		t.Fatalf("it does not come up:\n%s", d.log)
	}
	http.DefaultClient.CloseIdleConnections()
	var held []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	turned := 0
	for _, c := range held { // whoever keeps a place is cut off in the end, because he says nothing
		b, _ := io.ReadAll(c)
		if bytes.HasPrefix(b, []byte("HTTP/1.1 429 ")) && bytes.Contains(b, []byte("urn:wfd:problem:busy")) {
			turned++
		}
	}
	if turned == 0 || turned == len(held) {
		t.Errorf("%d of %d connections are turned away", turned, len(held))
	}
	for _, c := range held {
		c.Close()
	}
	if !d.up() {
		t.Fatalf("it does not come back:\n%s", d.log)
	}
	s.client.use(d.addr)
	stop := s.clients(2, 0)
	s.awaits(10, d)
	stop()
	s.down()
	if n := bytes.Count(d.log.Bytes(), []byte("turned away")); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, d.log)
	}
	s.end()
}
