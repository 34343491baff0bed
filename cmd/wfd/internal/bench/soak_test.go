package bench

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/replay"
)

// TestMain is the process that measures, where a soak starts one.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BENCH_SOAK_DIR"); dir != "" {
		watch, _ := time.ParseDuration(os.Getenv("BENCH_SOAK_WATCH"))
		if err := SoakChild(context.Background(), dir, watch, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A store that a soak has built is one that an engine could have made: it is whole, and
// every run of every kind in it is what follows from its facts.
func TestSoak(t *testing.T) {
	dir := t.TempDir()
	o := SoakOptions{
		Size:  Size{Runs: 30, Waiting: 10, Events: 200, Items: 20, Parallel: 5},
		Limit: time.Minute, Watch: 300 * time.Millisecond, Dir: dir,
		Child: func(ctx context.Context, args ...string) *exec.Cmd {
			c := exec.CommandContext(ctx, os.Args[0])
			c.Env = append(os.Environ(), "BENCH_SOAK_DIR="+args[0], "BENCH_SOAK_WATCH="+args[1])
			c.Stderr = os.Stderr
			return c
		},
	}
	r, err := Soaking(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Large
	if s.Size != o.Size || s.Total < 30*40+200+60 || s.PerEvent <= 0 || s.List.N == 0 || s.Wake.N == 0 || s.Watched == nil || s.Watched.StepsPerS <= 0 || r.Growth["list_p50"] <= 0 {
		t.Errorf("%+v\n%v", s, r.Growth)
	}
	data := dir + "/large/data"
	if rep, err := eventlog.Check(data, eventlog.CheckOptions{}); err != nil || rep.Err() != nil {
		t.Fatalf("%v, %v", err, rep)
	}
	log, err := eventlog.Open(data, eventlog.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	defs := replay.Registered(log)
	for _, id := range []eventlog.RunID{runNo(0), runNo(29), soakRun(longRun, 0), soakRun(itemsRun, 0), soakRun(waitingRun, 3)} {
		if v, err := replay.Verify(log, defs, id); err != nil || !v.OK {
			t.Errorf("run %s: %+v, %v", id, v.Difference, err)
		}
	}
	if v, err := log.Version(soakRun(longRun, 0)); err != nil || v < 200 {
		t.Errorf("the long run has %d events, %v", v, err)
	}
}
