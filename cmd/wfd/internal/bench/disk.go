package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
)

// rawLimit bounds what is spent on the raw figure, rawFile the file that is written.
const (
	rawLimit = 5 * time.Second
	rawFile  = 64 << 20
)

// disk writes batches of bytes as a log would that had nothing else to do: into a
// file whose blocks are there already, one after the other, each followed by one
// fdatasync.
type disk struct {
	f    *os.File
	at   int64
	data []byte
}

func openDisk(dir string) (*disk, error) {
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		return nil, err
	}
	d := &disk{f: f, data: make([]byte, 1<<20)}
	for range rawFile / len(d.data) {
		if _, err := f.Write(d.data); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	rand.Read(d.data) // never fails: see crypto/rand
	return d, errors.Join(f.Sync())
}

// write writes n bytes and waits for the disk.
func (d *disk) write(n int) (time.Duration, error) {
	began := time.Now()
	for n > 0 {
		part := min(n, len(d.data))
		if d.at+int64(part) > rawFile {
			d.at = 0
		}
		if _, err := d.f.WriteAt(d.data[:part], d.at); err != nil {
			return 0, err
		}
		d.at += int64(part)
		n -= part
	}
	if err := syscall.Fdatasync(int(d.f.Fd())); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

func (d *disk) close() error { return errors.Join(d.f.Close(), os.Remove(d.f.Name())) }

// rawOf sets the raw figure for steps that were stored by these batches, of which a run
// waits for perRun, one after the other.
func (b *bench) rawOf(batches []int, steps, perRun float64) error {
	d, err := openDisk(b.dir)
	if err != nil {
		return err
	}
	defer d.close()
	var took spread
	done, all := 0.0, 0.0
	for _, n := range batches {
		all += float64(n)
	}
	for began := time.Now(); len(took) < len(batches) && time.Since(began) < rawLimit; {
		n := batches[len(took)]
		t, err := d.write(n)
		if err != nil {
			return err
		}
		took = append(took, t)
		done += float64(n)
	}
	if done == 0 {
		return nil
	}
	b.raw(steps*done/all/took.sum().Seconds(), perRun*took.at(0.5), perRun*took.at(0.99))
	return nil
}

func (b *bench) raw(perS, p50, p99 float64) {
	b.r.Raw, b.r.RawP50, b.r.RawP99 = perS, p50, p99
	if perS > 0 {
		b.r.Ratio = b.r.StepsPerS / perS
	}
}

// envelope is about what an event takes in the log besides its payload and its actor.
const envelope = 66

// batches returns how many bytes the events of each commit after a seq have.
func (l *life) batches(after eventlog.Seq) (list []int, err error) {
	heads := l.commits()
	for len(heads) > 0 && heads[0] <= after {
		heads = heads[1:]
	}
	n := 0
	err = l.each(after, func(e eventlog.Event) bool {
		n += envelope + len(e.Actor) + len(e.Payload)
		if len(heads) > 0 && e.Seq == heads[0] {
			list, heads, n = append(list, n), heads[1:], 0
		}
		return len(heads) > 0
	})
	return list, err
}

// each calls f with the events after a seq until it returns false.
func (l *life) each(after eventlog.Seq, f func(eventlog.Event) bool) error {
	for {
		page, err := l.log.ReadFrom(after, 4096)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			after = e.Seq
			if !f(e) {
				return nil
			}
		}
	}
}

// aloneRuns bounds how many runs are appended again to the log alone.
const aloneRuns = 1000

// alone appends the appends after a seq once more, to a log of its own and with nothing
// around it: the clients do a run each, its appends one after the other.
func (b *bench) alone(ctx context.Context, l *life, after eventlog.Seq) (err error) {
	runs, err := l.appends(after)
	if err != nil {
		return err
	}
	log, err := eventlog.Open(filepath.Join(b.dir, "alone"), eventlog.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	began := time.Now()
	took, err := drive(ctx, len(runs), b.Clients, b.Limit, func(i int) error {
		for _, a := range runs[i] {
			if _, err := log.Append(ctx, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	steps := float64(len(took) * b.Steps)
	b.r.Log = &Alone{StepsPerS: steps / time.Since(began).Seconds(), P50: took.at(0.5), P99: took.at(0.99)}
	if b.r.Log.P50 > 0 {
		b.r.Log.Times = b.r.P50 / b.r.Log.P50
	}
	return nil
}

// appends returns the appends of the first runs that begin after a seq.
func (l *life) appends(after eventlog.Seq) ([][]eventlog.Append, error) {
	number := map[eventlog.RunID]int{}
	var runs [][]eventlog.Append
	err := l.each(after, func(e eventlog.Event) bool {
		i, known := number[e.Run]
		if !known {
			if e.Version != 1 || e.Run.IsSystem() || len(runs) == aloneRuns {
				return true
			}
			i = len(runs)
			number[e.Run] = i
			runs = append(runs, nil)
		}
		n := len(runs[i])
		if n == 0 || runs[i][n-1].ID != e.Append {
			runs[i] = append(runs[i], eventlog.Append{ID: e.Append, Run: e.Run, Expect: e.Version - 1})
			n++
		}
		a := &runs[i][n-1]
		a.Records = append(a.Records, eventlog.Record{Time: e.Time, Kind: e.Kind, Actor: e.Actor, Payload: e.Payload})
		return true
	})
	return runs, err
}

// commitLog notes where commits end.
type commitLog struct {
	mu    sync.Mutex
	heads []eventlog.Seq
}

// maxCommits bounds what is noted; what comes later is not compared with the disk.
const maxCommits = 1 << 18

func (c *commitLog) note(head eventlog.Seq) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.heads) < maxCommits {
		c.heads = append(c.heads, head)
	}
}
