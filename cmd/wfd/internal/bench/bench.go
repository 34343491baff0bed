// Package bench measures the engine on this machine, and beside it what the disk can do.
//
// A workload runs in a directory of its own, which is removed afterwards. It is bounded
// in count and in time: what was begun within the limit is finished and counted. All of
// them answer in one shape, a [Result], whose raw figure is from the same minute and the
// same disk: the bytes of the same commits, written to a file that has its blocks
// already, with one fdatasync each. Whatever keeps its word cannot be faster.
//
// The machine's load stands in the result, since clocks mean little on a machine that is
// shared. The processor's time and the allocations of a step do not depend on it much:
// they are what two versions are compared by.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// Options of a measurement. Counts that are zero are the workload's own.
type Options struct {
	Workload string
	Steps    int // of a run
	Clients  int // at once
	Runs     int
	Limit    time.Duration // nothing is begun after it
	Dir      string        // on the disk that is measured; "" = for temporary files
	Encrypt  bool          // the data directory is encrypted
	// Child is a command that calls [Child] in another process, with the arguments it is
	// given here; recover needs it.
	Child func(ctx context.Context, args ...string) *exec.Cmd
}

// Bounds of Options.
const (
	MaxSteps   = 10_000
	MaxClients = 10_000
	MaxRuns    = 10_000_000
	MaxLimit   = time.Hour
)

// A workload is something to measure.
type workload struct {
	name                 string
	what                 string // for people; steps and runs are named in it
	steps, clients, runs int
	run                  func(*bench, context.Context) error
}

var workloads = []workload{
	{"chain", "runs of nodes that do nothing, one after the other", 10, 256, 2000, (*bench).chain},
	{"fanout", "runs whose nodes all start at once, and are joined", 100, 1, 50, (*bench).fanout},
	{"recover", "chains that a killed process left half done, finished by the next one", 10, 64, 1000, (*bench).recover},
	{"idle", "runs that wait for a signal: what they take in memory", 1, 64, 10_000, (*bench).idle},
	{"replay", "chains that are read from the log and folded", 100, 1, 200, (*bench).replay},
	{"list", "pages of 50 of all the runs there are, by filters", 1, 1, 10_000, (*bench).list},
	{"log", "appends of that many events to the log alone", 1, 1, 2000, (*bench).log},
	{"targets", "a run is created, stepped, marked, restored and looked up while others run", 10, 16, 200, (*bench).targets},
}

// Names returns the workloads.
func Names() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

// Describe returns what a workload is, and its counts unless others are asked for.
func Describe(name string) (what string, steps, clients, runs int) {
	for _, w := range workloads {
		if w.name == name {
			return w.what, w.steps, w.clients, w.runs
		}
	}
	return "", 0, 0, 0
}

// ErrOptions: what was asked for cannot be measured.
var ErrOptions = errors.New("cannot be measured")

// settle fills in what is not asked for.
func (o *Options) settle() (*workload, error) {
	i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == o.Workload })
	if i < 0 {
		return nil, fmt.Errorf("%w: there is no workload %q", ErrOptions, o.Workload)
	}
	w := &workloads[i]
	for _, n := range []struct {
		name            string
		n               *int
		otherwise, most int
	}{{"steps", &o.Steps, w.steps, MaxSteps}, {"clients", &o.Clients, w.clients, MaxClients}, {"runs", &o.Runs, w.runs, MaxRuns}} {
		if *n.n == 0 {
			*n.n = n.otherwise
		}
		if *n.n < 1 || *n.n > n.most {
			return nil, fmt.Errorf("%w: %s must be 1 to %d", ErrOptions, n.name, n.most)
		}
	}
	if o.Encrypt && w.name == "recover" {
		return nil, fmt.Errorf("%w: recover is not measured with encryption", ErrOptions)
	}
	if o.Limit == 0 {
		o.Limit = 20 * time.Second
	}
	if o.Limit < 0 || o.Limit > MaxLimit {
		return nil, fmt.Errorf("%w: the limit must be at most %s", ErrOptions, MaxLimit)
	}
	return w, nil
}

// bench is one measurement.
type bench struct {
	Options
	dir  string     // its own
	keys crypt.Keys // with Encrypt
	r    *Result
}

// Run measures one workload.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	w, err := o.settle()
	if err != nil {
		return nil, err
	}
	b := &bench{Options: o, r: &Result{Workload: w.name, What: w.what, StepsOfRun: o.Steps, Clients: o.Clients, Machine: here()}}
	if o.Encrypt {
		b.keys = crypt.Keys{crypt.NewKey()}
	}
	if b.dir, err = os.MkdirTemp(o.Dir, "wfd-bench-"); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if inMemory(b.dir) {
		b.r.Notes = append(b.r.Notes, "the directory is in memory: nothing here says how fast a disk is")
	}
	if err := w.run(b, ctx); err != nil {
		return nil, err
	}
	b.r.Machine.LoadAfter = load()
	return b.r, nil
}
