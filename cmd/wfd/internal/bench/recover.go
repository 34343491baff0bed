package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/eventlog"
)

// runNo names a run by a number, so that two processes mean the same.
func runNo(i int) eventlog.RunID {
	id := eventlog.RunID{1}
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id
}

// underWay is what the child says once every run has come to its middle.
const underWay = "under way"

// Child is the process that recover kills: it starts runs, each of which does half of its
// nodes and then stands in the middle of the next, says so on w and waits.
func Child(ctx context.Context, dir string, steps, clients, runs int, w io.Writer) (err error) {
	l, err := begin(ctx, dir, nil, func(ctx context.Context, t *agent.Task) agent.Answer {
		if i, _ := strconv.Atoi(strings.TrimPrefix(t.Node, "n")); i >= steps/2 {
			<-ctx.Done()
		}
		return agent.Answer{Result: result}
	}, runs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if err := l.register(ctx, chainOf(steps)); err != nil {
		return err
	}
	middle := fmt.Sprintf("n%d", steps/2)
	if _, err := drive(ctx, runs, clients, MaxLimit, func(i int) error {
		if _, _, err := l.e.StartRun(ctx, engine.StartRequest{Workflow: "chain", ID: runNo(i)}, by); err != nil {
			return err
		}
		for {
			next, stop := l.e.Watch(runNo(i))
			changed := next()
			s, err := l.e.State(ctx, runNo(i))
			if err == nil && s.Nodes[middle].Status != "running" {
				select {
				case <-changed:
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			stop()
			if err != nil || s.Nodes[middle].Status == "running" {
				return err
			}
		}
	}); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w, underWay); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// recover kills a process with runs under way and finishes them.
func (b *bench) recover(ctx context.Context) (err error) {
	if b.Child == nil {
		return fmt.Errorf("%w: recover needs a process to kill", ErrOptions)
	}
	dir := filepath.Join(b.dir, "data")
	if err := b.kill(ctx, dir); err != nil {
		return fmt.Errorf("the process that was to be killed: %w", err)
	}
	began := time.Now()
	l, err := begin(ctx, dir, nil, noop, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	opened := time.Since(began)
	left := b.Steps - b.Steps/2
	took := make(spread, b.Runs)
	if _, err := drive(ctx, b.Runs, b.Runs, b.Limit, func(i int) error {
		if _, err := l.ended(ctx, runNo(i)); err != nil {
			return err
		}
		took[i] = time.Since(began)
		return nil
	}); err != nil {
		return err
	}
	all := time.Since(began)
	b.took(took, all)
	b.r.StepsPerS = float64(b.Runs*left) / all.Seconds()
	b.r.Figures = map[string]float64{"open_s": opened.Seconds(), "steps_left": float64(b.Runs * left)}
	batches, err := l.batches(0)
	if err != nil {
		return err
	}
	return b.rawOf(batches, float64(b.Runs*left), float64(left))
}

// kill has another process begin the runs, and kills it in the middle of them.
func (b *bench) kill(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, b.Limit)
	defer cancel()
	cmd := b.Child(ctx, dir, strconv.Itoa(b.Steps), strconv.Itoa(b.Clients), strconv.Itoa(b.Runs))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if kill := cmd.Process.Kill(); err == nil {
		err = kill
	}
	ended := cmd.Wait() // says that it was killed
	if strings.TrimSpace(said) != underWay {
		return errors.Join(err, ended, ctx.Err())
	}
	return err
}
