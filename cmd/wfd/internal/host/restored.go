package host

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/backup"
	"github.com/wfd-dev/wfd/projection/event"
)

// Restoring is how a directory that was restored is completed.
type Restoring struct {
	Actor  string
	Reason string
	Same   bool // it is the same log as before
	// Live leaves runs, schedules and hooks as they are: they go on where they stood as
	// soon as a daemon is started. Otherwise they are paused.
	Live bool
}

// Paused says what was paused in a directory that was restored.
type Paused struct {
	Runs     int `json:"paused"`          // live runs
	Triggers int `json:"paused_triggers"` // schedules and hooks
}

// CompleteRestored says in the log of a directory that it was restored, pauses its
// live runs, schedules and hooks, and signs it, under its own key.
func CompleteRestored(ctx context.Context, o Options, r *backup.Restored, c Restoring) (paused Paused, err error) {
	h, err := Open(o)
	if err != nil {
		return paused, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	p := &event.LogRestored{
		Origin: r.From.Origin, At: r.To.Head, Root: hex.EncodeToString(r.To.Root[:]), Head: r.From.Head,
		Made: event.At(r.From.Made), Same: c.Same, Reason: c.Reason,
	}
	for _, past := range r.Past {
		if past.Origin == r.From.Origin {
			p.Signed = eventlog.Seq(past.Signed)
		}
	}
	live, err := h.Engine.Live(ctx)
	if err != nil {
		return paused, err
	}
	if c.Live {
		live = nil
	}
	p.Paused = len(live)
	if _, err := h.Engine.Record(ctx, p, c.Actor); err != nil {
		return paused, err
	}
	reason := fmt.Sprintf("restored as it stood after event %d: what it did later may have been done already", r.To.Head)
	if err := h.Engine.PauseAll(ctx, live, reason, engine.By{Actor: c.Actor}); err != nil {
		return paused, err
	}
	paused.Runs = len(live)
	if !c.Live {
		if paused.Triggers, err = h.Engine.PauseTriggers(ctx, reason, c.Actor); err != nil {
			return paused, err
		}
	}
	h.Engine.Stop() // what children are told in the background is told
	a, err := h.audit.Auditor()
	if err == nil {
		_, _, err = a.Sign()
	}
	return paused, err
}
