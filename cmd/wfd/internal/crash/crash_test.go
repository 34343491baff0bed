package crash

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
)

var (
	kills = flag.Int("kills", 6, "how often the daemon is killed")
	seed  = flag.Uint64("seed", 0, "of the workload and the moments of the kills; 0: from the clock")
)

// site is one data directory under test, and what clients know about it.
type site struct {
	t       testing.TB
	dir     string
	replies string
	rng     *rand.Rand
	client  client
	book    *book
	daemon  *daemon // the one that down kills
	sick    bool    // the disk is

	tidied atomic.Int64 // runs whose payloads retention has moved

	mu    sync.Mutex
	wrong []error
}

func newSite(t testing.TB, seed uint64) *site {
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "data"), rng: rand.New(rand.NewPCG(seed, 0)), book: newBook()}
	s.replies = filepath.Join(t.TempDir(), "replies.yaml")
	if err := os.WriteFile(s.replies, []byte(replies), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) broken(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, err)
}

// register registers the definitions, again and again until all are.
func (s *site) register(d *daemon) {
	s.client.use(d.addr)
	for _, def := range definitions {
		for {
			status, err := s.client.call(http.MethodPost, "/v1/workflows", "", "application/yaml", []byte(def), nil)
			if status == 200 || status == 201 {
				break
			}
			if status != 0 {
				s.t.Fatal(err)
			}
			s.t.Fatalf("the daemon is gone: %v\n%s", err, d.log)
		}
	}
}

