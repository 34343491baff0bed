package workertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The main program is a worker where it is told to be: see worker_test.go.
// raced is set under the race detector.
var raced bool

// notRaced skips what takes the daemon minutes under the race detector, so that checks
// run out of time: make race runs it without, too.
func notRaced(t *testing.T) {
	if raced {
		t.Skip("workers are tested without the race detector: go test ./cmd/wfd/internal/workertest")
	}
}

func TestMain(m *testing.M) {
	if wrong, ok := os.LookupEnv("TEST_WORKER"); ok {
		os.Exit(beWorker(wrong))
	}
	os.Exit(m.Run())
}

func prove(t *testing.T, command string, wait time.Duration, only ...string) *Report {
	t.Helper()
	rep, err := Run(t.Context(), Options{Command: command, Handler: "steps", Only: only, Wait: wait})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func testWorker(wrong string) string { return fmt.Sprintf("TEST_WORKER=%s exec %s", wrong, os.Args[0]) }

// A right worker passes: that of the Go package, and the reference workers, which need
// nothing but their language.
func TestRightWorkers(t *testing.T) {
	notRaced(t)
	for name, c := range map[string]struct{ command, tools string }{
		"go":     {testWorker("go"), ""},
		"bash":   {"exec bash ../../../../examples/workers/worker.sh", "bash curl jq"},
		"python": {"exec python3 ../../../../examples/workers/worker.py", "python3"},
		"node":   {"exec node ../../../../examples/workers/worker.mjs", "node"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, tool := range strings.Fields(c.tools) {
				if _, err := exec.LookPath(tool); err != nil {
					t.Skipf("%s is not installed", tool)
				}
			}
			rep := prove(t, c.command, time.Minute) // a machine with much to do proves nobody wrong
			if len(rep.Checks) != len(checks) {
				t.Errorf("%d checks were made", len(rep.Checks))
			}
			for _, r := range rep.Checks {
				if !r.Passed {
					t.Errorf("%s: %s\n%s", r.Name, r.Why, r.Output)
				}
			}
		})
	}
}

// For each check there are workers that are wrong in that: they do not pass, and the
// report says why.
func TestWrongWorkers(t *testing.T) {
	notRaced(t)
	for _, c := range []struct{ check, wrong, why string }{
		{"poll", "silent", "has not asked for tasks"},
		{"poll", "ended", "ended before it asked"},
		{"poll", "tokenless", "send Authorization"},
		{"poll", "queueless", "of queues"},
		{"poll", "misspelt", "422"},
		{"result", "empty", `want {"echo"`},
		{"unicode", "ascii", "handed in"},
		{"huge", "small", "is not done after"},
		{"failure", "succeeds", "want it failed with auth"},
		{"failure", "classless", "want it failed with auth"},
		{"unanswered", "once", "did not send complete again"},
		{"unavailable", "hasty", "asked to wait a second"},
		{"unavailable", "once", "did not send complete again"},
		{"refused", "stubborn", "afterwards"},
		{"slow", "beatless", "let its lease"},
		{"lost", "deaf", "afterwards"},
		{"cancelled", "deaf", "afterwards"},
		{"checkpoint", "forgetful", "no checkpoint"},
		{"checkpoint", "restarting", "began at step 0"},
		{"sigterm", "deserter", "without a word"},
		{"sigterm", "immortal", "has not ended"},
		{"idle", "immortal", "has not ended"},
		{"restart", "fragile", ""},
		{"busy", "hasty", "times in 3s"},
	} {
		t.Run(c.check+"/"+c.wrong, func(t *testing.T) {
			t.Parallel()
			rep := prove(t, testWorker(c.wrong), 6*time.Second, c.check)
			if rep.Passed || len(rep.Checks) != 1 || rep.Checks[0].Passed || !strings.Contains(rep.Checks[0].Why, c.why) {
				t.Errorf("%+v, want it to say %q", rep, c.why)
			}
		})
	}
}

func TestUnknownCheck(t *testing.T) {
	if _, err := Run(t.Context(), Options{Only: []string{"nonsense"}}); err == nil || !strings.Contains(err.Error(), "unanswered") {
		t.Error(err)
	}
}

// A test that is given up leaves no worker behind.
func TestGivenUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	mark := t.TempDir() + "/alive"
	_, err := Run(ctx, Options{Command: testWorker("silent") + "; touch " + mark, Handler: "steps", Wait: time.Minute})
	if err == nil {
		t.Fatal("it went on")
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the worker went on")
	}
}
