package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
)

// SoakOptions say how large a store is built, and what is done with it.
type SoakOptions struct {
	Size
	// Limit is for building: what is not there by then is left out, and said.
	Limit time.Duration
	// Watch is how long memory is looked at under load.
	Watch time.Duration
	// Dir is where the store is built and stays; one that is there is measured as it is.
	// "": among the temporary files, and it is removed.
	Dir string
	// Child is a command that calls [SoakChild] in another process.
	Child    func(ctx context.Context, args ...string) *exec.Cmd
	Progress func(what string, done, all int)
}

// Size is how much there is of everything.
type Size struct {
	Runs     int `json:"runs"`     // that have ended: chains of twelve nodes
	Waiting  int `json:"waiting"`  // that wait for a signal, each with a timer
	Events   int `json:"events"`   // of one long run
	Items    int `json:"items"`    // of one foreach
	Parallel int `json:"parallel"` // nodes of one run at once
}

// smallSize is what a store of size s is compared with.
func (s Size) small() Size {
	return Size{Runs: min(s.Runs, 1000), Waiting: min(s.Waiting, 100), Events: min(s.Events, 1000), Items: min(s.Items, 100), Parallel: min(s.Parallel, 10)}
}

func (s Size) check() error {
	for _, n := range []struct {
		name    string
		n, most int
	}{{"runs", s.Runs, MaxRuns}, {"waiting", s.Waiting, MaxRuns}, {"events", s.Events, MaxRuns}, {"items", s.Items, machine.MaxItems}, {"parallel", s.Parallel, MaxSteps / 10}} {
		if n.n < 1 || n.n > n.most {
			return fmt.Errorf("%w: %s must be 1 to %d", ErrOptions, n.name, n.most)
		}
	}
	return nil
}

// bytes is what a store of this size takes on the disk at the most, by what was measured.
func (s Size) bytes() int64 {
	const run, waiting, event, item = 12 << 10, 3 << 10, 400, 2 << 10
	return int64(s.Runs)*run + int64(s.Waiting)*waiting + int64(s.Events)*event + int64(s.Items)*item + 64<<20
}

// Soak is what a large store was found to be, beside a small one.
type Soak struct {
	Small   Stand              `json:"small"`
	Large   Stand              `json:"large"`
	Growth  map[string]float64 `json:"growth"` // large by small
	BuildS  float64            `json:"build_s"`
	Notes   []string           `json:"notes,omitempty"`
	Machine Machine            `json:"machine"`
}

// built is what of a size there is.
type built struct {
	Size
	Notes []string `json:"notes,omitempty"`
}

// builtFile says, in the directory above the store, what was built.
const builtFile = "built.json"

// Soaking builds a large store and a small one, and measures both, each in a process of
// its own.
func Soaking(ctx context.Context, o SoakOptions) (_ *Soak, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Limit <= 0 || o.Limit > MaxLimit || o.Watch < 0 || o.Watch > MaxLimit {
		return nil, fmt.Errorf("%w: a limit must be at most %s", ErrOptions, MaxLimit)
	}
	r := &Soak{Machine: here()}
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "wfd-soak-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	small := filepath.Join(dir, "small")
	if err := os.RemoveAll(small); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(small)) }()
	r.Small, _, err = o.stand(ctx, small, o.small())
	if err != nil {
		return nil, fmt.Errorf("the small store: %w", err)
	}
	began := time.Now()
	r.Large, r.Notes, err = o.stand(ctx, filepath.Join(dir, "large"), o.Size)
	if err != nil {
		return nil, fmt.Errorf("the large store: %w", err)
	}
	r.BuildS = time.Since(began).Seconds()
	r.Growth = r.Large.by(&r.Small)
	r.Machine.LoadAfter = load()
	return r, nil
}

// stand builds a store of a size, unless it is there, and measures it.
func (o *SoakOptions) stand(ctx context.Context, dir string, size Size) (s Stand, notes []string, err error) {
	about := filepath.Join(dir, builtFile)
	raw, err := os.ReadFile(about)
	if errors.Is(err, fs.ErrNotExist) {
		if raw, err = o.build(ctx, dir, size); err == nil {
			err = os.WriteFile(about, raw, 0o600)
		}
	}
	if err != nil {
		return s, nil, err
	}
	var b built
	if err := json.Unmarshal(raw, &b); err != nil {
		return s, nil, fmt.Errorf("%s: %w", about, err)
	}
	cmd := o.Child(ctx, dir, o.Watch.String())
	out, err := cmd.Output()
	if err != nil {
		return s, nil, fmt.Errorf("the process that measures: %w", err)
	}
	return s, b.Notes, json.Unmarshal(out, &s)
}

// build makes a store in dir, from nothing: what an earlier one left half done goes.
func (o *SoakOptions) build(ctx context.Context, dir string, size Size) ([]byte, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return nil, err
	}
	if free := int64(st.Bavail) * st.Bsize; free < size.bytes() {
		return nil, fmt.Errorf("%w: %s has %d MB free, and the store may take %d MB", ErrOptions, dir, free>>20, size.bytes()>>20)
	}
	b := &builder{built: built{Size: size}, end: time.Now().Add(o.Limit), progress: o.Progress}
	if b.progress == nil {
		b.progress = func(string, int, int) {}
	}
	if err := b.all(ctx, filepath.Join(dir, "data")); err != nil {
		return nil, err
	}
	return json.Marshal(b.built)
}
