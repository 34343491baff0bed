package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/run"
)

// pauseWide is how many runs are paused at once: their appends share commits.
const pauseWide = 64

// Live returns the runs that would go on if the engine were started: those that
// are running or waiting.
func (e *Engine) Live(ctx context.Context) ([]projection.Row, error) {
	var all []projection.Row
	for _, status := range []run.Status{run.Running, run.Waiting} {
		for row, err := range e.inStatus(ctx, status) {
			if err != nil {
				return nil, err
			}
			all = append(all, row)
		}
	}
	return all, nil
}

// PauseAll pauses runs, children in such a way that they are resumed with their
// parents. A run that cannot be paused does not keep the others from it; the error
// names each.
func (e *Engine) PauseAll(ctx context.Context, rows []projection.Row, reason string, by By) error {
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	places := make(chan struct{}, pauseWide)
	for _, row := range rows {
		why := reason
		if row.Parent != nil {
			why = reasonPaused
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			_, err := e.Do(ctx, row.ID, machine.Pause{Reason: why}, by)
			if err != nil && !errors.Is(err, machine.ErrRefused) { // it was paused with its parent
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("run %s cannot be paused: %w", row.ID, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