// clients lets n clients work until the returned function is called, which waits
// for them.
func (s *site) clients(n int, round int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range n {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), uint64(i)))
		wg.Go(func() { s.client.work(ctx, fmt.Sprintf("r%d-c%d", round, i), rng, s.book, s.broken) })
	}
	wg.Go(func() { s.tidy(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// tidy lets retention take the runs that have ended, while others go on.
func (s *site) tidy(ctx context.Context) {
	for ctx.Err() == nil {
		s.compact()
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// compact makes one pass of retention.
func (s *site) compact() {
	var done struct{ Archived, Dropped int }
	status, err := s.client.post("/v1/compact", "", map[string]any{"retain": []string{"runs=3", "crash-wait: runs=1,drop"}}, &done)
	switch status {
	case 0, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage: // killed, not ready, or the disk is full
	case http.StatusOK:
		s.tidied.Add(int64(done.Archived + done.Dropped))
	default:
		if s.sick && (status == http.StatusInternalServerError || status == http.StatusConflict) {
			return // it says what failed; whether anything is lost is looked at afterwards
		}
		s.broken(fmt.Errorf("compact: %d, %w", status, err))
	}
}

// finish answers and waits until every run has ended.
func (s *site) finish() {
	deadline := time.Now().Add(2 * time.Minute)
	for i := 0; ; i++ {
		open := s.client.answer(fmt.Sprintf("finish-%d", i), s.book, s.broken)
		s.client.resume(fmt.Sprintf("finish-resume-%d", i), s.book, s.broken)
		var totals map[string]int
		if _, err := s.client.call(http.MethodGet, "/v1/totals", "", "", nil, &totals); err != nil {
			s.t.Fatal(err)
		}
		live := totals["pending"] + totals["running"] + totals["waiting"] + totals["paused"]
		if live == 0 && open == 0 {
			return
		}
		if time.Now().After(deadline) {
			var page struct {
				Items []json.RawMessage `json:"items"`
			}
			s.client.call(http.MethodGet, "/v1/runs?status=running&limit=3", "", "", nil, &page)
			s.t.Fatalf("%d runs do not end (%v), as these: %s", live, totals, page.Items)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// errLost marks something that was acknowledged and is gone.
var errLost = errors.New("acknowledged and lost")

// audit holds the log against the book, and every history against the rules that
// no crash may break.
func (s *site) audit() error {
	log, err := eventlog.Open(s.dir, eventlog.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer log.Close()
	histories, err := read(log)
	if err != nil {
		return err
	}
	var errs []error
	for key, run := range s.book.runs {
		if h := histories[run]; h == nil {
			errs = append(errs, fmt.Errorf("run %s, started with key %s: %w", run, key, errLost))
		} else if h.Keys[key] != 1 {
			errs = append(errs, fmt.Errorf("run %s: its key %s is there %d times", run, key, h.Keys[key]))
		}
	}
	for _, m := range []map[string]string{s.book.signals, s.book.answers, s.book.resumes} {
		for key, run := range m {
			n := 0
			if h := histories[run]; h != nil {
				n = h.Keys[key]
			}
			if n == 0 {
				errs = append(errs, fmt.Errorf("%s of run %s: %w", key, run, errLost))
			} else if n > 1 {
				errs = append(errs, fmt.Errorf("%s of run %s is there %d times", key, run, n))
			}
		}
	}
	for run, h := range histories {
		for _, err := range h.Wrong {
			errs = append(errs, fmt.Errorf("run %s: %w", run, err))
		}
	}
	return errors.Join(errs...)
}

// failpoint picks where the log kills the daemon: around a commit, or at one of the
// rarer points.
func (s *site) failpoint() string {
	points := eventlog.Failpoints
	if s.rng.IntN(2) == 0 {
		points = []string{"commit.before", "commit.after"}
	}
	return fmt.Sprintf("%s:%d", points[s.rng.IntN(len(points))], 1+s.rng.IntN(60))
}

// TestKill kills daemons over and over, and then audits what is left: two at a time,
// each on a directory of its own, since much of a daemon's life is waiting for the disk.
func TestKill(t *testing.T) {
	sd := *seed
	if sd == 0 {
		sd = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: repeat with -seed=%d -kills=%d", sd, sd, *kills)
	for i, lives := range []int{*kills / 2, (*kills + 1) / 2} {
		t.Run(fmt.Sprint("site ", i), func(t *testing.T) {
			t.Parallel()
			killing(t, sd+uint64(i), lives)
		})
	}
}

func killing(t *testing.T, seed uint64, lives int) {
	s := newSite(t, seed)
	d := startDaemon(t, s.dir, s.replies, "")
	s.register(d)
	quiet := 0
	for round := range lives {
		before := s.book.count()
		stop := s.clients(2, round)
		if round%2 == 1 { // on a slow machine nothing may be acknowledged so soon
			s.awaits(before+10, d)
		}
		if round%10 == 5 { // nor may retention come to an end, which has the more to do the later it does
			for was := s.tidied.Load(); s.tidied.Load() == was && !d.ended(); {
				time.Sleep(5 * time.Millisecond)
			}
		}
		if !d.ended() {
			select {
			case <-time.After(time.Duration(20+s.rng.IntN(200)) * time.Millisecond):
			case <-d.done: // its failpoint came first
			}
		}
		d.kill()
		stop()
		if s.book.count() == before {
			quiet++
		}
		if round%10 == 0 {
			if err := check(t, s.dir); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		point := ""
		if round%2 == 1 {
			point = s.failpoint()
		}
		d = startDaemon(t, s.dir, s.replies, point)
		for d.ended() { // killed by its failpoint before it was ready
			d = startDaemon(t, s.dir, s.replies, "")
		}
		s.client.use(d.addr)
	}
	if quiet*3 > lives*2 || s.book.count() < lives*3 {
		t.Fatalf("too little traffic to mean anything: %d acknowledgements, %d of %d rounds without any", s.book.count(), quiet, lives)
	}
	d.kill()
	d = startDaemon(t, s.dir, s.replies, "")
	s.client.use(d.addr)
	s.finish()
	s.compact()
	d.kill()
	if err := check(t, s.dir); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.audit(), errors.Join(s.wrong...)); err != nil {
		t.Fatal(err)
	}
	if s.tidied.Load() == 0 {
		t.Error("retention has moved nothing: it was not tried")
	}
	t.Logf("%d kills, %d acknowledgements, %d runs, %d archived or dropped", lives, s.book.count(), len(s.book.runs), s.tidied.Load())
}

// awaits waits until n acknowledgements are in the book, or the daemon has ended.
func (s *site) awaits(n int, d *daemon) {
	for s.book.count() < n && !d.ended() {
		time.Sleep(5 * time.Millisecond)
	}
}

// TestNoticesLoss hands the audit a directory that lacks what was acknowledged
// after a copy of it was taken: an audit that finds nothing there finds nothing
// anywhere.
func TestNoticesLoss(t *testing.T) {
	s := newSite(t, 1)
	d := startDaemon(t, s.dir, s.replies, "")
	s.register(d)
	stop := s.clients(2, 0)
	time.Sleep(200 * time.Millisecond)
	stop()
	d.kill()
	old := s.dir + ".old"
	if err := os.CopyFS(old, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.audit(); err != nil {
		t.Fatalf("before anything is lost: %v", err)
	}
	d = startDaemon(t, s.dir, s.replies, "")
	s.client.use(d.addr)
	stop = s.clients(2, 1)
	time.Sleep(200 * time.Millisecond)
	stop()
	d.kill()
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, s.dir); err != nil {
		t.Fatal(err)
	}
	if err := s.audit(); !errors.Is(err, errLost) {
		t.Fatalf("acknowledged events are missing and the audit says: %v", err)
	}
}
