package crash

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	mute     = 100      // clients that follow the log and never read
	bulk     = 60       // runs while they do
	payload  = 40 << 10 // of each run, twice: as input and as output
	heldMost = 110      // MB that the daemon may hold for all that
)

// stubborn is a receiver that takes requests and does not answer, until it is told to.
type stubborn struct {
	*httptest.Server
	release chan struct{}
	mu      sync.Mutex
	met     int
	seen    map[string]bool // runs that it was told the end of
}

func newStubborn(t *testing.T) *stubborn {
	r := &stubborn{release: make(chan struct{}), seen: map[string]bool{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.met++
		r.mu.Unlock()
		select {
		case <-r.release:
		case <-req.Context().Done():
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, id := range runID.FindAllString(string(body), -1) {
			r.seen[id] = true
		}
	}))
	t.Cleanup(r.Close)
	t.Cleanup(sync.OnceFunc(func() {
		select {
		case <-r.release:
		default:
			close(r.release)
		}
	}))
	return r
}

var runID = regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}`)

func (r *stubborn) counts() (met, seen int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.met, len(r.seen)
}

// anonymous returns how many MB of memory of its own a process holds.
func anonymous(t *testing.T, pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
			kB, _ := strconv.Atoi(f[1])
			return kB >> 10
		}
	}
	t.Skip("the kernel does not say how much memory a process has")
	return 0
}

// Clients that follow the log and never read, a receiver of a hook and one of traces that
// take what they are sent and do not answer: no run waits for any of them, and nothing is
// kept for them in memory. What they have missed they get from the log, once they take it.
//
// Were a queue kept for each of these clients, it would hold what all runs said in that
// time: several times as much as is allowed here.
func TestSaturationUnderTheDaemon(t *testing.T) {
	t.Parallel()
	if wouldHold := mute * bulk * 2 * payload >> 20; wouldHold < 4*heldMost {
		t.Fatalf("without bounds %d MB would be held: too few to mean anything", wouldHold)
	}
	s := newSite(t, 31)
	hook, traces := newStubborn(t), newStubborn(t)
	d := launch(t, s.dir, "", []string{"WFD_OTLP=" + traces.URL, "WFD_SECRET_HOOK=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, nil)
	s.daemon = d
	if !d.up() {
		t.Fatalf("it does not come up:\n%s", d.log)
	}
	s.client.use(d.addr)
	def := "name: echo\ninput: {type: object}\nnodes:\n  a: {decision: {}, set: {said: \"${input.text}\"}}\n  b: {needs: [a], end: completed}\nstate: {said: {type: string}}\noutput: ${state.said}\n"
	if _, err := s.client.call(http.MethodPost, "/v1/workflows", "", "application/yaml", []byte(def), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.post("/v1/hooks/out", "", map[string]any{"name": "ends", "url": hook.URL, "secret": "HOOK", "allow_private": true, "kinds": []string{"run.completed"}}, nil); err != nil {
		t.Fatal(err)
	}
	var streams []net.Conn
	for range mute {
		c, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(c, "GET /v1/events HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", d.addr)
		streams = append(streams, c)
	}
	for _, c := range streams { // it is followed from here on
		if line, err := bufio.NewReaderSize(c, 16).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatal(line, err)
		}
	}
	most := 0
	for i := range bulk {
		var r runView
		text := strings.Repeat(fmt.Sprintf("%08d", i), payload/8)
		if _, err := s.client.post("/v1/workflows/echo/runs", fmt.Sprint("bulk-", i), map[string]any{"input": map[string]any{"text": text}}, &r); err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.call(http.MethodGet, "/v1/runs/"+r.ID+"?wait=50s", "", "", nil, &r); err != nil || r.Status != "completed" {
			t.Fatalf("run %d is %s: %s, %v", i, r.Status, r.Why, err)
		}
		most = max(most, anonymous(t, d.cmd.Process.Pid))
	}
	for met := 0; met == 0 && !d.ended(); met, _ = hook.counts() {
		time.Sleep(5 * time.Millisecond)
	}
	if most > heldMost {
		t.Errorf("%d MB are held for those who do not read", most)
	}
	// Whoever did not read is behind, and reads on from what he has.
	var page struct{ Items []json.RawMessage }
	if _, err := s.client.call(http.MethodGet, "/v1/runs?limit=1000&status=completed", "", "", nil, &page); err != nil || len(page.Items) != bulk {
		t.Errorf("%d runs, %v", len(page.Items), err)
	}
	close(hook.release)
	close(traces.release)
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, seen := hook.counts(); seen >= bulk {
			break
		}
		if time.Now().After(end) || d.ended() {
			_, seen := hook.counts()
			t.Fatalf("the hook was told of %d runs of %d\n%s", seen, bulk, d.log)
		}
	}
	met, _ := traces.counts()
	t.Logf("%d runs of %d kB with %d clients that do not read: %d MB at most; the receiver of traces was asked %d times", bulk, payload>>10, mute, most, met)
	s.down()
	if err := check(t, s.dir); err != nil {
		t.Error(err)
	}
}
